// A local connection to a server in the same process, for fuzz targets.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>

#include "http/server.h"

namespace edgellm::http {

inline void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

class SocketPair {
 public:
  explicit SocketPair(Server& server) {
    int sockets[2];
    Require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0, "there are no sockets");
    socket_ = sockets[1];
    server.Adopt(sockets[0]);
  }
  ~SocketPair() { close(socket_); }

  void Send(std::string_view bytes, size_t piece) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_, bytes.data(), std::min(piece, bytes.size()), MSG_NOSIGNAL);
      if (sent <= 0) return;  // the server has had enough
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
  }
  void EndOutput() { shutdown(socket_, SHUT_WR); }
  /// Until `text` has come, or (empty) until the server closes, which it has to.
  std::string ReadUntil(std::string_view text = {}) {
    std::string received;
    char bytes[16384];
    pollfd event{socket_, POLLIN, 0};
    while (text.empty() || received.find(text) == received.npos) {
      // Twice: the first time may have passed while the whole process was held up.
      Require(poll(&event, 1, 10000) == 1 || poll(&event, 1, 10000) == 1, "the server neither answers nor closes");
      const ssize_t count = recv(socket_, bytes, sizeof bytes, 0);
      if (count <= 0) break;
      received.append(bytes, static_cast<size_t>(count));
    }
    return received;
  }

 private:
  int socket_ = -1;
};

}  // namespace edgellm::http
