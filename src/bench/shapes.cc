// See shapes.h. Sizes are those of the models' published configurations.
#include "bench/shapes.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"

namespace edgellm {
namespace {

struct Shape {
  std::string_view name, family;
  int hidden, layers, heads, kv_heads, head_dim, ffn, vocab, max_context;
  float rope_theta, norm_epsilon;
  bool tied_head;
};

constexpr std::array<Shape, 15> kShapes = {{
    {"smollm-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, 2048, 1e4f, 1e-5f, true},
    {"smollm2-135m", "llama", 576, 30, 9, 3, 64, 1536, 49152, 8192, 1e5f, 1e-5f, true},
    {"smollm2-360m", "llama", 960, 32, 15, 5, 64, 2560, 49152, 8192, 1e5f, 1e-5f, true},
    {"qwen2.5-0.5b", "qwen2", 896, 24, 14, 2, 64, 4864, 151936, 32768, 1e6f, 1e-6f, true},
    {"qwen2.5-1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, 32768, 1e6f, 1e-6f, true},
    {"qwen2.5-3b", "qwen2", 2048, 36, 16, 2, 128, 11008, 151936, 32768, 1e6f, 1e-6f, true},
    {"qwen2.5-7b", "qwen2", 3584, 28, 28, 4, 128, 18944, 152064, 32768, 1e6f, 1e-6f, false},
    {"qwen3-0.6b", "qwen3", 1024, 28, 16, 8, 128, 3072, 151936, 40960, 1e6f, 1e-6f, true},
    {"qwen3-1.7b", "qwen3", 2048, 28, 16, 8, 128, 6144, 151936, 40960, 1e6f, 1e-6f, true},
    {"qwen3-4b", "qwen3", 2560, 36, 32, 8, 128, 9728, 151936, 40960, 1e6f, 1e-6f, true},
    {"qwen3-8b", "qwen3", 4096, 36, 32, 8, 128, 12288, 151936, 40960, 1e6f, 1e-6f, false},
    {"llama-3.2-1b", "llama", 2048, 16, 32, 8, 64, 8192, 128256, 131072, 5e5f, 1e-5f, true},
    {"llama-3.2-3b", "llama", 3072, 28, 24, 8, 128, 8192, 128256, 131072, 5e5f, 1e-5f, true},
    {"llama-3.1-8b", "llama", 4096, 32, 32, 8, 128, 14336, 128256, 131072, 5e5f, 1e-5f, false},
    {"bitnet-2b4t", "bitnet", 2560, 30, 20, 5, 128, 6912, 128256, 4096, 5e5f, 1e-5f, true},
}};
constexpr std::string_view kAsLlama = "-llama";

}  // namespace

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const Shape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

ModelConfig ShapeByName(std::string_view name) {
  std::string wanted(name);
  std::transform(wanted.begin(), wanted.end(), wanted.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool as_llama = wanted.ends_with(kAsLlama);
  if (as_llama) wanted.resize(wanted.size() - kAsLlama.size());
  const auto shape = std::find_if(kShapes.begin(), kShapes.end(), [&](const Shape& s) { return s.name == wanted; });
  if (shape == kShapes.end()) {
    Fail(ErrorCode::kInvalidArgument, "no shape is called '{}'; there are {}", name, fmt::join(ShapeNames(), ", "));
  }
  ModelConfig config;
  config.family = as_llama ? "llama" : std::string(shape->family);
  config.hidden = shape->hidden;
  config.layers = shape->layers;
  config.heads = shape->heads;
  config.kv_heads = shape->kv_heads;
  config.head_dim = shape->head_dim;
  config.ffn = shape->ffn;
  config.vocab = shape->vocab;
  config.max_context = shape->max_context;
  config.rope_theta = shape->rope_theta;
  config.norm_epsilon = shape->norm_epsilon;
  config.tied_head = shape->tied_head;
  config.qkv_bias = config.family == "qwen2";
  config.qk_norm = config.family == "qwen3";
  const bool bitnet = config.family == "bitnet";
  config.sub_norms = config.native_ternary = bitnet;
  if (bitnet) config.activation = Activation::kRelu2;
  return config;
}

}  // namespace edgellm
