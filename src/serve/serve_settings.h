// Texts that people give a server, on the command line and in environment variables, and what they mean. Pure
// functions.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm {

struct ListenAddress {
  std::string host = "127.0.0.1";
  uint16_t port = 11434;
};

/// As OLLAMA_HOST: "host", "host:port", ":port", "[::1]:port", with or without "http://" before and "/" after; what is
/// left out stays as in `address`. Throws Error(kInvalidArgument).
ListenAddress ParseListenAddress(std::string_view text, ListenAddress address = {});

/// "5m", "1h30m", "500ms", "90" (seconds), "-1" and everything negative (for ever). Throws Error(kInvalidArgument).
std::chrono::nanoseconds ParseDuration(std::string_view text);

/// "a, b,c" -> {"a", "b", "c"}; empty ones are left out.
std::vector<std::string> SplitList(std::string_view text);

}  // namespace edgellm
