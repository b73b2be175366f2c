// See perplexity.h.
#include "engine/perplexity.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/error.h"

namespace edgellm {
namespace {

/// Rows of logits asked for at a time: the float matrix [rows][vocab] stays small beside the weights (40 MB for 150k
/// ids).
constexpr int kRowsAtATime = 64;

/// Running sums of the negative log-likelihood and of its square.
struct Sums {
  double nll = 0, squares = 0;
  int64_t count = 0;

  void Add(double value) {
    nll += value;
    squares += value * value;
    ++count;
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

Perplexity Summarise(const Sums& sums, int windows) {
  Perplexity result;
  const double count = static_cast<double>(sums.count);
  result.mean_nll = sums.nll / count;
  result.value = std::exp(result.mean_nll);
  const double variance = sums.squares / count - result.mean_nll * result.mean_nll;
  // The error of the mean, carried through exp() by its slope there, which is its value.
  if (variance > 0 && sums.count > 1) result.standard_error = std::sqrt(variance / (count - 1)) * result.value;
  result.scored_tokens = sums.count;
  result.windows = windows;
  return result;
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
  const float highest = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(static_cast<double>(logit - highest));
  return std::log(sum) - static_cast<double>(logits[static_cast<size_t>(token)] - highest);
}

Perplexity MeasurePerplexity(Backend& backend, const BackendLimits& limits, std::span<const int32_t> tokens,
                             const PerplexityOptions& options, const Progress& progress) {
  const int window = options.window;
  if (window < 4) Fail(ErrorCode::kInvalidArgument, "a perplexity window needs at least 4 tokens, not {}", window);
  EDGELLM_CHECK(window <= limits.context, "the backend was made for shorter windows");
  const int windows = static_cast<int>(tokens.size() / static_cast<size_t>(window));
  if (windows == 0) {
    Fail(ErrorCode::kInvalidArgument, "the text has {} tokens: too few for one window of {}", tokens.size(), window);
  }
  WindowReader reader(backend, limits);
  Sums sums;
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
      reader.Read(current, from, std::min(first_scored, from + limits.batch_tokens), false);
      report(from);
    }
    // The window's last token predicts nothing, so it need not be read.
    for (int from = first_scored; from < window - 1; from += limits.logit_rows) {
      const int to = std::min(window - 1, from + limits.logit_rows);
      reader.Read(current, from, to, true);
      for (int position = from; position < to; ++position) {
        sums.Add(NegativeLogLikelihood(backend.LogitsOf(position - from), current[static_cast<size_t>(position) + 1]));
      }
      report(to);
    }
  }
  Perplexity result = Summarise(sums, windows);
  result.window = window;
  return result;
}

}  // namespace edgellm
