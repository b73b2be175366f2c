// Whole models on a CUDA device: logits against the reference backend, and output that does not depend on the batch, on
// slices of the prompt, or on the run. Skipped where there is no device.
#include <algorithm>
#include <array>
#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "backend/sampler.h"
#include "base/error.h"
#include "base/file.h"
#include "model/model_file.h"
#include "tests/backend/sampling_rows.h"
#include "tests/e2e/formats.h"

namespace edgellm {
namespace {

constexpr KvType kKv = KvType::kF16;
const Target kCuda = {"cuda", ""};

/// Why there is no device, or nothing.
std::string NoDevice() {
  try {
    const Model model = ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm");
    Bind(model, kCuda, {.batch_tokens = 1, .logit_rows = 1, .pages = 1, .context = 16, .kv = kKv});
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kEnvironment) return error.what();
    throw;
  }
  return "";
}

/// ||a - b|| / ||b||
double Distance(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  double error = 0, norm = 0;
  for (size_t row = 0; row < b.size(); ++row) {
    for (size_t i = 0; i < b[row].size(); ++i) {
      error += std::pow(static_cast<double>(a[row][i]) - b[row][i], 2);
      norm += std::pow(static_cast<double>(b[row][i]), 2);
    }
  }
  return std::sqrt(error / norm);
}

class CudaFormat : public testing::TestWithParam<WeightFormat> {
 protected:
  void SetUp() override {
    if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  }
};

TEST_P(CudaFormat, LogitsAreThoseOfTheReference) {
  for (const char* checkpoint : {"llama-tied", "qwen2-sharded", "qwen3-untied", "llama-bias-head-dim"}) {
    const Model model = InFormat(checkpoint, GetParam());
    for (int length : {1, 7, 30, 90}) {
      const auto ids = Prompt(length, 3, model.config.vocab);
      const double distance = Distance(AllLogits(model, kCuda, ids, kKv), AllLogits(model, {"reference", ""}, ids, kKv));
      // An activation near a rounding tie may fall on its other side, here as on the CPU (up to 0.024 on these
      // checkpoints): hence a wider bound for integers.
      EXPECT_LE(distance, GetParam().is_float() ? 1e-3 : 3e-2) << checkpoint << " " << length;
    }
  }
}

TEST_P(CudaFormat, IdsDependOnTheRequestAlone) {
  for (const char* checkpoint : {"llama-tied", "qwen3-untied"}) {
    const Model model = InFormat(checkpoint, GetParam());
    const auto alone = Answers(model, kCuda, 1, 64, kKv);
    EXPECT_EQ(Answers(model, kCuda, 1, 64, kKv), alone) << "again";
    EXPECT_EQ(Answers(model, kCuda, 5, 64, kKv), alone) << "in batches of five";
    EXPECT_EQ(Answers(model, kCuda, 4, 7, kKv), alone) << "in slices of seven";
    EXPECT_EQ(Answers(model, kCuda, 7, 96, kKv), alone) << "all at once";
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, CudaFormat, testing::ValuesIn(AllWeightFormats().begin(), AllWeightFormats().end()),
                         [](const auto& parameter) {
                           std::string name = parameter.param.Name();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Heads of 16 dimensions, which kernels pad to 32, and a context that is added up by splits.
TEST(CudaAttention, LongContextsOfPaddedHeadsAreThoseOfTheReference) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  const Model model = InFormat("llama-tied", WeightFormat{});
  const auto ids = Prompt(600, 3, model.config.vocab);
  EXPECT_LE(Distance(AllLogits(model, kCuda, ids, kKv), AllLogits(model, {"reference", ""}, ids, kKv)), 1e-3);
}

// One token at a time, a few, or prompts by blocks: different kernels, the same bits, also where contexts are added up by
// splits, and where several heads share keys.
TEST(CudaAttention, PromptsByBlocksAreToTheBitWhatTokensAre) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  for (const char* checkpoint : {"llama-tied", "qwen2-sharded", "qwen3-untied", "llama-bias-head-dim"}) {
    const Model model = InFormat(checkpoint, WeightFormat{.kind = WeightKind::kInt8, .group = 32});
    const auto ids = Prompt(900, 3, model.config.vocab);
    const auto expected = AllLogits(model, kCuda, ids, kKv, 1);
    for (int slice : {40, 100, 333, 900}) EXPECT_EQ(AllLogits(model, kCuda, ids, kKv, slice), expected) << checkpoint << ' ' << slice;
  }
}

// What embeddings are made of: the hidden states of some tokens of a batch, without logits.
TEST(CudaHidden, StatesAreThoseOfTheReference) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  const Model model = InFormat("qwen3-untied", WeightFormat{});
  const auto ids = Prompt(40, 3, model.config.vocab);
  std::vector<int32_t> positions(ids.size()), sequences(ids.size(), 0);
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> pages = {0, 1, 2}, wanted = {0, 17, 39};
  const auto states = [&](const Target& target) {
    const auto backend = Bind(model, target, {.batch_tokens = 64, .logit_rows = 1, .pages = 3, .context = 48, .kv = kKv});
    Batch batch;
    batch.tokens = ids;
    batch.positions = positions;
    batch.sequences = sequences;
    batch.pages = pages;
    batch.pages_per_sequence = 3;
    batch.hidden_rows = wanted;
    backend->Forward(batch);
    std::vector<std::vector<float>> rows;
    for (int row = 0; row < 3; ++row) {
      const auto values = backend->HiddenOf(row);
      rows.emplace_back(values.begin(), values.end());
    }
    return rows;
  };
  EXPECT_LE(Distance(states(kCuda), states({"reference", ""})), 1e-3);
}

// The device samples its own logits as the host's sampler does: in graphs that were captured with other parameters, in
// forwards too large for graphs, and where steps are timed.
TEST(CudaSampling, TokensAreThoseOfTheHostFromTheSameLogits) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  const Model model = InFormat("qwen3-untied", WeightFormat{});
  constexpr int kMost = 100;
  const auto backend = Bind(model, kCuda, {.batch_tokens = kMost, .logit_rows = kMost, .pages = 7, .context = 112, .kv = kKv});
  const int vocab = model.config.vocab;
  const auto ids = Prompt(kMost, 3, vocab);
  std::vector<int32_t> positions(ids.size()), sequences(ids.size(), 0), pages(7);
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(pages.begin(), pages.end(), 0);
  Sampler sampler(vocab);
  RowMaker maker(vocab, 9);
  StepTimes times;
  for (int run = 0; run < 60; ++run) {
    const auto count = static_cast<size_t>(maker.OneOf({1, 1, 3, 8, 33, 64, kMost}));
    std::vector<RowCase> cases;
    std::vector<SamplingRow> rows;
    while (cases.size() < count) cases.push_back(maker.Make());
    for (RowCase& one : cases) {
      if (run % 4 == 0) {  // what only needs the likeliest has graphs of its own
        one.parameters.temperature = 0;
        one.parameters.log_probability = false;
        one.parameters.likeliest = 0;
      }
      rows.push_back(one.Row());
    }
    Batch batch;
    batch.tokens = {ids.data(), count};
    batch.positions = {positions.data(), count};
    batch.sequences = {sequences.data(), count};
    batch.pages = pages;
    batch.pages_per_sequence = 7;
    batch.logit_rows = {positions.data(), count};
    batch.sampling = rows;
    backend->SetStepTimes(run % 10 == 9 ? &times : nullptr);
    backend->Forward(batch);
    ASSERT_EQ(backend->Sampled().size(), count);
    for (size_t row = 0; row < count; ++row) {
      const SampledToken got = backend->Sampled()[row];
      const SampledToken wanted = sampler.Sample(backend->LogitsOf(static_cast<int>(row)), rows[row]);
      ASSERT_EQ(got.token, wanted.token) << "run " << run << ", row " << row << ": " << cases[row].Text();
      ASSERT_EQ(got.log_probability, wanted.log_probability) << "run " << run << ", row " << row << ": " << cases[row].Text();
      ASSERT_EQ(std::vector(got.Likeliest().begin(), got.Likeliest().end()),
                std::vector(wanted.Likeliest().begin(), wanted.Likeliest().end()))
          << "run " << run << ", row " << row << ": " << cases[row].Text();
    }
  }
}

