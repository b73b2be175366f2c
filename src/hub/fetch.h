// How this program asks a hub: tokens that go to their own host and no other, redirects within bounds, and which
// failures are worth another try, after how long. Rules alone; the transfers are TransferLoop's.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hub/transfer_loop.h"

namespace edgellm {

struct FetchOptions {
  std::string token;         // empty: none
  std::string token_origin;  // the only place that it goes to: "https://huggingface.co"
  int attempts = 8;          // failures in a row, without progress between them, before giving up
  std::chrono::milliseconds first_wait{500}, longest_wait{30'000};
  std::chrono::milliseconds longest_asked_wait{300'000};  // a server that asks for more (Retry-After) is given up
  TransferTimeouts timeouts;
};

inline constexpr int kMostRedirects = 10;

/// Header lines for a request to `url`: the token where it belongs.
std::vector<std::string> RequestHeaders(const FetchOptions& options, const std::string& url);

/// Where a redirect leads. Throws Error(kCorrupt): no proper address, from https to http, too many.
std::string NextLocation(const std::string& url, const ReplyHead& head, int redirects);

inline bool IsRedirect(long status) {
  return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}
/// Too busy, or broken for the moment.
inline bool IsPassing(long status) {
  return status == 408 || status == 425 || status == 429 || status >= 500;
}

/// Seconds or a date, as HTTP writes it. Absent where there is none, or it says nothing.
std::optional<std::chrono::milliseconds> ParseRetryAfter(std::string_view text);

/// Counts failures and tells how long to wait: twice as long each time, with some chance in it, so that many clients do
/// not come back together.
class Retries {
 public:
  explicit Retries(const FetchOptions& options);

  /// Throws Error(kIo) with `why` when it is enough. `asked`: by the server.
  void Failed(const std::string& why, std::optional<std::chrono::milliseconds> asked);
  void Progressed() { failures_ = 0; }
  /// Until when nothing is to be started.
  std::chrono::steady_clock::time_point not_before() const { return not_before_; }

 private:
  FetchOptions options_;
  int failures_ = 0;
  std::chrono::steady_clock::time_point not_before_{};
  std::minstd_rand random_;
};

struct Fetched {
  std::string url;  // after redirects
  ReplyHead head;
  std::vector<ReplyHead> redirects;  // the answers that led there
  std::string body;
};

/// One small answer, with redirects and retries. Statuses that are no failure for now (200, 206, 401, 404 …) come back.
/// `poll` is called about ten times a second; what it throws comes out. A body longer than `most` is Error(kLimit);
/// `head_only`: the body is not read.
Fetched FetchWhole(TransferLoop& loop, const FetchOptions& options, const std::string& url,
                   const std::vector<std::string>& headers, size_t most, bool head_only,
                   const std::function<void()>& poll);

}  // namespace edgellm
