// The columns that a Batch looks at, taken once for the largest one and filled again for each step. Knows no sequences.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "plan/batch.h"

namespace edgellm {

class BatchColumns {
 public:
  BatchColumns(int tokens, int sequences, int rows, int pages_per_sequence) : pages_per_sequence_(pages_per_sequence) {
    for (auto* column : {&tokens_, &positions_, &sequences_}) column->reserve(static_cast<size_t>(tokens));
    logit_rows_.reserve(static_cast<size_t>(rows));
    hidden_rows_.reserve(static_cast<size_t>(tokens));
    sampling_.reserve(static_cast<size_t>(rows));
    pages_.resize(static_cast<size_t>(sequences) * static_cast<size_t>(pages_per_sequence));
  }

  void Clear() {
    for (auto* column : {&tokens_, &positions_, &sequences_, &logit_rows_, &hidden_rows_}) column->clear();
    sampling_.clear();
    rows_ = 0;
  }
  /// The tokens that follow belong to a sequence with these pages.
  void BeginSequence(std::span<const int32_t> pages) {
    std::copy(pages.begin(), pages.end(), pages_.begin() + std::ptrdiff_t{rows_} * pages_per_sequence_);
    ++rows_;
  }
  void AddToken(int32_t token, int position) {
    tokens_.push_back(token);
    positions_.push_back(position);
    sequences_.push_back(rows_ - 1);
  }
  /// Of the token added last.
  void WantLogits(const SamplingRow& row) {
    logit_rows_.push_back(static_cast<int32_t>(tokens_.size()) - 1);
    sampling_.push_back(row);
  }
  /// Of the token added last.
  void WantHidden() { hidden_rows_.push_back(static_cast<int32_t>(tokens_.size()) - 1); }

  Batch View() const {
    return {.tokens = tokens_,
            .positions = positions_,
            .sequences = sequences_,
            .pages = pages_,
            .pages_per_sequence = pages_per_sequence_,
            .logit_rows = logit_rows_,
            .sampling = sampling_,
            .hidden_rows = hidden_rows_};
  }

 private:
  std::vector<int32_t> tokens_, positions_, sequences_, logit_rows_, hidden_rows_, pages_;
  std::vector<SamplingRow> sampling_;
  int pages_per_sequence_;
  int rows_ = 0;
};

}  // namespace edgellm
