// Several HTTP requests at once on one thread, by libcurl's multi interface. A request is one exchange: redirects are
// answers like others, nothing is tried again, nothing is kept. What to make of an answer is the caller's.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgellm {

struct ReplyHead {
  long status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in small letters

  /// The first of that name (small letters), or empty.
  std::string_view Find(std::string_view name) const;
};

struct TransferEnd {
  bool complete = false;  // the whole body came, and the listener wanted all of it
  bool stopped = false;   // the listener did not want more
  std::string failure;    // otherwise: why, in one line
};

/// Who listens to one transfer. Calls come from TransferLoop::Poll. Throwing ends the transfer, and comes out of Poll.
struct TransferListener {
  std::function<bool(const ReplyHead&)> head;     // false: no more of it is wanted
  std::function<bool(std::string_view)> body;     // likewise
  std::function<void(const TransferEnd&)> ended;  // once, last; may start further transfers
};

struct TransferTimeouts {
  std::chrono::milliseconds connect{15'000};
  std::chrono::milliseconds stall{30'000};  // without a byte
};

class TransferLoop {
 public:
  explicit TransferLoop(const TransferTimeouts& timeouts);
  ~TransferLoop();
  TransferLoop(const TransferLoop&) = delete;
  TransferLoop& operator=(const TransferLoop&) = delete;

  /// A GET. `headers`: lines "Name: value". `url` must be one that ParseWebAddress takes.
  void Start(const std::string& url, const std::vector<std::string>& headers, TransferListener listener);
  /// A POST of `body`, whose type is among the headers.
  void Post(const std::string& url, const std::vector<std::string>& headers, std::string body,
            TransferListener listener);

  /// Lets transfers go on; returns when something has happened, or after `longest`.
  void Poll(std::chrono::milliseconds longest);

  size_t running() const { return transfers_.size(); }

 private:
  struct Transfer;

  std::unique_ptr<Transfer> Prepare(const std::string& url, const std::vector<std::string>& headers,
                                    TransferListener listener) const;
  void Begin(std::unique_ptr<Transfer> transfer);
  void Finish(void* handle, int result);
  void StopStalled();

  TransferTimeouts timeouts_;
  std::unique_ptr<void, int (*)(void*)> multi_;
  std::map<void*, std::unique_ptr<Transfer>> transfers_;
};

}  // namespace edgellm
