// The other side of the server's tests: a socket, bytes out, bytes in. It knows as little of HTTP as a test needs, so
// that it can say what no proper client would.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgellm::http {

struct RawReply {
  int status = 0;
  std::string head;  // with the status line, in small letters
  std::string body;  // taken out of its chunks
  bool complete = false;

  /// The value of a header (small letters), or empty.
  std::string Header(std::string_view name) const;
};

class RawClient {
 public:
  /// Connects to 127.0.0.1 (or ::1). `receive_buffer`: bytes that the system keeps for a client that does not read.
  explicit RawClient(uint16_t port, int receive_buffer = 0, bool ipv6 = false);
  explicit RawClient(int connected) : socket_(connected) {}
  RawClient(RawClient&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), received_(std::move(other.received_)) {}
  ~RawClient() { Close(); }

  /// False when the other side has closed.
  bool Send(std::string_view bytes);
  /// Piece by piece, with pauses.
  bool SendSlowly(std::string_view bytes, size_t piece, std::chrono::milliseconds pause);
  void EndOutput();  // half of the socket
  void Close();
  void Reset();  // as a client that crashes

  /// One answer; `head_only` for HEAD. Not complete when the connection ends or nothing comes for `patience`.
  RawReply ReadReply(bool head_only = false, std::chrono::milliseconds patience = std::chrono::seconds(10));
  /// Until `text` has come; what came up to its end, or nothing.
  std::optional<std::string> ReadUntil(std::string_view text,
                                       std::chrono::milliseconds patience = std::chrono::seconds(10));
  std::optional<std::string> ReadBytes(size_t count, std::chrono::milliseconds patience = std::chrono::seconds(10));
  /// True when the other side closes (in any way) before `patience` is over; what comes before is kept.
  bool WaitForEnd(std::chrono::milliseconds patience = std::chrono::seconds(10));

  const std::string& received() const { return received_; }
  int socket() const { return socket_; }

 private:
  /// False at the end, or when nothing comes.
  bool Receive(std::chrono::steady_clock::time_point deadline);

  int socket_ = -1;
  std::string received_;  // and not yet taken
};

/// "GET path HTTP/1.1" with a Host and further header lines (each with its line end).
std::string GetText(std::string_view path, std::string_view more = {});
std::string PostText(std::string_view path, std::string_view body, std::string_view more = {});

}  // namespace edgellm::http
