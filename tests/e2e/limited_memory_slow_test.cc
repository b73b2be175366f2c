// A SmolLM-135M-shaped int4 model in half a gigabyte: the program, with its address space limited to 512 MiB, loads the
// file and answers. The weights are random (the shape is what matters), so the text means nothing; that there is one is
// the test.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/half.h"
#include "model/lower.h"
#include "model/model_file.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

/// A tensor of the plan with random codes and one small scale, or ones for a norm.
Tensor RandomTensor(const WeightSlot& slot, const WeightFormat& format, std::mt19937_64& random) {
  const bool is_vector = slot.rows == 1;
  const WeightFormat used = is_vector ? WeightFormat{WeightKind::kF32} : format;
  WritableTensor tensor = MakeTensor(used, slot.rows, slot.cols, is_vector);
  if (is_vector) {
    std::fill_n(reinterpret_cast<float*>(tensor.codes), slot.cols, 1.0f);
    return tensor.tensor;
  }
  const size_t bytes = static_cast<size_t>(slot.rows) * used.RowBytes(slot.cols);
  auto* codes = reinterpret_cast<uint64_t*>(tensor.codes);
  for (size_t i = 0; i < bytes / 8; ++i) codes[i] = random();
  const auto scales = static_cast<size_t>(slot.rows * used.Groups(slot.cols));
  std::fill_n(reinterpret_cast<uint16_t*>(tensor.scales), scales,
              FloatToF16(used.kind == WeightKind::kInt8 ? 5e-4f : 0.01f));
  return tensor.tensor;
}

Model SmolShaped() {
  Model model;
  model.name = "smol-shaped";
  ModelConfig& config = model.config;
  config.family = "llama";
  config.hidden = 576;
  config.layers = 30;
  config.heads = 9;
  config.kv_heads = 3;
  config.head_dim = 64;
  config.ffn = 1536;
  config.vocab = 49152;
  config.max_context = 2048;
  config.tied_head = true;
  std::mt19937_64 random(1);
  for (const WeightSlot& slot : Lower(config).weights) {
    const bool embedding = slot.rows == config.vocab;
    model.weights.Add(slot.name, RandomTensor(slot, {embedding ? WeightKind::kInt8 : WeightKind::kInt4, 64}, random));
  }
  const auto source = SourceDir() / "models" / "sibling" / "tokenizer.json";
  model.tokenizer_json = ReadFile(source);
  model.provenance.recipe_json = "{}";
  return model;
}

TEST(LimitedMemory, SmolShapedInt4AnswersWithin512MiB) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers reserve terabytes of address space";
#endif
  const auto path = std::filesystem::temp_directory_path() / ("edgellm-smol-" + std::to_string(getpid()) + ".edgellm");
  WriteModelFile(SmolShaped(), path, {});
  const std::string command = "ulimit -v 524288; " EDGELLM_PROGRAM " run " + path.string() +
                              " 'It was a dark and stormy night' --raw -n 12 --temperature 0 --verbose 2>&1 >/dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string output;
  std::array<char, 4096> block;
  while (const size_t got = fread(block.data(), 1, block.size(), pipe)) output.append(block.data(), got);
  const int status = pclose(pipe);
  std::filesystem::remove(path);
  EXPECT_EQ(status, 0) << output;
  EXPECT_NE(output.find("peak"), std::string::npos) << output;
}

}  // namespace
}  // namespace edgellm
