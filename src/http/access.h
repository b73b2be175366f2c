// Who may ask: the Host header (against DNS rebinding), the Origin header (against foreign pages in a browser), and
// keys. Pure functions of what a request says; the server puts them before every handler.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "http/exchange.h"

namespace edgellm::http {

/// "localhost", "*.localhost", 127.x.x.x, ::1 with or without brackets.
bool IsLoopbackName(std::string_view name);

/// "name:80" -> "name"; "[::1]:80" -> "::1"; in small letters, without a dot at the end. Empty for what is none.
std::string HostName(std::string_view authority);

/// The key of a request: `Authorization: Bearer KEY`, else `x-api-key: KEY`; empty when there is none.
std::string_view KeyOf(const Request& request);

class Access {
 public:
  /// `loopback`: the server listens on loopback addresses only. Names of `hosts` are taken beside loopback names then;
  /// "*.name" stands for everything below a name, "*" for all. `origins` are those of foreign pages that may ask,
  /// beside loopback ones and the local programs' app://, tauri:// and vscode-webview://; '*' stands for any text in
  /// them.
  Access(bool loopback, std::vector<std::string> hosts, std::vector<std::string> origins,
         const std::vector<std::string>& keys);

  bool HostAllowed(std::string_view authority) const;
  /// `authority`: the Host of the same request, as a page that this server itself gave out may ask it.
  bool OriginAllowed(std::string_view origin, std::string_view authority) const;
  bool wants_key() const { return !keys_.empty(); }
  /// In a time that tells nothing of the keys.
  bool KeyAllowed(std::string_view key) const;

 private:
  using Digest = std::array<unsigned char, 32>;

  bool loopback_;
  std::vector<std::string> hosts_, origins_;
  std::vector<Digest> keys_;
};

/// True where `text` is `pattern`, in which '*' stands for any text. Both in small letters already.
bool MatchesWildcard(std::string_view pattern, std::string_view text);

}  // namespace edgellm::http
