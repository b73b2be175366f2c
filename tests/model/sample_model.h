// What the tests of models share: a tiny model in any format, and what every error
// must look like.
#pragma once

#include <random>
#include <string>

#include "model/lower.h"
#include "model/model.h"
#include "tests/base/temporary_folder.h"

namespace edgellm {

struct SampleSizes {
  int hidden = 24, layers = 2, heads = 4, kv_heads = 2, head_dim = 6, ffn = 40, vocab = 50;
};

/// A configuration made small, its kind kept.
inline ModelConfig Resized(ModelConfig config, const SampleSizes& sizes) {
  config.hidden = sizes.hidden;
  config.layers = sizes.layers;
  config.heads = sizes.heads;
  config.kv_heads = sizes.kv_heads;
  config.head_dim = sizes.head_dim;
  config.ffn = sizes.ffn;
  config.vocab = sizes.vocab;
  return config;
}

inline ModelConfig SampleConfig() {
  ModelConfig config;
  config.family = "llama";
  config.max_context = 64;
  return Resized(config, {});
}

/// Random values of both signs, the same for the same seed.
inline std::vector<float> RandomValues(size_t count, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, 0.5f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

/// A whole model of random weights; matrices in `format`, vectors in f32.
inline Model SampleModel(const WeightFormat& format, const ModelConfig& config = SampleConfig()) {
  Model model;
  model.name = "sample";
  model.config = config;
  unsigned seed = 1;
  for (const WeightSlot& slot : Lower(config).weights) {
    const bool is_vector = slot.rows == 1;
    const WeightFormat used = is_vector ? WeightFormat{} : format;
    const auto values = RandomValues(static_cast<size_t>(slot.rows * slot.cols), seed++);
    Tensor tensor = EncodeTensor(used, slot.rows, slot.cols, [&](int64_t row) {
      return std::span(values).subspan(static_cast<size_t>(row * slot.cols), static_cast<size_t>(slot.cols));
    });
    tensor.is_vector = is_vector;
    model.weights.Add(slot.name, std::move(tensor));
  }
  model.tokenizer_json = R"({"model": {"type": "BPE"}})";
  model.chat_template = "{{ messages[0].content }}\n";
  model.generation.temperature = 0.7f;
  model.generation.top_k = 20;
  model.generation.stop_tokens = {2, 7};
  model.generation.stop_strings = {"\n\n", "</s>"};
  model.provenance = {.source = "sample",
                      .source_format = "huggingface",
                      .source_digest = std::string(64, 'a'),
                      .recipe_json = R"({"linear":"int4-g32"})",
                      .created_by = "edgellm test",
                      .notes = {"a note"}};
  model.golden = {{{1, 2, 3}, {4, 5}}, {{49}, {}}};
  return model;
}

/// The bytes of all planes of a weight.
inline std::string PlanesText(const WeightView& view) {
  const auto rows = static_cast<size_t>(view.rows);
  const size_t groups = rows * static_cast<size_t>(view.format.Groups(view.cols));
  std::string text(reinterpret_cast<const char*>(view.codes), rows * view.format.RowBytes(view.cols));
  if (view.scales != nullptr) {
    text.append(reinterpret_cast<const char*>(view.scales), groups * view.format.ScaleBytes());
  }
  if (view.zeros != nullptr) text.append(reinterpret_cast<const char*>(view.zeros), groups * 2);
  return text;
}

}  // namespace edgellm
