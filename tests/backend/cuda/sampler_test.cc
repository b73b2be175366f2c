// Sampling on a CUDA device against the host's sampler: the same tokens and, to the bit, the same log-probabilities,
// for vocabularies small and large, every parameter alone and together, batches of rows that differ. Skipped where
// there is no device.
#include "backend/sampler.h"

#include <algorithm>
#include <bit>
#include <memory>

#include <gtest/gtest.h>

#include "backend/cuda/device.h"
#include "backend/cuda/device_sampler.h"
#include "base/error.h"
#include "tests/backend/sampling_rows.h"

namespace edgellm::cuda {
namespace {

constexpr int kMostRows = 64;

class CudaSampler : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    try {
      const DeviceFacts facts = OpenDevice();
      launch_ = {nullptr, false, facts.processors, static_cast<int>(facts.shared_bytes_per_block)};
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    vocab_ = GetParam();
    stride_ = (static_cast<size_t>(vocab_) + 15) / 16 * 16;
    logits_ = DeviceBuffer(kMostRows * stride_ * sizeof(float));
    device_ = std::make_unique<DeviceSampler>(vocab_, kMostRows);
    host_ = std::make_unique<Sampler>(vocab_);
  }

  void PutLogits(const std::vector<RowCase>& cases) {
    for (size_t i = 0; i < cases.size(); ++i) {
      Check(cudaMemcpy(logits_.as<float>() + i * stride_, cases[i].logits.data(),
                       cases[i].logits.size() * sizeof(float), cudaMemcpyHostToDevice),
            "test");
    }
  }

  std::vector<SampledToken> OnDevice(const std::vector<SamplingRow>& rows) {
    int bucket = 1;
    while (bucket < static_cast<int>(rows.size())) bucket *= 2;
    const SampleWork work = device_->Stage(rows, bucket, nullptr);
    device_->Sample(logits_.as<float>(), stride_, bucket, work, launch_);
    Check(cudaStreamSynchronize(nullptr), "test");
    std::vector<SampledToken> sampled(rows.size());
    device_->Collect(rows, sampled);
    std::vector<int32_t> tokens(rows.size());
    Check(cudaMemcpy(tokens.data(), device_->tokens(), tokens.size() * sizeof(int32_t), cudaMemcpyDeviceToHost),
          "test");
    for (size_t i = 0; i < rows.size(); ++i)
      EXPECT_EQ(tokens[i], sampled[i].token) << "what a next forward would read, row " << i;
    return sampled;
  }

  /// What differs, in words; empty: nothing.
  static std::string Difference(const SampledToken& got, const SampledToken& wanted) {
    std::string text;
    const auto bits = [](float value) { return std::bit_cast<uint32_t>(value); };
    if (got.token != wanted.token) text += fmt::format(" token {}, not {};", got.token, wanted.token);
    if (bits(got.log_probability) != bits(wanted.log_probability)) {
      text += fmt::format(" log-probability {}, not {};", got.log_probability, wanted.log_probability);
    }
    if (got.likeliest_count != wanted.likeliest_count)
      text += fmt::format(" {} likeliest, not {};", got.likeliest_count, wanted.likeliest_count);
    for (size_t i = 0; i < wanted.Likeliest().size() && i < got.Likeliest().size(); ++i) {
      const TokenLogProbability &a = got.likeliest[i], &b = wanted.likeliest[i];
      if (a.token == b.token && bits(a.log_probability) == bits(b.log_probability)) continue;
      text += fmt::format(" likeliest {} is {} ({}), not {} ({});", i, a.token, a.log_probability, b.token,
                          b.log_probability);
    }
    return text;
  }

  /// All rows at once on the device, one by one on the host.
  void ExpectSame(const std::vector<RowCase>& cases, const std::string& what) {
    std::vector<SamplingRow> rows;
    for (const RowCase& one : cases) rows.push_back(one.Row());
    const std::vector<SampledToken> sampled = OnDevice(rows);
    for (size_t i = 0; i < cases.size(); ++i) {
      const std::string difference = Difference(sampled[i], host_->Sample(cases[i].logits, rows[i]));
      if (difference.empty() || ++wrong_ > 20) continue;
      ADD_FAILURE() << what << ", row " << i << " of " << cases.size() << ':' << difference << "\n  "
                    << cases[i].Text();
    }
  }

