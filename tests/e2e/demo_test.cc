// The bundled demo model: the packed file answers as the network that PyTorch trained does (models/demo/golden.json),
// keeps what it promises about itself, and stays small enough to be bundled.
#include <filesystem>
#include <string_view>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "model/model_file.h"
#include "tests/e2e/running.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

const std::filesystem::path kDemo = SourceDir() / "models" / "demo";

TEST(Demo, AnswersAsTheTrainedNetworkDoes) {
  const Model model = ReadModelFile(kDemo / "demo.edgellm");
  const auto golden = nlohmann::json::parse(ReadFile(kDemo / "golden.json"));
  ASSERT_GE(golden.at("prompts").size(), 5u);
  for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
    for (const auto& prompt : golden.at("prompts")) {
      if (std::string_view(kernels->name) == "scalar" && prompt != golden.at("prompts")[0])
        continue;  // slow: one will do
      const std::vector<int32_t> ids = prompt.at("ids"), greedy = prompt.at("greedy");
      EXPECT_EQ(Greedy(model, {"cpu", kernels->name, 2}, ids, static_cast<int>(greedy.size())), greedy)
          << kernels->name << " " << prompt.at("greedy_text");
    }
  }
}

TEST(Demo, EveryTernaryKernelGivesTheSameIds) {
  const Model model = ReadModelFile(kDemo / "demo.edgellm");
  const GoldenPrompt& golden = model.golden.front();
  for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
    if (std::string_view(kernels->name) == "scalar") continue;  // slow; the kernels' own tests have it
    for (const char* ternary : {"dot", "tables", "dense"}) {
      EXPECT_EQ(
          Greedy(model, {"cpu", kernels->name, 2, ternary}, golden.prompt, static_cast<int>(golden.expected.size())),
          golden.expected)
          << kernels->name << " " << ternary;
    }
  }
}

TEST(Demo, TheTernaryKernelIsChosenByMeasuringAll) {
  const Model model = ReadModelFile(kDemo / "demo.edgellm");
  const BackendLimits limits = {.batch_tokens = 1, .logit_rows = 1, .pages = 1, .context = 16, .kv = KvType::kF16};
  const BackendInfo measured = Bind(model, {"cpu", "", 2}, limits)->Describe();
  ASSERT_EQ(measured.ternary_rates.size(), 3u);
  bool known = false;
  for (const auto& [name, rate] : measured.ternary_rates) {
    EXPECT_GT(rate, 0) << name;
    known = known || name == measured.ternary;
  }
  EXPECT_TRUE(known) << measured.ternary;
  const BackendInfo dot = Bind(model, {"cpu", "", 2, "dot"}, limits)->Describe();
  const BackendInfo dense = Bind(model, {"cpu", "", 2, "dense"}, limits)->Describe();
  EXPECT_NEAR(dense.ternary_share / dot.ternary_share, 0.8, 0.02);
}

TEST(Demo, FileIsWholeAndSmallEnoughToBundle) {
  const auto path = kDemo / "demo.edgellm";
  EXPECT_NO_THROW(VerifyChecksums(path, {}));
  EXPECT_LE(std::filesystem::file_size(path), 12'000'000u);
  const Model model = ReadModelFile(path);
  EXPECT_TRUE(model.config.native_ternary);
  EXPECT_FALSE(model.chat_template.empty());
  EXPECT_FALSE(model.tokenizer_json.empty());
  EXPECT_FALSE(model.golden.empty());
}

TEST(Demo, GoldenPromptsComeOutAgainOnEveryInstructionSet) {
  const Model model = ReadModelFile(kDemo / "demo.edgellm");
  for (const cpu::KernelTable* kernels : cpu::UsableKernels()) {
    for (const GoldenPrompt& golden : model.golden) {
      if (std::string_view(kernels->name) == "scalar" && &golden != &model.golden.front())
        continue;  // slow: one will do
      EXPECT_EQ(Greedy(model, {"cpu", kernels->name, 1}, golden.prompt, static_cast<int>(golden.expected.size())),
                golden.expected)
          << kernels->name;
    }
  }
}

}  // namespace
}  // namespace edgellm
