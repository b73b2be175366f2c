// See http_client.h.
#include "hub/http_client.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/one_line.h"
#include "hub/curl_handles.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kMostBody = size_t{64} << 10;

double SecondsSince(Clock::time_point then) {
  return std::chrono::duration<double>(Clock::now() - then).count();
}

}  // namespace

/// What the callbacks of one request share. Exceptions may not cross libcurl: they wait here.
struct HttpClient::Transfer {
  CURL* curl;
  const HttpOptions& options;
  std::function<void(std::string_view)> receive;
  HttpReply reply;
  std::exception_ptr failure;
  Clock::time_point last_byte = Clock::now();
  bool idle = false;

  static size_t OnBody(char* bytes, size_t, size_t count, void* self) {
    auto& transfer = *static_cast<Transfer*>(self);
    return transfer.Guard([&] { transfer.Receive({bytes, count}); }) ? count : 0;
  }

  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    auto& transfer = *static_cast<Transfer*>(self);
    if (SecondsSince(transfer.last_byte) > transfer.options.idle_timeout) transfer.idle = true;
    if (transfer.idle) return 1;
    return transfer.Guard([&] {
      if (transfer.options.poll) transfer.options.poll();
    })
               ? 0
               : 1;
  }

  template <typename Body>
  bool Guard(const Body& body) {
    try {
      body();
      return true;
    } catch (...) {
      failure = std::current_exception();
      return false;
    }
  }

  void Receive(std::string_view bytes) {
    last_byte = Clock::now();
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    if (receive && status == 200) return receive(bytes);
    reply.body.append(bytes.substr(0, kMostBody - std::min(kMostBody, reply.body.size())));
  }
};

HttpClient::HttpClient(HttpOptions options) : options_(std::move(options)), curl_(nullptr, curl_easy_cleanup) {
  InitialiseCurl();
  curl_.reset(curl_easy_init());
  if (!curl_) Fail(ErrorCode::kEnvironment, "libcurl does not start");
}

HttpClient::~HttpClient() = default;

HttpReply HttpClient::Get(const std::string& url) {
  return Perform(url, nullptr, {});
}

HttpReply HttpClient::Post(const std::string& url, const std::string& json,
                           std::function<void(std::string_view)> receive) {
  return Perform(url, &json, std::move(receive));
}

HttpReply HttpClient::Perform(const std::string& url, const std::string* json,
                              std::function<void(std::string_view)> receive) {
  CURL* curl = curl_.get();
  Transfer transfer{.curl = curl, .options = options_, .receive = std::move(receive), .reply = {}, .failure = {}};
  char reason[CURL_ERROR_SIZE] = "";
  HeaderLines headers;
  if (json != nullptr) {
    headers.Add("Content-Type: application/json");
    headers.Add("Expect:");  // a round trip before a long prompt would count as time to the first token
  }
  if (!options_.api_key.empty()) headers.Add("Authorization: Bearer " + options_.api_key);
  curl_easy_reset(curl);  // options only: the connection stays
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "edgellm/" EDGELLM_VERSION);
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options_.connect_timeout * 1000));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, &Transfer::OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  if (IsLoopback(url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");  // no detour to this machine
  if (json != nullptr) {
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(json->size()));
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, json->data());
  }
  const CURLcode status = curl_easy_perform(curl);
  if (transfer.failure) std::rethrow_exception(transfer.failure);
  if (transfer.idle) Fail(ErrorCode::kIo, "{}: nothing came for {} seconds", url, options_.idle_timeout);
  if (status == CURLE_COULDNT_CONNECT) {
    long cause = 0;
    curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &cause);
    Fail(ErrorCode::kIo, "{}: cannot connect{}{}", url, cause == 0 ? "" : ": ",
         cause == 0 ? "" : std::generic_category().message(static_cast<int>(cause)));
  }
  if (status != CURLE_OK) {
    Fail(ErrorCode::kIo, "{}: {}", url, OneLine(reason[0] != '\0' ? reason : curl_easy_strerror(status)));
  }
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &transfer.reply.status);
  return std::move(transfer.reply);
}

HttpAddress ParseHttpAddress(const std::string& text) {
  const WebAddress whole = ParseWebAddress(text.find("://") == text.npos ? "http://" + text : text);
  if (!whole.query.empty()) {
    Fail(ErrorCode::kInvalidArgument, "'{}': an address of a server has no query", OneLine(text));
  }
  HttpAddress address{whole.origin, whole.path};
  address.path.erase(address.path.find_last_not_of('/') + 1);
  return address;
}

}  // namespace edgellm
