// The target of a request taken apart: path, query, percent encoding (RFC 3986, RFC 9112 section 3.2). Pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace edgellm::http {

struct Target {
  std::string authority;  // of the absolute form ("http://name:port/…"), else empty
  std::string path;       // as it came, still encoded; begins with '/', or is "*"
  std::string query;      // as it came, without the '?'
};

/// Origin form, absolute form, or "*". Nothing for anything else.
std::optional<Target> ParseTarget(std::string_view target);

/// Nothing where a '%' is not followed by two hexadecimal digits, or where NUL would come out.
std::optional<std::string> DecodePercent(std::string_view text);

/// The parts of a path between its slashes, each decoded after the cut, so that "%2F" is no slash: "/a/b%2Fc" is {"a",
/// "b/c"}; "/" is {""}. Nothing where the encoding is broken or the path does not begin with '/'.
std::optional<std::vector<std::string>> SplitPath(std::string_view path);

/// Names and values in their order, '+' is a space. What is encoded wrongly stays as it is: a query never fails.
Headers ParseQuery(std::string_view query);

}  // namespace edgellm::http
