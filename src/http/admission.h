// Whether a request may pass, by its head alone: Host, Origin, method and path, key; and what a browser is told before
// it asks (CORS). Pure; the limits of bodies are the connection's.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "http/access.h"
#include "http/router.h"

namespace edgellm::http {

struct Admission {
  const Route* route = nullptr;  // where it passes
  std::vector<std::string> captures;
  Headers headers;  // for the answer, whatever it is (CORS)

  /// Where it does not pass: OPTIONS, answered here with 204 and no message, or an error.
  struct Refusal {
    int status = 0;
    std::string message;
    Headers headers;
  };
  std::optional<Refusal> refusal;
};

/// `path` as it came, encoded; `authority`: of a target in absolute form, else empty. `http_1_1`: which must say its
/// Host.
Admission Admit(const Request& request, const std::string& path, const std::string& authority, bool http_1_1,
                const Router& router, const Access& access);

/// True for a list (comma, spaces) that has the token, in any letters: Connection and Upgrade.
bool HasToken(std::string_view list, std::string_view token);

}  // namespace edgellm::http
