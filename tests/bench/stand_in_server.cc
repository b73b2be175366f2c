// See stand_in_server.h.
#include "tests/bench/stand_in_server.h"

#include <algorithm>
#include <arpa/inet.h>
#include <chrono>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdexcept>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace edgellm {

StandInServer::StandInServer(std::function<HttpAnswer(const HttpRequest&)> answer) : answer_(std::move(answer)) {
  listener_ = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || bind(listener_, generic, size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, generic, &size) != 0) {
    throw std::runtime_error("no socket to listen on");
  }
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { Serve(); });
}

StandInServer::~StandInServer() {
  shutdown(listener_, SHUT_RDWR);  // ends accept
  thread_.join();
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const int connection : open_) shutdown(connection, SHUT_RDWR);
  }
  for (auto& thread : connections_) thread.join();
  close(listener_);
}

std::string StandInServer::url() const {
  return "http://127.0.0.1:" + std::to_string(port_);
}

std::vector<HttpRequest> StandInServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void StandInServer::Serve() {
  for (;;) {
    const int connection = accept(listener_, nullptr, nullptr);
    if (connection < 0) return;
    const std::lock_guard lock(mutex_);
    open_.push_back(connection);
    connections_.emplace_back([this, connection] {
      ServeOne(connection);
      const std::lock_guard closing(mutex_);
      open_.remove(connection);
      close(connection);
    });
  }
}

bool StandInServer::Pause(int milliseconds) const {
  for (int waited = 0; waited < milliseconds; waited += 10) {
    {
      const std::lock_guard lock(mutex_);
      if (ending_) return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(std::min(10, milliseconds - waited)));
  }
  return true;
}

void StandInServer::ServeOne(int connection) {
  std::string text;
  size_t head = text.npos, length = 0;
  while (head == text.npos || text.size() < head + 4 + length) {
    char buffer[4096];
    const ssize_t count = read(connection, buffer, sizeof(buffer));
    if (count <= 0) return;
    text.append(buffer, static_cast<size_t>(count));
    head = text.find("\r\n\r\n");
    const size_t field = text.find("Content-Length: ");
    if (field < head) length = std::stoul(text.substr(field + 16));
  }
  const size_t space = text.find(' ');
  HttpRequest request{text.substr(0, space), text.substr(space + 1, text.find(' ', space + 1) - space - 1),
                      text.substr(0, head), text.substr(head + 4)};
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(request);
  }
  const HttpAnswer answer = answer_(request);
  const int now = 1;
  setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &now, sizeof(now));
  for (size_t i = 0; i < answer.pieces.size(); ++i) {
    if (i > 0 && !Pause(answer.pause_ms)) return;
    std::string_view left = answer.pieces[i];
    while (!left.empty()) {
      const ssize_t sent = send(connection, left.data(), left.size(), MSG_NOSIGNAL);
      if (sent < 0) return;
      left.remove_prefix(static_cast<size_t>(sent));
    }
  }
  Pause(answer.stay_open_ms);
}

}  // namespace edgellm
