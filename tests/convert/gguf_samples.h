// Small GGUF files in memory, for the tests of reading and importing them.
#pragma once

#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/half.h"
#include "base/part_name.h"
#include "convert/export_gguf.h"
#include "convert/gguf_architecture.h"
#include "convert/gguf_writer.h"
#include "convert/import_gguf.h"
#include "quant/planes.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {

using Bytes = std::vector<std::byte>;

inline Bytes BytesOf(const GgufWriter& writer) {
  Bytes out;
  writer.Write([&](std::span<const std::byte> part) { out.insert(out.end(), part.begin(), part.end()); });
  return out;
}

inline Bytes BytesOfFile(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {file.bytes().begin(), file.bytes().end()};
}

/// Imports bytes that the model keeps alive.
inline Model ImportBytes(Bytes bytes) {
  auto owner = std::make_shared<Bytes>(std::move(bytes));
  return ImportGgufBytes(*owner, "sample.gguf", owner, {});
}

/// Rows of whole 256-value blocks everywhere.
inline ModelConfig WideConfig() {
  ModelConfig config = SampleConfig();
  config.hidden = 256;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 64;
  config.ffn = 256;
  return config;
}

/// Random valid blocks: bytes of any value, ternary codes below 3, scales about 0.01.
inline Bytes RandomBlocks(const GgufTensorTraits& traits, int64_t values, unsigned seed) {
  std::mt19937 generator(seed);
  Bytes out(static_cast<size_t>(values / traits.block_values * traits.block_bytes));
  for (auto& byte : out) byte = static_cast<std::byte>(generator() & 0xffu);
  const auto size = static_cast<size_t>(traits.block_bytes);
  for (size_t block = 0; block < out.size(); block += size) {
    std::byte* at = out.data() + block;
    const auto scale = [&](size_t offset) {
      StoreAt(at + offset, 0, FloatToF16(0.005f + static_cast<float>(generator() % 100) * 1e-4f));
    };
    switch (traits.type) {
      case GgufTensorType::kF32:
        StoreAt(at, 0, static_cast<float>(generator() % 2001) * 1e-3f - 1.0f);
        break;
      case GgufTensorType::kF16:
        scale(0);
        break;
      case GgufTensorType::kBf16:
        StoreAt(at, 0, FloatToBf16(static_cast<float>(generator() % 2001) * 1e-3f - 1.0f));
        break;
      case GgufTensorType::kQ4_K:
      case GgufTensorType::kQ5_K:
        scale(0);
        scale(2);
        break;
      case GgufTensorType::kQ6_K:
        scale(208);
        break;
      case GgufTensorType::kTQ1_0:
        scale(52);
        break;
      case GgufTensorType::kTQ2_0:
        for (size_t i = 0; i < 64; ++i) at[i] &= static_cast<std::byte>(0x55 | (generator() & 1u ? 0 : 0xaa));
        for (size_t i = 0; i < 64; ++i) {
          const auto byte = static_cast<unsigned>(at[i]);
          at[i] = static_cast<std::byte>(byte & ~((byte & byte >> 1 & 0x55u) * 3u));  // pattern 3 becomes 0
        }
        scale(64);
        break;
      default:
        scale(0);
    }
  }
  return out;
}

/// What to do otherwise than a whole, sound file does.
struct GgufVariation {
  std::string architecture = "llama";
  GgufTensorType matrices = GgufTensorType::kF32;
  std::set<std::string> left_out = {};                        // tensors and metadata keys
  std::function<void(GgufWriter&)> add = [](GgufWriter&) {};  // more of either
  bool vocabulary = true;
};

