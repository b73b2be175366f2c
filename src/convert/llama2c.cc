// The .bin checkpoints of llama2.c (its legacy export): seven int32, then float32 tensors in a fixed order, nothing
// else. Its rotary embedding turns neighbouring values (2i, 2i+1); ours turns (i, i + head_dim/2). Reordering the rows
// of q and k within each head makes the two the same computation.
#include "convert/llama2c.h"

#include <algorithm>

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/sha256.h"
#include "convert/import.h"
#include "model/lower.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

constexpr WeightFormat kF32 = {.kind = WeightKind::kF32};
// llama2.c ends a text at BOS, which separates the stories of its training data.
constexpr int32_t kStopToken = 1;

/// The configuration that the header gives; not validated.
ModelConfig ReadHeader(ByteReader& reader) {
  const auto next = [&](const char* field) { return reader.Read<int32_t>(field); };
  ModelConfig config;
  config.family = "llama";
  config.hidden = next("dim");
  config.ffn = next("hidden_dim");
  config.layers = next("n_layers");
  config.heads = next("n_heads");
  config.kv_heads = next("n_kv_heads");
  const int32_t vocab = next("vocab_size");
  config.tied_head = vocab > 0;  // the format's way to say it: a negative size means a head of its own
  config.vocab = vocab > 0 ? vocab : static_cast<int>(-static_cast<int64_t>(vocab) & INT32_MAX);
  config.max_context = next("seq_len");
  config.head_dim = config.heads > 0 ? config.hidden / config.heads : 0;
  config.norm_epsilon = 1e-5f;
  config.rope_theta = 10000.0f;
  return config;
}

/// Bytes of a whole file with this (validated) configuration. No overflow: every size is bounded.
uint64_t ExpectedSize(const ModelConfig& c) {
  const auto u = [](int value) { return static_cast<uint64_t>(value); };
  const uint64_t kv = u(c.kv_heads) * u(c.head_dim);
  const uint64_t layer =
      2 * u(c.hidden) + 2 * u(c.hidden) * u(c.hidden) + 2 * kv * u(c.hidden) + 3 * u(c.ffn) * u(c.hidden);
  const uint64_t tables = u(c.vocab) * u(c.hidden) * (c.tied_head ? 1 : 2);
  const uint64_t rotary = 2 * u(c.max_context) * u(c.head_dim / 2);
  return 7 * sizeof(int32_t) + sizeof(float) * (tables + u(c.layers) * layer + u(c.hidden) + rotary);
}

void ValidateHeader(const ModelConfig& config, std::string_view name) {
  Validate(config, name);
  if (config.hidden % config.heads != 0) {
    Fail(ErrorCode::kCorrupt, "{}: dim {} does not divide by n_heads {}", name, config.hidden, config.heads);
  }
}

/// Walks the tensors in the file's order and adds them under their canonical names.
class Reader {
 public:
  Reader(std::shared_ptr<const MappedFile> file, ByteReader reader, const ModelConfig& config, WeightTable& weights)
      : file_(std::move(file)), reader_(std::move(reader)), config_(config), weights_(weights) {}

  void Run() {
    const auto& c = config_;
    const int kv = c.kv_heads * c.head_dim;
    Add("model.embed_tokens.weight", c.vocab, c.hidden);
    EachLayer("input_layernorm", 1, c.hidden);
    EachLayer("self_attn.q_proj", c.hidden, c.hidden, /*rotary=*/true);
    EachLayer("self_attn.k_proj", kv, c.hidden, /*rotary=*/true);
    EachLayer("self_attn.v_proj", kv, c.hidden);
    EachLayer("self_attn.o_proj", c.hidden, c.hidden);
    EachLayer("post_attention_layernorm", 1, c.hidden);
    EachLayer("mlp.gate_proj", c.ffn, c.hidden);
    EachLayer("mlp.down_proj", c.hidden, c.ffn);
    EachLayer("mlp.up_proj", c.ffn, c.hidden);
    Add("model.norm.weight", 1, c.hidden);
    // Tables of sines and cosines, which the plan computes itself.
    reader_.Take(sizeof(float) * 2 * static_cast<size_t>(c.max_context) * static_cast<size_t>(c.head_dim / 2),
                 "freq_cis");
    if (!c.tied_head) Add("lm_head.weight", c.vocab, c.hidden);
  }

