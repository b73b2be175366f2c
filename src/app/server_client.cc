// See server_client.h.
#include "app/server_client.h"

#include <cstdlib>

#include <nlohmann/json.hpp>

#include "app/terminal.h"
#include "base/error.h"
#include "base/one_line.h"
#include "hub/http_client.h"
#include "serve/environment.h"

namespace edgellm::app {
namespace {

constexpr const char* kUsualPort = "11434";

}  // namespace

std::string ServerOrigin() {
  const auto setting = FindSetting("HOST");
  std::string text = setting ? setting->value : "127.0.0.1";
  const size_t scheme_end = text.find("://");
  const std::string scheme = scheme_end == text.npos ? "http://" : text.substr(0, scheme_end + 3);
  std::string host = scheme_end == text.npos ? text : text.substr(scheme_end + 3);
  host = host.substr(0, host.find('/'));
  const size_t colon = host.rfind(':');
  const bool has_port = colon != host.npos && host.find(']', colon) == host.npos;
  const std::string port = has_port ? host.substr(colon) : scheme == "https://" ? "" : std::string(":") + kUsualPort;
  if (has_port) host.resize(colon);
  if (host.empty() || host == "0.0.0.0") host = "127.0.0.1";
  if (host == "[::]") host = "[::1]";
  return ParseHttpAddress(scheme + host + port).origin;
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