inline void AddSampleMetadata(GgufWriter& writer, const ModelConfig& config, const GgufVariation& variation) {
  const auto add = [&](const std::string& key, int value) {
    if (!variation.left_out.contains(key)) {
      writer.AddUint32(variation.architecture + "." + key, static_cast<uint32_t>(value));
    }
  };
  if (!variation.left_out.contains("general.architecture")) {
    writer.AddText("general.architecture", variation.architecture);
  }
  writer.AddText("general.name", "a sample");
  add("block_count", config.layers);
  add("context_length", config.max_context);
  add("embedding_length", config.hidden);
  add("feed_forward_length", config.ffn);
  add("attention.head_count", config.heads);
  add("attention.head_count_kv", config.kv_heads);
  add("attention.key_length", config.head_dim);
  if (!variation.left_out.contains("attention.layer_norm_rms_epsilon")) {
    writer.AddFloat(variation.architecture + ".attention.layer_norm_rms_epsilon", config.norm_epsilon);
  }
  if (!variation.vocabulary) return;
  writer.AddText("tokenizer.ggml.model", "gpt2");
  writer.AddText("tokenizer.ggml.pre", "qwen2");
  writer.AddTexts("tokenizer.ggml.tokens", {"a", "b", "ab", "<|im_end|>", "<|endoftext|>"});
  writer.AddInts("tokenizer.ggml.token_type", {1, 1, 1, 3, 3});
  writer.AddTexts("tokenizer.ggml.merges", {"a b"});
  writer.AddUint32("tokenizer.ggml.eos_token_id", 3);
  writer.AddUint32("tokenizer.ggml.bos_token_id", 4);
  writer.AddText("tokenizer.chat_template", "{{ messages[0].content }}");
}

/// A file of random blocks for a configuration, by the names of its plan.
inline Bytes SampleGguf(const ModelConfig& config, const GgufVariation& variation = {}) {
  GgufWriter writer;
  AddSampleMetadata(writer, config, variation);
  unsigned seed = 1;
  for (const WeightSlot& slot : Lower(config).weights) {
    const std::string name = GgufName(slot.name).value();
    ++seed;
    if (variation.left_out.contains(name)) continue;
    const bool is_vector = slot.rows == 1;
    const GgufTensorType type = is_vector ? GgufTensorType::kF32 : variation.matrices;
    writer.AddTensor(name, type, slot.rows, slot.cols, is_vector,
                     [bytes = RandomBlocks(GgufTraits(type), slot.rows * slot.cols, seed)](
                         const GgufWriter::Sink& sink) { sink(bytes); });
  }
  variation.add(writer);
  return BytesOf(writer);
}

/// What a part of a split model says of itself; the sample tells lies where a test wants them.
struct PartFacts {
  int number = 0, count = 1;  // from 0, as split.no
  int tensors = 0;            // of all parts
  std::set<std::string> left_out = {};
};

inline void AddPartMetadata(GgufWriter& writer, const PartFacts& facts) {
  const auto add = [&](const std::string& key, int value) {
    if (!facts.left_out.contains(key)) writer.AddUint32(key, static_cast<uint32_t>(value));
  };
  add("split.no", facts.number);
  add("split.count", facts.count);
  add("split.tensors.count", facts.tensors);
}

/// The sample in parts, as llama-gguf-split makes them: metadata in the first, tensors in order; with
/// `first_is_empty` all of them in the others. `lie` may change what a part says of itself.
inline std::vector<Bytes> SampleGgufParts(const ModelConfig& config, int count, bool first_is_empty = false,
                                          const std::function<void(PartFacts&)>& lie = {}) {
  const Bytes whole = SampleGguf(config);
  const GgufFile file = ParseGguf(whole, "whole");
  const auto total = static_cast<int>(file.tensors.size());
  std::vector<Bytes> parts;
  for (int number = 0; number < count; ++number) {
    GgufWriter writer;
    if (number == 0) AddSampleMetadata(writer, config, {});
    PartFacts facts{number, count, total};
    if (lie) lie(facts);
    AddPartMetadata(writer, facts);
    int index = 0;
    for (const auto& [name, tensor] : file.tensors) {
      const int place = first_is_empty ? 1 + index * (count - 1) / total : index * count / total;
      ++index;
      if (place != number) continue;
      writer.AddTensor(
          name, tensor.traits->type, tensor.rows, tensor.cols, tensor.is_vector,
          [bytes = Bytes(tensor.bytes.begin(), tensor.bytes.end())](const GgufWriter::Sink& sink) { sink(bytes); });
    }
    parts.push_back(BytesOf(writer));
  }
  return parts;
}

inline std::string TextOf(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Writes them as FOLDER/NAME-00001-of-00003.gguf and so on.
inline void WriteGgufParts(const std::filesystem::path& folder, const std::string& name,
                           const std::vector<Bytes>& parts) {
  std::filesystem::create_directories(folder);
  for (size_t i = 0; i < parts.size(); ++i) {
    FileWriter file(folder / (name + PartEnding(static_cast<int>(i) + 1, static_cast<int>(parts.size())) + ".gguf"));
    file.Write(TextOf(parts[i]));
    file.Commit();
  }
}

}  // namespace edgellm
