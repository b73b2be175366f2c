// A tiny Hugging Face folder, written from a sample model, for the tests of its import.
#pragma once

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "convert/import.h"
#include "model/safetensors.h"
#include "quant/codec.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {

inline nlohmann::ordered_json SampleHuggingFaceConfig(const ModelConfig& config = SampleConfig()) {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"hidden_size", config.hidden},
          {"intermediate_size", config.ffn},
          {"max_position_embeddings", config.max_context},
          {"num_attention_heads", config.heads},
          {"num_hidden_layers", config.layers},
          {"num_key_value_heads", config.kv_heads},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"tie_word_embeddings", config.tied_head},
          {"vocab_size", config.vocab},
          {"eos_token_id", 2}};
}

/// A checkpoint in memory: name → dtype, shape, bytes; to be changed by a test before it is written.
struct SampleTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using SampleCheckpoint = std::map<std::string, SampleTensor>;

/// The weights of a model of float tensors of one format.
inline SampleCheckpoint CheckpointOf(const Model& model) {
  SampleCheckpoint checkpoint;
  for (const auto& [name, tensor] : model.weights.tensors()) {
    const WeightView& view = tensor.view;
    const std::string dtype = view.format.Name() == "f32" ? "F32" : view.format.Name() == "f16" ? "F16" : "BF16";
    const auto shape = tensor.is_vector ? std::vector{view.cols} : std::vector{view.rows, view.cols};
    checkpoint[name] = {dtype, shape, PlanesText(view)};
  }
  return checkpoint;
}

inline void WriteCheckpoint(const std::filesystem::path& path, const SampleCheckpoint& checkpoint) {
  std::vector<SafetensorsPlanned> planned;
  for (const auto& [name, tensor] : checkpoint) {
    planned.push_back({name, tensor.dtype, tensor.shape,
                       [bytes = tensor.bytes](const auto& write) { write(std::as_bytes(std::span(bytes))); }});
  }
  WriteSafetensors(path, planned, 64, [] { return std::map<std::string, std::string>{{"format", "pt"}}; });
}

inline std::vector<float> DecodeAll(const WeightView& view) {
  std::vector<float> values(static_cast<size_t>(view.rows * view.cols));
  for (int64_t row = 0; row < view.rows; ++row) {
    DecodeRow(view, row,
              std::span(values).subspan(static_cast<size_t>(row * view.cols), static_cast<size_t>(view.cols)));
  }
  return values;
}

}  // namespace edgellm