TEST(CudaDemo, LogitsAndIdsAreThoseOfTheReference) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  const Model model = ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm");
  const auto golden = nlohmann::json::parse(ReadFile(SourceDir() / "models" / "demo" / "golden.json"));
  for (const auto& prompt : golden.at("prompts")) {
    std::vector<int32_t> ids = prompt.at("ids");
    const std::vector<int32_t> greedy = prompt.at("greedy");
    ids.insert(ids.end(), greedy.begin(), greedy.end());
    const auto expected = AllLogits(model, {"reference", ""}, ids, kKv), logits = AllLogits(model, kCuda, ids, kKv);
    // No further from the reference than the CPU is: what remains are activations near rounding ties.
    const double cpu = Distance(AllLogits(model, {"cpu", "", 0}, ids, kKv), expected);
    const double cuda = Distance(logits, expected);
    EXPECT_LE(cuda, std::max(1e-2, 1.5 * cpu)) << "the CPU: " << cpu;
    RecordProperty("distance", fmt::format("{} cuda, {} cpu", cuda, cpu));
    for (size_t row = 0; row < ids.size(); ++row) {
      const auto order = [&](size_t place) {
        std::vector<int32_t> best(expected[row].size());
        std::iota(best.begin(), best.end(), 0);
        std::partial_sort(best.begin(), best.begin() + 2, best.end(),
                          [&](int32_t a, int32_t b) { return expected[row][static_cast<size_t>(a)] > expected[row][static_cast<size_t>(b)]; });
        return static_cast<size_t>(best[place]);
      };
      const size_t first = order(0), second = order(1);
      float error = 0;
      for (size_t i = 0; i < logits[row].size(); ++i) error = std::max(error, std::fabs(logits[row][i] - expected[row][i]));
      if (expected[row][first] - expected[row][second] <= 2 * error) continue;
      EXPECT_EQ(std::max_element(logits[row].begin(), logits[row].end()) - logits[row].begin(), static_cast<std::ptrdiff_t>(first)) << row;
    }
    EXPECT_EQ(Greedy(model, kCuda, prompt.at("ids"), static_cast<int>(greedy.size()), kKv), greedy) << prompt.at("greedy_text");
  }
}

