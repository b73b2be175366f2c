// See curl_handles.h.
#include "hub/curl_handles.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "base/one_line.h"

namespace edgellm {
namespace {

using Url = std::unique_ptr<CURLU, void (*)(CURLU*)>;

Url NewUrl() {
  Url url(curl_url(), curl_url_cleanup);
  if (!url) throw std::bad_alloc();
  return url;
}

std::string UrlPart(const Url& url, CURLUPart part) {
  char* text = nullptr;
  if (curl_url_get(url.get(), part, &text, 0) != CURLUE_OK) return {};
  const std::unique_ptr<char, void (*)(void*)> owned(text, curl_free);
  return text;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool IsWeb(const Url& url) {
  const std::string scheme = UrlPart(url, CURLUPART_SCHEME);
  return scheme == "http" || scheme == "https";
}

bool StaysInPath(unsigned char c) {
  return std::isalnum(c) || c == '/' || c == '-' || c == '.' || c == '_' || c == '~';
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const int lower = std::tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

void InitialiseCurl() {
  static const CURLcode status = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (status != CURLE_OK) Fail(ErrorCode::kEnvironment, "libcurl: {}", curl_easy_strerror(status));
}

WebAddress ParseWebAddress(const std::string& text) {
  const Url url = NewUrl();
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK || !IsWeb(url)) {
    Fail(ErrorCode::kInvalidArgument, "'{}' is not an address of http or https", OneLine(text));
  }
  if (!UrlPart(url, CURLUPART_USER).empty() || !UrlPart(url, CURLUPART_PASSWORD).empty()) {
    Fail(ErrorCode::kInvalidArgument, "an address with a user or a password in it is not taken");
  }
  const std::string port = UrlPart(url, CURLUPART_PORT);
  return {
      Lower(UrlPart(url, CURLUPART_SCHEME) + "://" + UrlPart(url, CURLUPART_HOST)) + (port.empty() ? "" : ":" + port),
      UrlPart(url, CURLUPART_PATH), UrlPart(url, CURLUPART_QUERY)};
}

std::string ResolveLocation(const std::string& base, const std::string& location) {
  const Url url = NewUrl();
  if (location.empty() || curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) !=
          CURLUE_OK ||
      !IsWeb(url)) {
    Fail(ErrorCode::kCorrupt, "{}: redirected to '{}', which is no address of http or https", OneLine(base),
         OneLine(location));
  }
  return UrlPart(url, CURLUPART_URL);
}

std::string EscapePath(const std::string& path) {
  std::string escaped;
  for (const char c : path) {
    if (StaysInPath(static_cast<unsigned char>(c))) {
      escaped += c;
    } else {
      escaped += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return escaped;
}

std::string UnescapePath(const std::string& path) {
  std::string text;
  for (size_t i = 0; i < path.size(); ++i) {
    const bool coded =
        path[i] == '%' && i + 2 < path.size() && HexDigit(path[i + 1]) >= 0 && HexDigit(path[i + 2]) >= 0;
    text += coded ? static_cast<char>(HexDigit(path[i + 1]) * 16 + HexDigit(path[i + 2])) : path[i];
    if (coded) i += 2;
  }
  return text;
}

bool IsLoopback(const std::string& url) {
  const std::string host = url.substr(std::min(url.size(), url.find("://") + 3));
  return host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]");
}

}  // namespace edgellm
