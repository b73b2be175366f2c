// See perplexity.h.
#include "engine/perplexity.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace edgellm {
namespace {

/// Rows of logits asked for at a time: the float matrix [rows][vocab] stays small beside the weights (40 MB for 150k
/// ids).
constexpr int kRowsAtATime = 64;

/// Running sums of a number a token.
struct Sums {
  double sum = 0, squares = 0;
  int64_t count = 0;

  void Add(double value) {
    sum += value;
    squares += value * value;
    ++count;
  }
  double Mean() const { return sum / static_cast<double>(count); }
  /// Standard error of the mean.
  double Error() const {
    const double variance = squares / static_cast<double>(count) - Mean() * Mean();
    return variance > 0 && count > 1 ? std::sqrt(variance / static_cast<double>(count - 1)) : 0;
  }
};

/// One sequence that owns all of the backend's pages, read slice by slice.
class WindowReader {
 public:
  WindowReader(Backend& backend, const BackendLimits& limits) : backend_(backend), limits_(limits) {
    pages_.resize(static_cast<size_t>(limits.pages));
    std::iota(pages_.begin(), pages_.end(), 0);
  }

  /// Reads tokens [from, to) of `window` at their positions; with `score`, every one of them asks for its logits.
  void Read(std::span<const int32_t> window, int from, int to, bool score) {
    const size_t count = static_cast<size_t>(to - from);
    positions_.resize(count);
    std::iota(positions_.begin(), positions_.end(), from);
    sequences_.assign(count, 0);
    rows_.resize(score ? count : 0);
    std::iota(rows_.begin(), rows_.end(), 0);
    Batch batch;
    batch.tokens = window.subspan(static_cast<size_t>(from), count);
    batch.positions = positions_;
    batch.sequences = sequences_;
    batch.pages = pages_;
    batch.pages_per_sequence = limits_.pages;
    batch.logit_rows = rows_;
    backend_.Forward(batch);
  }

