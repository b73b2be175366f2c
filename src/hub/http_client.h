// Requests to an HTTP server, one at a time over one kept connection; bodies are handed on as they arrive. By libcurl.
// Knows nothing of language models; follows no redirects.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace edgellm {

struct HttpOptions {
  double connect_timeout = 10;  // seconds
  double idle_timeout = 300;    // seconds without a byte before a request is given up
  std::string api_key;          // sent as a bearer token; empty: none
  std::function<void()> poll;   // called about once a second and whenever bytes move; throwing from it ends the request
};

struct HttpReply {
  long status = 0;
  std::string body;  // its first 64 KiB; empty where it was handed on
};

class HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Any status is a reply. Throws Error(kIo) where there is none: no such host, refused, timed out, cut short.
  HttpReply Get(const std::string& url);

  /// Sends JSON. The body of a reply with status 200 goes to `receive` piece by piece; what that throws comes out of
  /// here.
  HttpReply Post(const std::string& url, const std::string& json, std::function<void(std::string_view)> receive);

 private:
  struct Transfer;
  HttpReply Perform(const std::string& url, const std::string* json, std::function<void(std::string_view)> receive);

  HttpOptions options_;
  std::unique_ptr<void, void (*)(void*)> curl_;
};

/// An address taken apart.
struct HttpAddress {
  std::string origin;  // "http://127.0.0.1:11434"
  std::string path;    // "" or "/v1/chat/completions": no slash at the end
};

/// Without a scheme http is meant. Throws Error(kInvalidArgument) for what is no address of http or https.
HttpAddress ParseHttpAddress(const std::string& text);

}  // namespace edgellm
