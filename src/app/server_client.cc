// See server_client.h.
#include "app/server_client.h"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "app/terminal.h"
#include "base/error.h"
#include "base/one_line.h"
#include "hub/http_client.h"
#include "serve/environment.h"
#include "serve/serve_settings.h"

namespace edgellm::app {
std::string ServerOrigin() {
  const auto setting = FindSetting("HOST");
  const std::string text = setting ? setting->value : "";
  const bool secure = text.starts_with("https://");  // a proxy before the server
  ListenAddress address = ParseListenAddress(text, {.port = secure ? uint16_t{443} : ListenAddress().port});
  if (address.host == "0.0.0.0") address.host = "127.0.0.1";
  if (address.host == "::") address.host = "::1";
  const bool ipv6 = address.host.find(':') != std::string::npos;
  return ParseHttpAddress(fmt::format("{}://{}:{}", secure ? "https" : "http",
                                      ipv6 ? "[" + address.host + "]" : address.host, address.port))
      .origin;
}

nlohmann::ordered_json AskServer(const std::string& path, const nlohmann::ordered_json* body) {
  const std::string origin = ServerOrigin();
  HttpOptions options;
  options.poll = CheckInterrupt;
  if (const char* key = std::getenv("EDGELLM_API_KEY")) options.api_key = key;
  HttpClient client(options);
  std::string received;
  HttpReply reply;
  if (body == nullptr) {
    reply = client.Get(origin + path);
    received = reply.body;
  } else {
    reply = client.Post(origin + path, body->dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
                        [&](std::string_view bytes) { received += bytes; });
    if (reply.status != 200) received = reply.body;
  }
  auto answer = nlohmann::ordered_json::parse(received, nullptr, false);
  if (answer.is_object() && answer.contains("error") && answer["error"].is_string()) {
    throw Error(ErrorCode::kIo, OneLine(answer["error"].get<std::string>()));
  }
  if (reply.status != 200) Fail(ErrorCode::kIo, "{}: the server answers HTTP {}", origin, reply.status);
  if (!answer.is_object()) Fail(ErrorCode::kIo, "{}: what answers there is no server of models", origin);
  return answer;
}

}  // namespace edgellm::app
