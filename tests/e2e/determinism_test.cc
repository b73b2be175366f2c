// The same request gives the same ids: alone, in any company, with any number of threads, on any instruction set, in
// any slices of the prompt. Checked on tiny checkpoints in every weight format, where one differing bit would soon
// change an id.
#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/e2e/formats.h"

namespace edgellm {
namespace {

class EachFormat : public testing::TestWithParam<WeightFormat> {};

TEST_P(EachFormat, IdsDependOnTheRequestAlone) {
  for (const auto& [checkpoint, kv] :
       {std::pair("llama-tied", KvType::kF32), std::pair("qwen3-untied", KvType::kF16)}) {
    const Model model = InFormat(checkpoint, GetParam());
    const auto alone = Answers(model, {"cpu", "scalar", 1}, 1, 64, kv);
    for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
      const std::string name = kernels->name;
      EXPECT_EQ(Answers(model, {"cpu", name, 1}, 1, 64, kv), alone) << name << " alone";
      EXPECT_EQ(Answers(model, {"cpu", name, 3}, 5, 64, kv), alone) << name << " in batches of five";
      EXPECT_EQ(Answers(model, {"cpu", name, 2}, 4, 7, kv), alone) << name << " in slices of seven";
    }
  }
}

TEST(TernaryKernels, IdsDoNotDependOnTheKernel) {
  for (const char* format : {"ternary", "ternary-g256"}) {
    const Model model = InFormat("llama-tied", WeightFormat::Parse(format));
    const auto expected = Answers(model, {"cpu", "scalar", 1, "dot"}, 1, 64, KvType::kF32);
    for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
      for (const char* ternary : {"dot", "tables", "dense"}) {
        for (const int threads : {1, 2}) {
          EXPECT_EQ(Answers(model, {"cpu", kernels->name, threads, ternary}, 2 * threads - 1, 7, KvType::kF32),
                    expected)
              << format << " " << kernels->name << " " << ternary << " " << threads;
        }
      }
    }
  }
}

TEST(TernaryKernels, TheChoiceCanBeMade) {
  const BackendLimits limits = {.batch_tokens = 1, .logit_rows = 1, .pages = 1, .context = 16, .kv = KvType::kF32};
  const Model ternary = InFormat("llama-tied", {WeightKind::kTernary});
  const BackendInfo dense = Bind(ternary, {"cpu", "", 1, "dense"}, limits)->Describe();
  EXPECT_EQ(dense.ternary, "dense");
  EXPECT_TRUE(dense.ternary_rates.empty());
  EXPECT_EQ(Bind(ternary, {"cpu", "", 1}, limits)->Describe().ternary, "dot") << "too small to be measured";
  EXPECT_EQ(Bind(InFormat("llama-tied", {WeightKind::kInt8, 32}), {"cpu", "", 1}, limits)->Describe().ternary, "");
  EXPECT_THROW(Bind(ternary, {"cpu", "", 1, "abacus"}, limits), Error);
}

TEST_P(EachFormat, LogitsAreThoseOfTheReference) {
  // Integer parts are equal; what remains is the rounding of float sums, and now and then an activation that lies so
  // near a rounding tie that the reference's double sums fall on its other side: hence a mean, and a wider bound for
  // integers.
  const Model model = InFormat("llama-tied", GetParam());
  const auto ids = Prompt(30, 3, model.config.vocab);
  const auto expected = AllLogits(model, {"reference", ""}, ids);
  for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
    const auto logits = AllLogits(model, {"cpu", kernels->name, 2}, ids);
    double error = 0, norm = 0;
    for (size_t p = 0; p < logits.size(); ++p) {
      for (size_t i = 0; i < logits[p].size(); ++i) {
        error += std::pow(static_cast<double>(logits[p][i]) - expected[p][i], 2);
        norm += std::pow(static_cast<double>(expected[p][i]), 2);
      }
    }
    EXPECT_LE(std::sqrt(error / norm), GetParam().is_float() ? 1e-5 : 2e-2) << kernels->name;
  }
}

INSTANTIATE_TEST_SUITE_P(Batch, EachFormat, testing::ValuesIn(AllWeightFormats().begin(), AllWeightFormats().end()),
                         [](const auto& parameter) {
                           std::string name = parameter.param.Name();
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace edgellm
