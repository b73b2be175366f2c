// See access.h.
#include "http/access.h"

#include <algorithm>
#include <arpa/inet.h>
#include <utility>

#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace edgellm::http {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

/// "http://name:80" -> "name:80" and, in `scheme`, "http"; empty for what is no such origin.
std::string_view AuthorityOf(std::string_view origin, std::string_view* scheme) {
  const size_t colon = origin.find("://");
  if (colon == origin.npos) return {};
  *scheme = origin.substr(0, colon);
  return origin.substr(colon + 3);
}

std::array<unsigned char, 32> DigestOf(std::string_view key) {
  std::array<unsigned char, 32> digest;
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

}  // namespace

bool MatchesWildcard(std::string_view pattern, std::string_view text) {
  size_t star = pattern.npos, resume = 0, p = 0, t = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && pattern[p] == text[t]) {
      ++p;
      ++t;
    } else if (star != pattern.npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

std::string HostName(std::string_view authority) {
  std::string name = Lower(authority);
  if (name.starts_with('[')) {
    const size_t end = name.find(']');
    if (end == name.npos || (end + 1 < name.size() && name[end + 1] != ':')) return {};
    return name.substr(1, end - 1);
  }
  const size_t colon = name.find(':');
  if (colon != name.npos) {
    if (name.find_first_not_of("0123456789", colon + 1) != name.npos) return {};
    name.resize(colon);
  }
  if (name.ends_with('.')) name.pop_back();
  return name;
}

bool IsLoopbackName(std::string_view name) {
  std::string lower = Lower(name);
  if (lower.starts_with('[') && lower.ends_with(']')) lower = lower.substr(1, lower.size() - 2);
  in_addr four{};
  if (inet_pton(AF_INET, lower.c_str(), &four) == 1) return (ntohl(four.s_addr) >> 24) == 127;
  in6_addr six{};
  if (inet_pton(AF_INET6, lower.c_str(), &six) == 1) return IN6_IS_ADDR_LOOPBACK(&six) != 0;
  return lower == "localhost" || lower.ends_with(".localhost");
}

std::string_view KeyOf(const Request& request) {
  std::string_view given = request.Header("authorization");
  constexpr std::string_view kScheme = "bearer ";
  if (given.size() > kScheme.size() && Lower(given.substr(0, kScheme.size())) == kScheme) {
    given.remove_prefix(kScheme.size());
    const size_t first = given.find_first_not_of(' ');
    return first == given.npos ? std::string_view() : given.substr(first);
  }
  return request.Header("x-api-key");
}

Access::Access(bool loopback, std::vector<std::string> hosts, std::vector<std::string> origins,
               const std::vector<std::string>& keys)
    : loopback_(loopback), hosts_(std::move(hosts)), origins_(std::move(origins)) {
  for (auto* list : {&hosts_, &origins_}) {
    for (auto& name : *list) {
      name = Lower(name);
      if (name.ends_with('/')) name.pop_back();
    }
  }
  for (const auto& key : keys) keys_.push_back(DigestOf(key));
}

bool Access::HostAllowed(std::string_view authority) const {
  if (!loopback_) return true;  // its names are not known here, and it asks for a key
  const std::string name = HostName(authority);
  if (name.empty()) return false;
  return IsLoopbackName(name) ||
         std::any_of(hosts_.begin(), hosts_.end(), [&](const auto& allowed) { return MatchesWildcard(allowed, name); });
}

bool Access::OriginAllowed(std::string_view origin, std::string_view authority) const {
  const std::string lower = Lower(origin);
  for (const auto& allowed : origins_) {
    if (MatchesWildcard(allowed, lower)) return true;
  }
  std::string_view scheme;
  const std::string_view other = AuthorityOf(lower, &scheme);
  if (scheme == "app" || scheme == "tauri" || scheme == "vscode-webview") return true;
  if (scheme != "http" && scheme != "https") return false;
  const std::string name = HostName(other);
  if (name.empty()) return false;
  return IsLoopbackName(name) || other == Lower(authority);
}

bool Access::KeyAllowed(std::string_view key) const {
  const Digest given = DigestOf(key);
  unsigned found = 0;
  for (const auto& digest : keys_) {
    found |= static_cast<unsigned>(CRYPTO_memcmp(digest.data(), given.data(), given.size()) == 0);
  }
  return found != 0;
}

}  // namespace edgellm::http
