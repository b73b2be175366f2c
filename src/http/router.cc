// See router.h.
#include "http/router.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include "base/error.h"
#include "http/url.h"

namespace edgellm::http {
namespace {

constexpr std::string_view kOne = "{}", kRest = "{...}";

using Parts = std::vector<std::string>;

/// What the variable parts matched, or nothing when the pattern does not take the path.
std::optional<Parts> Capture(const Parts& pattern, const Parts& path) {
  Parts captures;
  for (size_t at = 0; at < pattern.size(); ++at) {
    if (at >= path.size()) return std::nullopt;
    if (pattern[at] == kRest) {
      std::string rest = path[at];
      for (size_t more = at + 1; more < path.size(); ++more) rest += "/" + path[more];
      if (rest.empty()) return std::nullopt;
      captures.push_back(std::move(rest));
      return captures;
    }
    if (pattern[at] == kOne) {
      if (path[at].empty()) return std::nullopt;
      captures.push_back(path[at]);
    } else if (pattern[at] != path[at]) {
      return std::nullopt;
    }
  }
  if (pattern.size() != path.size()) return std::nullopt;
  return captures;
}

/// Smaller for what is to be preferred, part by part.
int Vagueness(const std::string& part) {
  return part == kRest ? 2 : part == kOne ? 1 : 0;
}

bool IsMoreLiteral(const Parts& one, const Parts& other) {
  return std::lexicographical_compare(one.begin(), one.end(), other.begin(), other.end(),
                                      [](const auto& a, const auto& b) { return Vagueness(a) < Vagueness(b); });
}

std::string Join(const std::set<std::string>& methods) {
  std::string text;
  for (const auto& method : methods) text += (text.empty() ? "" : ", ") + method;
  return text;
}

}  // namespace

void Router::Add(std::string_view method, std::string_view pattern, Handler handler, RouteOptions options) {
  AddRoute({std::string(method), std::string(pattern), options, std::move(handler), {}, {}});
}

void Router::AddWebSocket(std::string_view pattern, WebSocketHandler handler, RouteOptions options) {
  AddRoute({"GET", std::string(pattern), options, {}, std::move(handler), {}});
}

void Router::AddRoute(Route route) {
  auto parts = SplitPath(route.pattern);
  EDGELLM_CHECK(parts, "a pattern begins with a slash");
  EDGELLM_CHECK(std::find(parts->begin(), parts->end(), kRest) >= parts->end() - 1, "{...} stands last in a pattern");
  for (const auto& other : routes_) {
    EDGELLM_CHECK(other.method != route.method || other.pattern != route.pattern, "a route is there once");
  }
  route.parts = std::move(*parts);
  routes_.push_back(std::move(route));
}

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  const auto parts = SplitPath(path);
  if (!parts) return {.outcome = Match::Outcome::kBadPath, .captures = {}, .allow = {}};
  Match match;
  std::set<std::string> methods;
  bool exact = false;  // the route found has the method itself, and is no GET that answers HEAD
  for (const auto& route : routes_) {
    auto captures = Capture(route.parts, *parts);
    if (!captures) continue;
    methods.insert(route.method);
    const bool same = route.method == method;
    if (!same && !(method == "HEAD" && route.method == "GET")) continue;
    const bool better =
        match.route == nullptr || (same && !exact) || (same == exact && IsMoreLiteral(route.parts, match.route->parts));
    if (!better) continue;
    exact = same;
    match.route = &route;
    match.captures = std::move(*captures);
  }
  if (methods.empty()) return match;
  if (methods.contains("GET")) methods.insert("HEAD");
  methods.insert("OPTIONS");
  match.outcome = match.route != nullptr ? Match::Outcome::kFound : Match::Outcome::kNoSuchMethod;
  match.allow = Join(methods);
  return match;
}

}  // namespace edgellm::http