 private:
  void EachLayer(const char* part, int rows, int cols, bool rotary = false) {
    for (int layer = 0; layer < config_.layers; ++layer) {
      Add(fmt::format("model.layers.{}.{}.weight", layer, part), rows, cols, rotary);
    }
  }

  void Add(const std::string& name, int rows, int cols, bool rotary = false) {
    const auto bytes = reader_.Take(sizeof(float) * static_cast<size_t>(rows) * static_cast<size_t>(cols), name);
    if (rotary) {
      weights_.Add(name, HalfSplit(bytes, rows, cols));
      return;
    }
    weights_.Add(name,
                 {.view = {kF32, rows, cols, bytes.data(), nullptr, nullptr}, .is_vector = rows == 1, .owner = file_});
  }

  /// Row 2i of each head becomes row i, row 2i+1 becomes row i + head_dim/2.
  Tensor HalfSplit(std::span<const std::byte> bytes, int rows, int cols) const {
    WritableTensor made = MakeTensor(kF32, rows, cols, /*is_vector=*/false);
    const size_t row_bytes = sizeof(float) * static_cast<size_t>(cols);
    const int half = config_.head_dim / 2;
    for (int row = 0; row < rows; ++row) {
      const int head_start = row / config_.head_dim * config_.head_dim, within = row % config_.head_dim;
      const int source = head_start + (within < half ? 2 * within : 2 * (within - half) + 1);
      std::memcpy(made.codes + static_cast<size_t>(row) * row_bytes,
                  bytes.data() + static_cast<size_t>(source) * row_bytes, row_bytes);
    }
    return made.tensor;
  }

  std::shared_ptr<const MappedFile> file_;
  ByteReader reader_;
  const ModelConfig& config_;
  WeightTable& weights_;
};

/// The first tok*.bin in the folder, by name, whose vocabulary has the model's size; as JSON, or empty.
std::string FindTokenizer(const std::filesystem::path& folder, int vocab) {
  std::vector<std::filesystem::path> candidates;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("tok") && name.ends_with(".bin") && entry.is_regular_file())
      candidates.push_back(entry.path());
  }
  std::sort(candidates.begin(), candidates.end());
  for (const auto& candidate : candidates) {
    try {
      const auto tokenizer = text::Tokenizer::FromPath(candidate);
      if (tokenizer.vocab_size() == vocab) return tokenizer.ToJson();
    } catch (const Error&) {
      // Not a vocabulary, or that of another model: the format does not tell which file belongs to which.
    }
  }
  return {};
}

}  // namespace

bool LooksLikeLlama2c(std::span<const std::byte> bytes) {
  try {
    ByteReader reader(bytes, "header");
    const ModelConfig config = ReadHeader(reader);
    ValidateHeader(config, "header");
    return true;
  } catch (const Error&) {
    return false;
  }
}

Model ImportLlama2c(const std::filesystem::path& path, const Progress& progress) {
  const auto file = std::make_shared<const MappedFile>(path);
  ByteReader reader(file->bytes(), path.string());
  Model model;
  model.config = ReadHeader(reader);
  ValidateHeader(model.config, path.string());
  const uint64_t expected = ExpectedSize(model.config);
  if (expected != file->bytes().size()) {
    Fail(ErrorCode::kCorrupt, "{}: a llama2.c file with this header has {} bytes, this one {}", path.string(), expected,
         file->bytes().size());
  }
  if (progress) progress("importing", 0, 1);
  Reader(file, std::move(reader), model.config, model.weights).Run();
  model.name = path.stem().string();
  model.tokenizer_json = FindTokenizer(std::filesystem::absolute(path).parent_path(), model.config.vocab);
  model.generation.stop_tokens = {kStopToken};
  model.provenance = {.source = path.filename().string(),
                      .source_format = "llama2c",
                      .source_digest = Sha256Hex(file->bytes()),
                      .recipe_json = "{}",
                      .created_by = "edgellm " EDGELLM_VERSION};
  model.weights.Bind(Lower(model.config), path.string());
  if (progress) progress("importing", 1, 1);
  return model;
}

}  // namespace edgellm