  /// One row of logits, sampled with so many seeds.
  void ExpectSameDraws(const RowCase& one, int draws, const std::string& what) {
    std::vector<RowCase> cases(static_cast<size_t>(std::min(draws, kMostRows)), one);
    PutLogits(cases);
    for (int first = 0; first < draws; first += static_cast<int>(cases.size())) {
      for (size_t i = 0; i < cases.size(); ++i) {
        cases[i].parameters.seed = one.parameters.seed + static_cast<uint64_t>(first) + i;
        cases[i].draw = one.draw + 3 * i;
      }
      ExpectSame(cases, what);
    }
  }

  int Rounds(int small) const { return std::max(2, small / (1 + vocab_ / 8192)); }

  RowCase Plain(const std::vector<float>& logits, const char* kind) const {
    RowCase one;
    one.logits = logits;
    one.kind = kind;
    one.parameters = {.temperature = 1, .top_k = 0, .top_p = 1, .seed = 77};
    return one;
  }

  std::vector<float> Normal(float width, unsigned seed) const {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(2, width);
    std::vector<float> logits(static_cast<size_t>(vocab_));
    for (float& logit : logits) logit = normal(random);
    return logits;
  }

  int vocab_ = 0, wrong_ = 0;
  size_t stride_ = 0;
  Launch launch_;
  DeviceBuffer logits_;
  std::unique_ptr<DeviceSampler> device_;
  std::unique_ptr<Sampler> host_;
};

TEST_P(CudaSampler, RowsOfEveryKindGiveTheHostsTokens) {
  RowMaker maker(vocab_, 1);
  for (int round = 0; round < Rounds(60); ++round) {
    for (const size_t count : {1u, 7u, 64u}) {
      std::vector<RowCase> cases;
      while (cases.size() < count) cases.push_back(maker.Make());
      PutLogits(cases);
      ExpectSame(cases, fmt::format("round {}", round));
    }
  }
}

TEST_P(CudaSampler, EachFilterDrawsWhatTheHostDraws) {
  const std::vector<float> logits = Normal(3, 5);
  RowCase one = Plain(logits, "normal");
  ExpectSameDraws(one, 256, "the whole distribution");
  one.parameters.min_p = 0.01f;
  ExpectSameDraws(one, 256, "min-p");
  one.parameters.top_p = 0.95f;
  ExpectSameDraws(one, 256, "top-p and min-p");
  one.parameters.min_p = 0;
  ExpectSameDraws(one, 256, "top-p");
  one.parameters.top_k = 40;
  ExpectSameDraws(one, 256, "top-k and top-p");
  one.parameters.top_p = 1;
  ExpectSameDraws(one, 256, "top-k");
  one.parameters.temperature = 0.3f;
  one.parameters.min_p = 0.1f;
  ExpectSameDraws(one, 256, "top-k and min-p");
  one.recent = {1, 2, 3, 3, 3, static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin())};
  one.parameters.repetition_penalty = 1.3f;
  one.parameters.presence_penalty = 0.2f;
  one.parameters.frequency_penalty = 0.4f;
  one.bias = {{0, 4.0f}, {1, -100.0f}, {0, 1.5f}};
  ExpectSameDraws(one, 256, "penalties and bias");
}

TEST_P(CudaSampler, ThousandsOfCandidatesTakeTheGeneralWay) {
  RowCase one = Plain(Normal(0.01f, 6), "nearly equal");
  const auto check = [&](const std::string& what) {
    const int draws = std::max(8, Rounds(64));  // the host sorts the whole vocabulary for each
    ExpectSameDraws(one, draws, what);
    one.parameters.top_p = 0.9f;
    ExpectSameDraws(one, draws, what + ", top-p");
    one.parameters.min_p = 0.99f;
    ExpectSameDraws(one, draws, what + ", top-p and min-p");
    one.parameters.top_k = std::max(1, vocab_ * 2 / 3);
    ExpectSameDraws(one, draws, what + ", all three");
    one.parameters.top_p = 1;
    one.parameters.min_p = 0;
    ExpectSameDraws(one, draws, what + ", top-k");
    one.parameters.top_k = 0;
  };
  check("nearly equal");
  one = Plain(std::vector<float>(static_cast<size_t>(vocab_), 4.0f), "equal");
  check("equal");
  one.recent = {0, 3, 3, vocab_ - 1};
  one.parameters.repetition_penalty = 1.2f;
  one.allowed.assign((static_cast<size_t>(vocab_) + 31) / 32, 0xF7F7F7F7u);
  check("equal, with penalties and a mask");
  one = Plain(Normal(1, 7), "narrow");
  one.parameters.temperature = 100;
  check("hot");
}

