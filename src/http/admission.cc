// See admission.h.
#include "http/admission.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/utf8.h"

namespace edgellm::http {
namespace {

constexpr size_t kMostRequestedHeaders = 1024;

char Lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool EqualLetters(std::string_view one, std::string_view other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](char a, char b) { return Lower(a) == Lower(b); });
}

/// For a message: whole UTF-8, and no longer than anybody reads.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 100;
  return utf8::Sanitize(text.substr(0, kShown)) + (text.size() > kShown ? "…" : "");
}

size_t CountOf(const Request& request, std::string_view name) {
  return static_cast<size_t>(std::count_if(request.headers.begin(), request.headers.end(),
                                           [&](const auto& header) { return header.first == name; }));
}

using Refusal = Admission::Refusal;

std::optional<Refusal> CheckHost(const Request& request, const std::string& authority, bool http_1_1,
                                 const Access& access) {
  const size_t hosts = CountOf(request, "host");
  if (hosts > 1 || (hosts == 0 && http_1_1)) {
    return Refusal{400, hosts == 0 ? "the Host header is missing" : "there is more than one Host header", {}};
  }
  // A program that speaks HTTP/1.0 without a Host is no browser that somebody misled.
  for (const auto& [given, name] : {std::pair(hosts == 1, request.Header("host")), {!authority.empty(), authority}}) {
    if (given && !access.HostAllowed(name)) {
      return Refusal{403, fmt::format("the host name '{}' is not allowed here", Quoted(name)), {}};
    }
  }
  return std::nullopt;
}

/// What a browser asks before it sends the request itself.
Refusal AnswerPreflight(const Request& request, const std::string& allow) {
  Refusal answer{204, {}, {{"access-control-allow-methods", allow}, {"access-control-max-age", "86400"}}};
  const std::string_view wanted = request.Header("access-control-request-headers");
  if (!wanted.empty() && wanted.size() <= kMostRequestedHeaders) {
    answer.headers.emplace_back("access-control-allow-headers", wanted);
  }
  if (request.Header("access-control-request-private-network") == "true") {
    answer.headers.emplace_back("access-control-allow-private-network", "true");
  }
  return answer;
}

}  // namespace

bool HasToken(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(','), list.size());
    std::string_view part = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    while (!part.empty() && (part.front() == ' ' || part.front() == '\t')) part.remove_prefix(1);
    while (!part.empty() && (part.back() == ' ' || part.back() == '\t')) part.remove_suffix(1);
    if (EqualLetters(part, token)) return true;
  }
  return false;
}

Admission Admit(const Request& request, const std::string& path, const std::string& authority, bool http_1_1,
                const Router& router, const Access& access) {
  Admission admission;
  const auto refuse = [&admission](Refusal refusal) {
    admission.refusal = std::move(refusal);
    return std::move(admission);
  };
  if (auto refusal = CheckHost(request, authority, http_1_1, access)) return refuse(std::move(*refusal));
  const std::string_view origin = request.Header("origin");
  if (!origin.empty()) {
    if (CountOf(request, "origin") > 1 ||
        !access.OriginAllowed(origin, authority.empty() ? request.Header("host") : authority)) {
      return refuse({403, fmt::format("the origin '{}' is not allowed here", Quoted(origin)), {}});
    }
    admission.headers = {{"access-control-allow-origin", std::string(origin)},
                         {"vary", "origin"},
                         {"access-control-expose-headers", "x-request-id, retry-after"}};
  }
  if (request.method == "OPTIONS" && path == "*") return refuse({204, {}, {}});
  auto match = router.Find(request.method, path);
  using Outcome = Router::Match::Outcome;
  if (match.outcome == Outcome::kBadPath) return refuse({400, "the path is not encoded as paths are", {}});
  if (match.outcome == Outcome::kNoSuchPath) {
    return refuse({404, fmt::format("there is nothing at '{}'", Quoted(request.path)), {}});
  }
  if (match.outcome == Outcome::kNoSuchMethod) {
    if (request.method != "OPTIONS") {
      return refuse(
          {405,
           fmt::format("'{}' does not take {}, but {}", Quoted(request.path), Quoted(request.method), match.allow),
           {{"allow", match.allow}}});
    }
    if (!origin.empty() && !request.Header("access-control-request-method").empty()) {
      return refuse(AnswerPreflight(request, match.allow));
    }
    return refuse({204, {}, {{"allow", match.allow}}});
  }
  if (access.wants_key() && !match.route->options.without_key && !access.KeyAllowed(KeyOf(request))) {
    return refuse({401,
                   KeyOf(request).empty()
                       ? "a key is wanted: send it as 'Authorization: Bearer KEY' or 'x-api-key: KEY'"
                       : "the key is not known here",
                   {{"www-authenticate", "Bearer"}}});
  }
  if (match.route->socket && !HasToken(request.Header("upgrade"), "websocket")) {
    return refuse({426, "this speaks WebSocket only", {{"upgrade", "websocket"}}});
  }
  admission.route = match.route;
  admission.captures = std::move(match.captures);
  return admission;
}

}  // namespace edgellm::http
