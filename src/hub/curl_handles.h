// What every user of libcurl here needs: its start, lists of headers, addresses taken apart. No transfer.
#pragma once

#include <curl/curl.h>
#include <memory>
#include <string>

namespace edgellm {

/// Once a process, before the first handle. Throws Error(kEnvironment).
void InitialiseCurl();

/// A list of header lines, built up and freed.
class HeaderLines {
 public:
  void Add(const std::string& line) { list_.reset(curl_slist_append(list_.release(), line.c_str())); }
  curl_slist* get() const { return list_.get(); }

 private:
  std::unique_ptr<curl_slist, void (*)(curl_slist*)> list_{nullptr, curl_slist_free_all};
};

/// An address of http or https, taken apart.
struct WebAddress {
  std::string origin;  // "https://host" or "http://host:8080", lower case
  std::string path;    // as it is written, with its slash; "" or "/…"
  std::string query;
};

/// Throws Error(kInvalidArgument) for what is none; addresses with a user or password in them are none.
WebAddress ParseWebAddress(const std::string& url);

/// `location` (absolute, or relative to `url`) as an absolute address. Throws Error(kCorrupt) where it is none of http
/// or https.
std::string ResolveLocation(const std::string& url, const std::string& location);

/// Each byte that cannot stand in a path as %XX; slashes stay.
std::string EscapePath(const std::string& path);
/// %XX as bytes.
std::string UnescapePath(const std::string& path);

/// True for an address of this machine: no proxy is asked for it.
bool IsLoopback(const std::string& url);

}  // namespace edgellm
