// One answer in the making: its tokens, its pages, where it stands in the order of service. The engine's own.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/request.h"
#include "engine/scheduler.h"

namespace edgellm {

struct Sequence {
  RequestId id = 0;
  int sample = 0;
  std::shared_ptr<const Request> request;  // of all its samples
  SamplingParameters sampling;             // the request's, with the sample's own seed
  std::vector<TokenBias> early_bias;       // the request's, with its stop tokens forbidden: before min_tokens
  NameSpace name_space;
  std::shared_ptr<TokenFilter> filter;  // none: every token is allowed
  std::vector<uint32_t> allowed;        // what it wrote

  std::vector<int32_t> tokens;  // prompt and answer; empty before it runs for the first time
  PageTable table;
  int computed = 0;              // positions with keys and values
  int scored = 0;                // positions of the prompt whose next token's probability was reported
  int pooled = 0;                // positions of the prompt whose hidden state is in `pool`
  std::vector<double> pool;      // [hidden], a sum
  std::vector<float> embedding;  // [hidden], once it is complete
  bool waits = false;            // another is computing what this one will share

  Rank rank;                 // fixed while it runs
  int64_t queued_since = 0;  // of the stay in the queue that is or was the last
  int64_t waited = 0;        // in earlier stays
  RequestStatistics statistics;

  int prompt_size() const { return static_cast<int>(request->prompt.size()); }
  int size() const { return tokens.empty() ? prompt_size() : static_cast<int>(tokens.size()); }
  int missing() const { return size() - computed; }
  bool scores() const { return request->prompt_log_probabilities && sample == 0 && scored + 1 < prompt_size(); }
  Pooling pooling() const { return request->embedding; }
  bool pools(int position) const {
    return pooling() == Pooling::kMean ? position >= pooled
                                       : pooling() == Pooling::kLast && position + 1 == prompt_size();
  }
  /// Positions that may come from others: the last must be computed, and what is to be scored or pooled, too.
  int usable() const {
    if (pooling() == Pooling::kMean) return std::min(pooled, size() - 1);
    return scores() ? scored : size() - 1;
  }
  bool at_border() const {
    return table.published == static_cast<int>(table.pages.size()) && computed == table.positions();
  }
};

}  // namespace edgellm
