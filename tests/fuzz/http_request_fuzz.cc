// Fuzzes a connection of the HTTP server. The first byte chooses the size of the pieces: wherever the bytes are cut,
// the same answers come, they are answers of HTTP, and the connection ends.
#include <chrono>

#include "base/error.h"
#include "http/server.h"
#include "tests/fuzz/socket_pair.h"

namespace {

using namespace edgellm;
using namespace edgellm::http;

Router Routes() {
  Router router;
  const Handler say = [](const auto& exchange) {
    std::string text = exchange->request().method + " " + exchange->request().path;
    for (const auto& capture : exchange->request().captures) text += " " + capture;
    for (const auto& [name, value] : exchange->request().query) text += " " + name + "=" + value;
    exchange->Send({200, text + "\n" + exchange->request().body, "text/plain"});
  };
  router.Add("GET", "/a", say);
  router.Add("POST", "/a", say, {.max_body = 1000});
  router.Add("GET", "/m/{...}", say);
  router.Add("DELETE", "/m/{}", say, {.without_key = true});
  router.Add("POST", "/f", say, {.max_body = 1000, .body_to_file = true});
  router.Add("GET", "/s", [](const auto& exchange) {
    exchange->Begin(200, "text/event-stream", {{"x-echo", std::string(exchange->request().Header("x-echo"))}});
    exchange->Write("stream");
    exchange->End();
  });
  router.Add("GET", "/t", [](const auto&) { throw Error(ErrorCode::kBusy, "full"); });
  return router;
}

Server& TheServer() {
  static Server server = [] {
    ServerOptions options;
    options.keys = {"k"};
    options.limits.header_bytes = 2048;
    options.timeouts.header = options.timeouts.body = options.timeouts.idle = std::chrono::minutes(10);
    options.timeouts.linger = std::chrono::milliseconds(20);
    return Server(options, Routes());
  }();
  return server;
}

/// Without what differs from one run to the next, and without "100 Continue", which depends on what has come by then.
std::string Comparable(std::string text) {
  for (const std::string_view name : {"date: ", "x-request-id: ", "HTTP/1.1 100 Continue\r\n"}) {
    size_t at = 0;
    while ((at = text.find(name, at)) != text.npos) {
      const size_t end = std::min(text.find("\r\n", at), text.size() - 2) + 2;
      text.erase(at, end - at);
      if (name.starts_with("HTTP")) text.erase(at, 2);  // the empty line
    }
  }
  // How much of a head has to be there before something wrong in it is noticed depends on the pieces; it is always the
  // last that is answered.
  for (const char* last : {"HTTP/1.1 400", "HTTP/1.1 431", "HTTP/1.1 505"})
    text.resize(std::min(text.find(last), text.size()));
  return text;
}

std::string Answers(std::string_view request, size_t piece) {
  SocketPair connection(TheServer());
  connection.Send(request, piece);
  connection.EndOutput();
  const std::string answers = connection.ReadUntil();
  Require(answers.empty() || answers.starts_with("HTTP/1.1 "), "an answer is one of HTTP");
  return Comparable(answers);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view request(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string whole = Answers(request, std::max<size_t>(request.size(), 1));
  const std::string pieces = Answers(request, data[0] % 64 + size_t{1});
  if (whole != pieces) std::fprintf(stderr, "whole:\n%s\npieces:\n%s\n", whole.c_str(), pieces.c_str());
  Require(whole == pieces, "the answers depend on the pieces");
  return 0;
}
