// Whole models against references that owe nothing to this program: tests/golden (PyTorch transformers), on the
// reference backend and on every instruction set that this machine runs.
#include <algorithm>
#include <cmath>
#include <filesystem>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "convert/import.h"
#include "model/safetensors.h"
#include "tests/e2e/running.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

const std::filesystem::path kGolden = SourceDir() / "tests" / "golden";

std::vector<std::string> Checkpoints() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (std::filesystem::exists(entry.path() / "golden.json")) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

struct GoldenPrompts {
  std::vector<std::vector<int32_t>> ids, greedy;
  std::shared_ptr<const MappedFile> logits_file;  // what `logits` points into
  SafetensorsFile logits;
};

GoldenPrompts ReadGolden(const std::string& name) {
  const auto json = nlohmann::json::parse(ReadFile(kGolden / name / "golden.json"));
  const auto path = kGolden / name / "golden.safetensors";
  GoldenPrompts golden{.ids = {}, .greedy = {}, .logits_file = std::make_shared<MappedFile>(path), .logits = {}};
  golden.logits = ParseSafetensors(golden.logits_file->bytes(), path.string());
  for (const auto& prompt : json.at("prompts")) {
    golden.ids.push_back(prompt.at("ids"));
    golden.greedy.push_back(prompt.at("greedy"));
  }
  return golden;
}

class EachCheckpoint : public testing::TestWithParam<std::string> {};

TEST_P(EachCheckpoint, LogitsAgreeWithTransformers) {
  const Model model = ImportHuggingFace(kGolden / GetParam(), {});
  const GoldenPrompts golden = ReadGolden(GetParam());
  for (const Target& target : AllTargets()) {
    for (size_t i = 0; i < golden.ids.size(); ++i) {
      const auto logits = AllLogits(model, target, golden.ids[i]);
      const auto* expected =
          reinterpret_cast<const float*>(golden.logits.tensors.at("logits." + std::to_string(i)).bytes.data());
      double error = 0, norm = 0;
      for (const auto& row : logits) {
        for (float value : row) {
          error += (value - *expected) * static_cast<double>(value - *expected);
          norm += *expected * static_cast<double>(*expected);
          ++expected;
        }
      }
      EXPECT_LE(std::sqrt(error / norm), 1e-5) << target.backend << " " << target.isa << " prompt " << i;
    }
  }
}

TEST_P(EachCheckpoint, GreedyIdsAreThoseOfTransformers) {
  const Model model = ImportHuggingFace(kGolden / GetParam(), {});
  const GoldenPrompts golden = ReadGolden(GetParam());
  for (const Target& target : AllTargets()) {
    for (size_t i = 0; i < golden.ids.size(); ++i) {
      EXPECT_EQ(Greedy(model, target, golden.ids[i], static_cast<int>(golden.greedy[i].size())), golden.greedy[i])
          << target.backend << " " << target.isa << " prompt " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Golden, EachCheckpoint, testing::ValuesIn(Checkpoints()), [](const auto& parameter) {
  std::string name = parameter.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace edgellm
