// See endpoint_users.h.
#include "bench/endpoint_users.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/philox.h"
#include "bench/stream_parser.h"
#include "hub/http_client.h"
#include "hub/transfer_loop.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr int kOwnTokens = 16;        // of each user's prompt behind what is shared
constexpr int kSettled = 8;           // tokens of each stream after which nobody's prompt is read any more
constexpr int kMostTokens = 1 << 14;  // of a stream without turns: it is to outlast the long prompt, and is let go then
// Ids that are plain tokens in about every vocabulary: behind what is special, before the end of the smallest.
constexpr uint32_t kFirstId = 64, kIds = 400;

double Milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// One request under way.
struct Stream {
  explicit Stream(const std::string& url) : parser(StreamFormat::kServerEvents, url) {}

  StreamParser parser;
  Clock::time_point start = Clock::now(), last = start;
  double ttft_ms = 0;
  int pieces = 0, tokens = 0;  // tokens: as the server counted, or pieces where it did not
  std::vector<double> gaps_ms;
  bool wanted = true, ended = false;
  long status = 0;
  std::string refusal, failure;  // the body of an error; what was wrong with the stream

  bool whole() const { return ended && status == 200 && failure.empty() && wanted && pieces > 0; }
};

using StreamPointer = std::shared_ptr<Stream>;

std::string RouteOf(const std::string& url) {
  const HttpAddress address = ParseHttpAddress(url);
  const std::string base = address.origin + address.path;
  if (address.path.ends_with("/v1/completions")) return base;
  if (address.path.ends_with("/v1")) return base + "/completions";
  for (const char* other : {"/api/generate", "/api/chat", "/v1/chat/completions"}) {
    if (address.path.ends_with(other)) {
      Fail(ErrorCode::kInvalidArgument, "{}: many users are measured by way of /v1/completions, with prompts as ids",
           url);
    }
  }
  return base + "/v1/completions";
}

class Users {
 public:
  Users(const EndpointUsersOptions& options, const Progress& progress)
      : options_(options),
        what_(options.what),
        progress_(progress),
        loop_({.connect = std::chrono::seconds(10),
               .stall = std::chrono::milliseconds(static_cast<int64_t>(options.timeout * 1e3))}) {
    if (options.model.empty()) Fail(ErrorCode::kInvalidArgument, "name the model that the server is to run");
    if (what_.users == 1) Fail(ErrorCode::kInvalidArgument, "a shared prompt wants two users or more");
    result_.url = RouteOf(options.url);
    const int parts = (what_.streams > 0 ? 1 : 0) + (options.clients > 0 ? 1 : 0) + (what_.users > 0 ? 1 : 0);
    total_ = static_cast<uint64_t>(parts * what_.rounds + 1);
  }

  EndpointUsersResult Run() {
    WarmUp();
    if (what_.streams > 0) MeasureStreams();
    if (options_.clients > 0) MeasureClients();
    if (what_.users > 0) MeasureShared();
    return std::move(result_);
  }

 private:
  // --- requests ---
  std::vector<int> Ids(int count) {
    const uint64_t key = (uint64_t{numbers_()} << 32) | numbers_();
    std::vector<int> ids(static_cast<size_t>(count));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int>(kFirstId + Philox(key, i)[0] % kIds);
    return ids;
  }

  StreamPointer Ask(const std::vector<int>& prompt, int tokens) {
    Json json = {{"model", options_.model}, {"prompt", prompt}, {"max_tokens", tokens},
                 {"temperature", 0},        {"stream", true},   {"stream_options", {{"include_usage", true}}}};
    if (ignore_eos_) json["ignore_eos"] = true;
    std::vector<std::string> headers = {"Content-Type: application/json"};
    if (!options_.api_key.empty()) headers.push_back("Authorization: Bearer " + options_.api_key);
    const auto stream = std::make_shared<Stream>(result_.url);
    TransferListener listener;
    listener.head = [stream](const ReplyHead& head) {
      stream->status = head.status;
      return true;
    };
    listener.body = [this, stream](std::string_view bytes) { return OnBytes(*stream, bytes); };
    listener.ended = [stream](const TransferEnd& end) {
      if (stream->status == 200 && end.complete) Take(*stream, [&] { return stream->parser.Finish(); });
      if (stream->failure.empty()) stream->failure = end.failure;
      stream->ended = true;
    };
    std::string body = json.dump();
    stream->start = stream->last = Clock::now();
    loop_.Post(result_.url, headers, std::move(body), std::move(listener));
    return stream;
  }