TEST(CudaDemo, OneThousandRunsAreEqual) {
  if (const std::string reason = NoDevice(); !reason.empty()) GTEST_SKIP() << reason;
  const Model model = ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm");
  const auto backend = Bind(model, kCuda, {.batch_tokens = 64, .logit_rows = 64, .pages = 8, .context = 128, .kv = kKv});
  const auto ids = Prompt(64, 5, model.config.vocab);
  std::vector<int32_t> positions(64), sequences(64, 0), pages = {7, 6, 5, 4, 3, 2, 1, 0};
  for (int i = 0; i < 64; ++i) positions[static_cast<size_t>(i)] = i;
  std::vector<float> first;
  for (int run = 0; run < 1000; ++run) {
    // The same 64 positions in pieces that change from run to run: one token, a few, all.
    const size_t piece = std::array<size_t, 4>{64, 16, 5, 1}[static_cast<size_t>(run % 4)];
    if (piece == 1 && run % 40 != 3) continue;
    std::vector<float> logits;
    for (size_t at = 0; at < ids.size(); at += piece) {
      const size_t count = std::min(piece, ids.size() - at);
      const std::vector<int32_t> rows = {static_cast<int32_t>(count) - 1};
      backend->Forward({.tokens = {ids.data() + at, count},
                        .positions = {positions.data() + at, count},
                        .sequences = {sequences.data(), count},
                        .pages = pages,
                        .pages_per_sequence = 8,
                        .logit_rows = rows,
                        .sampling = {}});
      const auto values = backend->LogitsOf(0);
      logits.assign(values.begin(), values.end());
    }
    if (first.empty()) first = logits;
    ASSERT_EQ(logits, first) << "run " << run << ", pieces of " << piece;
  }
}

}  // namespace
}  // namespace edgellm
