// A connection that has become a WebSocket (RFC 6455): text messages in and out, pings, close codes. Private to
// src/http: it names Asio.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <memory>

#include "http/shared.h"
#include "http/web_socket_link.h"

namespace edgellm::http {

struct WebSocketStart {
  std::shared_ptr<WebSocketLink> link;
  std::unique_ptr<WebSocketListener> listener;
  std::string target;  // as it came, for the handshake
  std::string path;    // as it came, for the access log
  Headers headers;     // of the answer to the handshake
  std::chrono::steady_clock::time_point started;
};

/// Answers the handshake and serves the connection. To be called on the socket's strand, with no operation pending.
void StartWebSocket(std::shared_ptr<Shared> shared, boost::asio::ip::tcp::socket socket, WebSocketStart start);

}  // namespace edgellm::http