  bool OnBytes(Stream& stream, std::string_view bytes) {
    if (!stream.wanted) return false;
    if (stream.status != 200) {
      stream.refusal.append(bytes.substr(0, 4096 - std::min<size_t>(4096, stream.refusal.size())));
      return true;
    }
    const int before = stream.pieces;
    Take(stream, [&] { return stream.parser.Push(bytes); });
    pieces_ += stream.pieces - before;
    return stream.failure.empty();
  }

  /// What `parse` finds. A broken stream is a fact about that one: others go on.
  template <typename Parse>
  static void Take(Stream& stream, const Parse& parse) {
    const auto now = Clock::now();
    try {
      for (const StreamEvent& event : parse()) {
        if (event.generated_tokens) stream.tokens = static_cast<int>(*event.generated_tokens);
        if (event.text.empty()) continue;
        (stream.pieces == 0 ? stream.ttft_ms : stream.gaps_ms.emplace_back()) = Milliseconds(stream.last, now);
        stream.last = now;
        ++stream.pieces;
      }
    } catch (const Error& failure) {
      stream.failure = failure.what();
    }
  }

  void Tell(const char* activity) {
    if (progress_) progress_(activity, done_, total_);
  }

  /// Until `reached`; calls progress about once a second.
  void Until(const char* activity, const std::function<bool()>& reached) {
    while (!reached()) {
      if (loop_.running() == 0) Fail(ErrorCode::kIo, "{}: every stream has ended too early", result_.url);
      loop_.Poll(std::chrono::milliseconds(1000));
      Tell(activity);
    }
  }

  static std::string CauseOf(const Stream& stream) {
    if (stream.status != 0 && stream.status != 200) {
      return "HTTP " + std::to_string(stream.status) + ": " + ServerMessage(stream.refusal);
    }
    return stream.failure.empty() ? "an answer without any text" : stream.failure;
  }

  void Require(const Stream& stream) const {
    if (stream.whole()) return;
    if (stream.status != 0 && stream.status != 200) FailStatus(result_.url, stream.status, stream.refusal);
    Fail(ErrorCode::kIo, "{}: {}", result_.url, CauseOf(stream));
  }

  /// Runs one request alone; its time to the first token.
  double TimeAlone(const char* activity, const std::vector<int>& prompt) {
    const StreamPointer stream = Ask(prompt, 1);
    Until(activity, [&] { return stream->ended; });
    Require(*stream);
    return stream->ttft_ms;
  }

  /// Not counted: it may load the model. Servers that refuse `ignore_eos` are asked without it from then on.
  void WarmUp() {
    for (int attempt = 0; attempt < 2; ++attempt) {
      const StreamPointer stream = Ask(Ids(options_.client_prompt), 2);
      Until("warming up", [&] { return stream->ended; });
      if (attempt == 0 && (stream->status == 400 || stream->status == 422)) {
        ignore_eos_ = false;
        continue;
      }
      Require(*stream);
      break;
    }
    ++done_;
  }

  // --- streams beside a long prompt ---
  struct Turns {
    std::vector<int> prompt;
    StreamPointer stream;
    int pieces = 0;  // of turns that are over
  };

  void BeginTurn(Turns* turns) { turns->stream = Ask(turns->prompt, options_.turn > 0 ? options_.turn : kMostTokens); }