 private:
  Backend& backend_;
  const BackendLimits& limits_;
  std::vector<int32_t> pages_, positions_, sequences_, rows_;
};

Perplexity Summarise(const Sums& sums, const PerplexityOptions& options, int windows) {
  Perplexity result;
  result.mean_nll = sums.Mean();
  result.value = std::exp(result.mean_nll);
  // The error of the mean, carried through exp() by its slope there, which is its value.
  result.standard_error = sums.Error() * result.value;
  result.scored_tokens = sums.count;
  result.windows = windows;
  result.window = options.window;
  return result;
}

/// Called for each scored position, with the token that follows; every backend's logits stand in the given row.
using Score = std::function<void(int logit_row, int32_t next)>;

/// Every backend reads every window. Returns the number of windows.
int ReadWindows(std::span<Backend* const> backends, const BackendLimits& limits, std::span<const int32_t> tokens,
                const PerplexityOptions& options, const Progress& progress, const Score& score) {
  const int window = options.window;
  if (window < 4) Fail(ErrorCode::kInvalidArgument, "a perplexity window needs at least 4 tokens, not {}", window);
  EDGELLM_CHECK(window <= limits.context, "the backend was made for shorter windows");
  const int windows = static_cast<int>(tokens.size() / static_cast<size_t>(window));
  if (windows == 0) {
    Fail(ErrorCode::kInvalidArgument, "the text has {} tokens: too few for one window of {}", tokens.size(), window);
  }
  std::vector<WindowReader> readers;
  for (Backend* backend : backends) readers.emplace_back(*backend, limits);
  std::vector<int32_t> current;
  const int first_scored = window / 2;
  for (int index = 0; index < windows; ++index) {
    const auto source =
        tokens.subspan(static_cast<size_t>(index) * static_cast<size_t>(window), static_cast<size_t>(window));
    current.assign(source.begin(), source.end());
    if (options.bos) current.front() = *options.bos;
    const auto report = [&](int position) {
      if (progress) {
        const uint64_t length = static_cast<uint64_t>(window);
        progress("perplexity", static_cast<uint64_t>(index) * length + static_cast<uint64_t>(position),
                 static_cast<uint64_t>(windows) * length);
      }
    };
    for (int from = 0; from < first_scored; from += limits.batch_tokens) {
      const int to = std::min(first_scored, from + limits.batch_tokens);
      for (WindowReader& reader : readers) reader.Read(current, from, to, false);
      report(from);
    }
    // The window's last token predicts nothing, so it need not be read.
    for (int from = first_scored; from < window - 1; from += limits.logit_rows) {
      const int to = std::min(window - 1, from + limits.logit_rows);
      for (WindowReader& reader : readers) reader.Read(current, from, to, true);
      for (int position = from; position < to; ++position) {
        score(position - from, current[static_cast<size_t>(position) + 1]);
      }
      report(to);
    }
  }
  return windows;
}

size_t Top(std::span<const float> logits) {
  return static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// log softmax of a row of logits, value by value, in double.
class LogSoftmax {
 public:
  explicit LogSoftmax(std::span<const float> logits) : logits_(logits), top_(Top(logits)), highest_(logits[top_]) {
    double sum = 0;
    for (const float logit : logits) sum += std::exp(static_cast<double>(logit - highest_));
    log_sum_ = std::log(sum);
  }
  double operator[](size_t i) const { return static_cast<double>(logits_[i] - highest_) - log_sum_; }
  size_t size() const { return logits_.size(); }
  size_t top() const { return top_; }

 private:
  std::span<const float> logits_;
  size_t top_;
  float highest_;
  double log_sum_ = 0;
};

double Kl(const LogSoftmax& p, const LogSoftmax& q) {
  double sum = 0;
  for (size_t i = 0; i < p.size(); ++i) sum += std::exp(p[i]) * (p[i] - q[i]);
  return sum;
}

}  // namespace

BackendLimits PerplexityLimits(int window, KvType kv) {
  BackendLimits limits;
  limits.batch_tokens = std::min(window, 512);
  limits.logit_rows = std::min(window, kRowsAtATime);
  limits.pages = (window + kPageTokens - 1) / kPageTokens;
  limits.context = window;
  limits.kv = kv;
  return limits;
}

double NegativeLogLikelihood(std::span<const float> logits, int32_t token) {
  return -LogSoftmax(logits)[static_cast<size_t>(token)];
}

double KlDivergence(std::span<const float> p, std::span<const float> q) {
  return Kl(LogSoftmax(p), LogSoftmax(q));
}

Perplexity MeasurePerplexity(Backend& backend, const BackendLimits& limits, std::span<const int32_t> tokens,
                             const PerplexityOptions& options, const Progress& progress) {
  Sums sums;
  const std::array<Backend*, 1> backends = {&backend};
  const int windows = ReadWindows(backends, limits, tokens, options, progress, [&](int row, int32_t next) {
    sums.Add(NegativeLogLikelihood(backend.LogitsOf(row), next));
  });
  return Summarise(sums, options, windows);
}

Divergence MeasureDivergence(Backend& reference, Backend& other, const BackendLimits& limits,
                             std::span<const int32_t> tokens, const PerplexityOptions& options,
                             const Progress& progress) {
  Sums reference_nll, other_nll, difference, kl;
  int64_t same_top = 0;
  const std::array<Backend*, 2> backends = {&reference, &other};
  const int windows = ReadWindows(backends, limits, tokens, options, progress, [&](int row, int32_t next) {
    const LogSoftmax p(reference.LogitsOf(row)), q(other.LogitsOf(row));
    const double of_p = -p[static_cast<size_t>(next)], of_q = -q[static_cast<size_t>(next)];
    reference_nll.Add(of_p);
    other_nll.Add(of_q);
    difference.Add(of_q - of_p);
    kl.Add(Kl(p, q));
    if (p.top() == q.top()) ++same_top;
  });
  return {.reference = Summarise(reference_nll, options, windows),
          .other = Summarise(other_nll, options, windows),
          .nll_difference = difference.Mean(),
          .nll_difference_error = difference.Error(),
          .mean_kl = kl.Mean(),
          .mean_kl_error = kl.Error(),
          .top1_agreement = static_cast<double>(same_top) / static_cast<double>(kl.count)};
}

}  // namespace edgellm
