// See fetch.h.
#include "hub/fetch.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <ctime>

#include "base/error.h"
#include "base/one_line.h"
#include "hub/curl_handles.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPollEvery{100};

/// An address for messages: signed links carry a key in their query.
std::string Shown(const std::string& url) {
  return OneLine(url.substr(0, url.find('?')));
}

}  // namespace

std::vector<std::string> RequestHeaders(const FetchOptions& options, const std::string& url) {
  if (options.token.empty() || options.token_origin.empty()) return {};
  if (ParseWebAddress(url).origin != ParseWebAddress(options.token_origin).origin) return {};
  return {"Authorization: Bearer " + options.token};
}

std::string NextLocation(const std::string& url, const ReplyHead& head, int redirects) {
  if (redirects >= kMostRedirects) {
    Fail(ErrorCode::kCorrupt, "{}: redirected more than {} times", Shown(url), kMostRedirects);
  }
  const std::string next = ResolveLocation(url, std::string(head.Find("location")));
  if (url.starts_with("https:") && !next.starts_with("https:")) {
    Fail(ErrorCode::kCorrupt, "{}: redirected from https to {}: not followed", Shown(url), Shown(next));
  }
  ParseWebAddress(next);
  return next;
}

std::optional<milliseconds> ParseRetryAfter(std::string_view text) {
  if (text.empty()) return std::nullopt;
  int64_t seconds = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (failed != std::errc() || end != text.data() + text.size()) {
    const time_t date = curl_getdate(std::string(text).c_str(), nullptr);
    if (date < 0) return std::nullopt;
    seconds = static_cast<int64_t>(date - std::time(nullptr));
  }
  return milliseconds(1000 * std::clamp<int64_t>(seconds, 0, 1'000'000));
}

Retries::Retries(const FetchOptions& options) : options_(options), random_(std::random_device()()) {}

void Retries::Failed(const std::string& why, std::optional<milliseconds> asked) {
  const auto now = Clock::now();
  // Transfers that run side by side fail together: that is one failure.
  if (now >= not_before_) ++failures_;
  if (failures_ >= options_.attempts) {
    Fail(ErrorCode::kIo, "{}{}", why, failures_ > 1 ? fmt::format(" ({} attempts)", failures_) : "");
  }
  if (asked && *asked > options_.longest_asked_wait) {
    Fail(ErrorCode::kIo, "{}: the server asks to come back in {} seconds", why, asked->count() / 1000);
  }
  const double doubled = static_cast<double>(options_.first_wait.count()) * std::exp2(failures_ - 1);
  const double most = std::min(doubled, static_cast<double>(options_.longest_wait.count()));
  const double share = std::uniform_real_distribution<double>(0.75, 1.0)(random_);
  const auto wait = std::max(milliseconds(static_cast<int64_t>(most * share)), asked.value_or(milliseconds(0)));
  not_before_ = std::max(not_before_, now + wait);
}

Fetched FetchWhole(TransferLoop& loop, const FetchOptions& options, const std::string& url,
                   const std::vector<std::string>& headers, size_t most, bool head_only,
                   const std::function<void()>& poll) {
  Retries retries(options);
  Fetched fetched{url, {}, {}, {}};
  int redirects = 0;
  for (;;) {
    while (Clock::now() < retries.not_before()) {
      const auto left = std::chrono::duration_cast<milliseconds>(retries.not_before() - Clock::now());
      loop.Poll(std::clamp(left, milliseconds(1), kPollEvery));
      if (poll) poll();
    }
    std::vector<std::string> lines = RequestHeaders(options, fetched.url);
    lines.insert(lines.end(), headers.begin(), headers.end());
    std::optional<TransferEnd> end;
    fetched.head = {};
    fetched.body.clear();
    TransferListener listener;
    listener.head = [&](const ReplyHead& head) {
      fetched.head = head;
      return !head_only;
    };
    listener.body = [&](std::string_view bytes) {
      if (fetched.body.size() + bytes.size() > most) {
        Fail(ErrorCode::kLimit, "{}: the answer is longer than {} bytes", Shown(fetched.url), most);
      }
      fetched.body += bytes;
      return true;
    };
    listener.ended = [&](const TransferEnd& ended) { end = ended; };
    loop.Start(fetched.url, lines, std::move(listener));
    while (!end) {
      loop.Poll(kPollEvery);
      if (poll) poll();
    }
    const long status = fetched.head.status;
    if (status == 0 || (!end->complete && !end->stopped)) {
      retries.Failed(fmt::format("{}: {}", Shown(fetched.url), end->failure), std::nullopt);
    } else if (IsPassing(status)) {
      retries.Failed(fmt::format("{}: the server answers HTTP {}", Shown(fetched.url), status),
                     ParseRetryAfter(fetched.head.Find("retry-after")));
    } else if (IsRedirect(status)) {
      fetched.url = NextLocation(fetched.url, fetched.head, redirects++);
      fetched.redirects.push_back(fetched.head);
    } else {
      return fetched;
    }
  }
}

}  // namespace edgellm