  /// Until `reached`; the times between the streams' pieces meanwhile, but not those from one turn to the next.
  std::vector<double> Gaps(const char* activity, std::vector<Turns>& streams, const std::function<bool()>& reached) {
    std::vector<double> gaps;
    const auto take = [&gaps](Stream& stream) {
      gaps.insert(gaps.end(), stream.gaps_ms.begin(), stream.gaps_ms.end());
      stream.gaps_ms.clear();
    };
    for (Turns& turns : streams) turns.stream->gaps_ms.clear();
    Until(activity, [&] {
      for (Turns& turns : streams) {
        const StreamPointer stream = turns.stream;
        if (!stream->ended) continue;
        if (!stream->whole()) Require(*stream);
        if (options_.turn > 0 && stream->pieces > 1) {
          take(*stream);
          turns.pieces += stream->pieces;
          BeginTurn(&turns);
          continue;
        }
        Fail(ErrorCode::kLimit,
             "{}: a stream ended after {} tokens, before the prompt of {} was read: give the server more context, or "
             "try a shorter prompt",
             result_.url, stream->tokens, what_.long_prompt);
      }
      return reached();
    });
    for (Turns& turns : streams) take(*turns.stream);
    return gaps;
  }

  struct StreamsRound {
    std::vector<double> before, beside, after;
    double prompt_ms = 0;
  };

  StreamsRound OneStreamsRound() {
    std::vector<Turns> streams(static_cast<size_t>(what_.streams));
    for (Turns& turns : streams) {
      turns.prompt = Ids(what_.context);
      BeginTurn(&turns);
    }
    Gaps("streams begin", streams, [&] {
      return std::all_of(streams.begin(), streams.end(),
                         [](const Turns& turns) { return turns.pieces + turns.stream->pieces >= kSettled; });
    });
    StreamsRound round;
    int64_t target = pieces_ + int64_t{what_.tokens} * what_.streams;
    const auto enough = [&] { return pieces_ >= target; };
    round.before = Gaps("streams alone", streams, enough);
    const StreamPointer prompt = Ask(Ids(what_.long_prompt), 1);
    round.beside = Gaps("streams beside a long prompt", streams, [&] { return prompt->pieces > 0 || prompt->ended; });
    Until("streams beside a long prompt", [&] { return prompt->ended; });
    Require(*prompt);
    round.prompt_ms = prompt->ttft_ms;
    target = pieces_ + int64_t{what_.tokens} * what_.streams;
    round.after = Gaps("streams after it", streams, enough);
    for (const Turns& turns : streams) turns.stream->wanted = false;
    Until("streams end", [&] { return loop_.running() == 0; });
    return round;
  }

  void MeasureStreams() {
    std::vector<double> before, beside, after, p50, p99, prompt, alone;
    for (int i = 0; i < what_.rounds; ++i, ++done_) {
      alone.push_back(TimeAlone("a long prompt alone", Ids(what_.long_prompt)));
      const StreamsRound round = OneStreamsRound();
      const Percentiles one = PercentilesOf(round.before), other = PercentilesOf(round.beside);
      p50.push_back(other.p50 / one.p50);
      p99.push_back(other.p99 / one.p99);
      prompt.push_back(round.prompt_ms);
      before.insert(before.end(), round.before.begin(), round.before.end());
      beside.insert(beside.end(), round.beside.begin(), round.beside.end());
      after.insert(after.end(), round.after.begin(), round.after.end());
    }
    result_.streams = what_.streams;
    result_.context = what_.context;
    result_.long_prompt = what_.long_prompt;
    result_.before_ms = PercentilesOf(std::move(before));
    result_.beside_ms = PercentilesOf(std::move(beside));
    result_.after_ms = PercentilesOf(std::move(after));
    result_.p50_ratio = SpreadOf(std::move(p50));
    result_.p99_ratio = SpreadOf(std::move(p99));
    result_.prompt_ms = SpreadOf(std::move(prompt));
    result_.prompt_alone_ms = SpreadOf(std::move(alone));
  }