// top-p's share is reached to the last unit: one token more or less would show.
TEST_P(CudaSampler, ExactSharesEndWhereTheHostsDo) {
  RowCase one = Plain(Normal(1, 10), "four equal ones above the rest");
  for (const int token : {0, 2, 5, 6}) one.logits[static_cast<size_t>(token)] = 60;
  for (const int top_k : {0, 4, 6}) {
    for (const float top_p : {0.25f, 0.5f, 0.75f}) {
      one.parameters.top_k = top_k;
      one.parameters.top_p = top_p;
      ExpectSameDraws(one, 64, fmt::format("top_k {}, top_p {}", top_k, top_p));
    }
  }
}

TEST_P(CudaSampler, MasksLeaveOneOrAllOrNothing) {
  const size_t words = (static_cast<size_t>(vocab_) + 31) / 32;
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float temperature : {0.0f, 1.0f}) {
    for (const int top_k : {0, 3}) {
      std::vector<RowCase> cases;
      for (const int token : {0, vocab_ / 2, vocab_ - 1}) {
        cases.push_back(Plain(Normal(3, 8), "one allowed"));
        cases.back().allowed.assign(words, 0);
        cases.back().allowed[static_cast<size_t>(token) / 32] |= uint32_t{1} << (token % 32);
        cases.push_back(cases.back());
        cases.back().kind = "one allowed, impossible";
        cases.back().logits[static_cast<size_t>(token)] = -infinity;
      }
      cases.push_back(Plain(Normal(3, 9), "none allowed"));
      cases.back().allowed.assign(words, 0);
      cases.push_back(Plain(Normal(3, 9), "all allowed"));
      cases.back().allowed.assign(words, ~0u);
      cases.push_back(Plain(std::vector<float>(static_cast<size_t>(vocab_), -infinity), "impossible, some allowed"));
      cases.back().allowed.assign(words, 0x20u);
      for (RowCase& one : cases) {
        one.parameters.temperature = temperature;
        one.parameters.top_k = top_k;
        one.parameters.log_probability = true;
        one.parameters.likeliest = 4;
      }
      PutLogits(cases);
      ExpectSame(cases, "masks");
    }
  }
}

TEST_P(CudaSampler, LogProbabilitiesAreTheHostsToTheBit) {
  for (const char* kind : {"normal", "rounded", "equal"}) {
    std::vector<RowCase> cases;
    for (int likeliest = 0; likeliest <= kMostLikeliest; ++likeliest) {
      cases.push_back(Plain(Normal(3, static_cast<unsigned>(likeliest)), kind));
      RowCase& one = cases.back();
      for (float& logit : one.logits) logit = kind[0] == 'r' ? std::round(logit) : kind[0] == 'e' ? 1.0f : logit;
      one.parameters.likeliest = likeliest;
      one.parameters.log_probability = likeliest % 3 != 1;
      one.parameters.presence_penalty = 3;  // shows in the token, not in the report
      one.recent = {0, 1, 2};
      if (likeliest % 4 == 2) one.given = vocab_ - 1;
      if (likeliest % 4 == 3) one.parameters.temperature = 0;
    }
    PutLogits(cases);
    ExpectSame(cases, "reports");
  }
}

TEST_P(CudaSampler, LongListsOfPenaltiesFindRoom) {
  RowMaker maker(vocab_, 3);
  for (const unsigned length : {10u, 40000u, 100u, 90000u}) {
    std::vector<RowCase> cases;
    for (unsigned i = 0; i < 5; ++i) {
      cases.push_back(Plain(Normal(2, i), "normal"));
      cases.back().parameters.frequency_penalty = 0.3f;
      cases.back().parameters.top_k = i % 2 == 0 ? 40 : 0;
      cases.back().allowed = maker.Mask(2);
      for (unsigned n = 0; n < length; ++n) cases.back().recent.push_back(maker.Token());
    }
    PutLogits(cases);
    ExpectSame(cases, fmt::format("{} recent tokens", length));
  }
}

// Blocks meet in an order that changes from run to run.
TEST_P(CudaSampler, RunsAreEqual) {
  RowMaker maker(vocab_, 4);
  std::vector<RowCase> cases;
  while (cases.size() < 9) cases.push_back(maker.Make());
  PutLogits(cases);
  for (int run = 0; run < Rounds(200) && wrong_ == 0; ++run) ExpectSame(cases, fmt::format("run {}", run));
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, CudaSampler, testing::Values(7, 512, 8192, 151936, 262144),
                         [](const auto& param) { return std::to_string(param.param); });

}  // namespace
}  // namespace edgellm::cuda
