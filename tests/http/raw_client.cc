// See raw_client.h.
#include "tests/http/raw_client.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cctype>
#include <cerrno>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace edgellm::http {

using Clock = std::chrono::steady_clock;

std::string RawReply::Header(std::string_view name) const {
  const size_t at = head.find("\r\n" + std::string(name) + ": ");
  if (at == head.npos) return {};
  const size_t begin = at + 2 + name.size() + 2;
  return head.substr(begin, head.find("\r\n", begin) - begin);
}

RawClient::RawClient(uint16_t port, int receive_buffer, bool ipv6) {
  socket_ = ::socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (receive_buffer > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in four{};
  four.sin_family = AF_INET;
  four.sin_port = htons(port);
  four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(port);
  six.sin6_addr = in6addr_loopback;
  const auto* address = ipv6 ? reinterpret_cast<sockaddr*>(&six) : reinterpret_cast<sockaddr*>(&four);
  if (connect(socket_, address, ipv6 ? sizeof six : sizeof four) != 0) throw std::runtime_error("cannot connect");
}

bool RawClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

bool RawClient::SendSlowly(std::string_view bytes, size_t piece, std::chrono::milliseconds pause) {
  while (!bytes.empty()) {
    if (!Send(bytes.substr(0, piece))) return false;
    bytes.remove_prefix(std::min(piece, bytes.size()));
    if (pause.count() > 0) std::this_thread::sleep_for(pause);
  }
  return true;
}

void RawClient::EndOutput() {
  shutdown(socket_, SHUT_WR);
}

void RawClient::Close() {
  if (socket_ >= 0) close(std::exchange(socket_, -1));
}

void RawClient::Reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  Close();
}

bool RawClient::Receive(Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
  pollfd event{socket_, POLLIN, 0};
  if (left < 0 || poll(&event, 1, static_cast<int>(left) + 1) <= 0) return false;
  char bytes[16384];
  const ssize_t count = recv(socket_, bytes, sizeof bytes, 0);
  if (count <= 0) return false;
  received_.append(bytes, static_cast<size_t>(count));
  return true;
}

std::optional<std::string> RawClient::ReadUntil(std::string_view text, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  size_t at;
  while ((at = received_.find(text)) == received_.npos) {
    if (!Receive(deadline)) return std::nullopt;
  }
  std::string taken = received_.substr(0, at + text.size());
  received_.erase(0, taken.size());
  return taken;
}

std::optional<std::string> RawClient::ReadBytes(size_t count, std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (received_.size() < count) {
    if (!Receive(deadline)) return std::nullopt;
  }
  std::string taken = received_.substr(0, count);
  received_.erase(0, count);
  return taken;
}

bool RawClient::WaitForEnd(std::chrono::milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (Receive(deadline)) {
  }
  return Clock::now() < deadline;
}

RawReply RawClient::ReadReply(bool head_only, std::chrono::milliseconds patience) {
  RawReply reply;
  const auto head = ReadUntil("\r\n\r\n", patience);
  if (!head) return reply;
  reply.head = *head;
  for (char& c : reply.head) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (reply.head.size() > 12) reply.status = std::atoi(reply.head.c_str() + 9);
  const std::string length = reply.Header("content-length");
  if (head_only || reply.status == 204 || reply.status / 100 == 1) {
    reply.complete = true;
  } else if (!length.empty()) {
    const auto body = ReadBytes(std::stoul(length), patience);
    reply.complete = body.has_value();
    reply.body = body.value_or("");
  } else if (reply.Header("transfer-encoding") == "chunked") {
    for (;;) {
      const auto line = ReadUntil("\r\n", patience);
      if (!line) break;
      const size_t size = std::stoul(*line, nullptr, 16);
      const auto chunk = ReadBytes(size + 2, patience);
      if (!chunk || !chunk->ends_with("\r\n")) break;
      reply.body += chunk->substr(0, size);
      if (size == 0) {
        reply.complete = true;
        break;
      }
    }
  } else {  // until the end of the connection
    reply.complete = WaitForEnd(patience);
    reply.body = std::exchange(received_, {});
  }
  return reply;
}

std::string GetText(std::string_view path, std::string_view more) {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: localhost\r\n" + std::string(more) + "\r\n";
}

std::string PostText(std::string_view path, std::string_view body, std::string_view more) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(more) +
         "\r\n" + std::string(body);
}

}  // namespace edgellm::http