  // --- many clients ---
  void MeasureClients() {
    std::vector<double> ttft, gaps, rates;
    for (int i = 0; i < what_.rounds; ++i, ++done_) {
      const auto start = Clock::now();
      std::vector<StreamPointer> streams;
      for (int client = 0; client < options_.clients; ++client) {
        streams.push_back(Ask(Ids(options_.client_prompt), options_.client_tokens));
      }
      Until("many clients", [&] { return loop_.running() == 0; });
      int64_t tokens = 0;
      for (const auto& stream : streams) {
        ++result_.asked;
        const int count = std::max(stream->tokens, stream->pieces);
        tokens += count;
        if (stream->whole() && (!ignore_eos_ || count == options_.client_tokens)) {
          ++result_.whole;
        } else {
          ++result_.failures[stream->whole() ? "fewer tokens than asked for" : CauseOf(*stream)];
        }
        if (stream->pieces > 0) ttft.push_back(stream->ttft_ms);
        gaps.insert(gaps.end(), stream->gaps_ms.begin(), stream->gaps_ms.end());
      }
      rates.push_back(static_cast<double>(tokens) * 1e3 / Milliseconds(start, Clock::now()));
    }
    result_.clients = options_.clients;
    result_.client_prompt = options_.client_prompt;
    result_.client_tokens = options_.client_tokens;
    result_.ttft_ms = PercentilesOf(std::move(ttft));
    result_.itl_ms = PercentilesOf(std::move(gaps));
    result_.tok_s = SpreadOf(std::move(rates));
  }

  // --- a shared prompt ---
  std::vector<int> UserPrompt(const std::vector<int>& shared) {
    std::vector<int> prompt = shared;
    const std::vector<int> own = Ids(kOwnTokens);
    prompt.insert(prompt.end(), own.begin(), own.end());
    return prompt;
  }

  void MeasureShared() {
    std::vector<double> first, next, others;
    std::vector<double> next_ratio, next_slowest, others_ratio, others_slowest;
    const auto summarise = [](std::vector<double> times, double of, std::vector<double>* all,
                              std::vector<double>* ratio, std::vector<double>* slowest) {
      all->insert(all->end(), times.begin(), times.end());
      const Spread spread = SpreadOf(std::move(times));
      ratio->push_back(spread.median / of);
      slowest->push_back(spread.max / of);
    };
    for (int i = 0; i < what_.rounds; ++i, ++done_) {
      std::vector<int> shared = Ids(what_.shared);
      first.push_back(TimeAlone("a shared prompt", UserPrompt(shared)));
      std::vector<double> times;
      for (int user = 1; user < what_.users; ++user)
        times.push_back(TimeAlone("a shared prompt, one by one", UserPrompt(shared)));
      summarise(std::move(times), first.back(), &next, &next_ratio, &next_slowest);

      shared = Ids(what_.shared);
      first.push_back(TimeAlone("a shared prompt", UserPrompt(shared)));
      std::vector<StreamPointer> streams;
      for (int user = 1; user < what_.users; ++user) streams.push_back(Ask(UserPrompt(shared), 1));
      Until("a shared prompt, at once", [&] { return loop_.running() == 0; });
      times.clear();
      for (const auto& stream : streams) {
        Require(*stream);
        times.push_back(stream->ttft_ms);
      }
      summarise(std::move(times), first.back(), &others, &others_ratio, &others_slowest);
    }
    result_.users = what_.users;
    result_.shared = what_.shared;
    result_.first_ms = SpreadOf(std::move(first));
    result_.one_by_one_ms = PercentilesOf(std::move(next));
    result_.at_once_ms = PercentilesOf(std::move(others));
    result_.one_by_one_ratio = SpreadOf(std::move(next_ratio));
    result_.at_once_ratio = SpreadOf(std::move(others_ratio));
    result_.one_by_one_slowest = SpreadOf(std::move(next_slowest));
    result_.at_once_slowest = SpreadOf(std::move(others_slowest));
  }

  const EndpointUsersOptions& options_;
  const ServingBenchOptions& what_;
  const Progress& progress_;
  EndpointUsersResult result_;
  TransferLoop loop_;
  bool ignore_eos_ = true;
  int64_t pieces_ = 0;  // of all streams so far
  std::mt19937 numbers_{std::random_device{}()};
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

EndpointUsersResult MeasureEndpointUsers(const EndpointUsersOptions& options, const Progress& progress) {
  return Users(options, progress).Run();
}

}  // namespace edgellm
