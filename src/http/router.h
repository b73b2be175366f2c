// From a method and a path to the handler that answers. A table of patterns, filled before the server starts and only
// read afterwards; knows no sockets.
//
// A pattern is a path whose parts are literal, `{}` (any one part), or at its end `{...}` (one part or more, slashes
// included: names of models have them). "/v1/models/{...}" takes "/v1/models/someone/model" and gives the handler
// {"someone/model"} in Request::captures, and the same for "/v1/models/someone%2Fmodel". What is captured comes from
// outside: "..", empty parts and anything else may be in it.
//
// Of several patterns that take a path, the one that is literal for longer answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace edgellm::http {

struct RouteOptions {
  uint64_t max_body = 0;      // bytes; 0: the server's limit
  bool body_to_file = false;  // Request::body_file instead of Request::body
  bool without_key = false;   // for everybody: what monitors and clients probe
};

struct Route {
  std::string method, pattern;
  RouteOptions options;
  Handler handler;  // one of the two
  WebSocketHandler socket;
  std::vector<std::string> parts;  // of the pattern
};

class Router {
 public:
  /// `method` in capitals. HEAD is answered by GET's handler (the server leaves the body out) and OPTIONS by the
  /// server. The same method and pattern twice, or a `{...}` that is not last, is our own mistake.
  void Add(std::string_view method, std::string_view pattern, Handler handler, RouteOptions options = {});
  /// A route for GET with an upgrade to WebSocket.
  void AddWebSocket(std::string_view pattern, WebSocketHandler handler, RouteOptions options = {});

  struct Match {
    enum class Outcome : uint8_t { kFound, kBadPath, kNoSuchPath, kNoSuchMethod };
    Outcome outcome = Outcome::kNoSuchPath;
    const Route* route = nullptr;       // kFound
    std::vector<std::string> captures;  // kFound
    std::string allow;                  // "GET, HEAD, OPTIONS": empty for kBadPath and kNoSuchPath
  };
  /// `path` as it came, encoded.
  Match Find(std::string_view method, std::string_view path) const;

  const std::vector<Route>& routes() const { return routes_; }

 private:
  void AddRoute(Route route);

  std::vector<Route> routes_;
};

}  // namespace edgellm::http
