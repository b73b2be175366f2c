// See gguf_config.h. Keys are those of the GGUF specification and of llama.cpp's gguf-py; defaults are llama.cpp's.
#include "convert/gguf_config.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "base/utf8.h"
#include "convert/gguf_blocks.h"
#include "model/json_fields.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

/// Metadata of the file's architecture: "llama.block_count" by "block_count".
class Keys {
 public:
  Keys(const GgufFile& file, std::string_view architecture) : file_(file), prefix_(std::string(architecture) + ".") {}

  std::string Full(std::string_view key) const { return prefix_ + std::string(key); }

  int Size(std::string_view key) const {
    const auto value = Optional(key);
    if (!value) Fail(ErrorCode::kCorrupt, "{}: metadata {} is missing", file_.name, Full(key));
    return *value;
  }

  /// A number, or (as some writers store it) a list with one for each layer, which must then agree.
  std::optional<int> Optional(std::string_view key) const {
    const GgufValue* value = file_.Find(Full(key));
    if (value == nullptr) return {};
    if (!std::holds_alternative<GgufArray>(*value)) {
      return static_cast<int>(*file_.Integer(Full(key), 0, INT32_MAX));
    }
    const auto list = file_.Integers(Full(key));
    const bool agree = std::all_of(list.begin(), list.end(), [&](int64_t x) { return x == list[0]; });
    if (list.empty() || list[0] < 0 || list[0] > INT32_MAX) {
      Fail(ErrorCode::kCorrupt, "{}: metadata {} holds no size", file_.name, Full(key));
    }
    if (!agree) Fail(ErrorCode::kUnsupported, "{}: {} differs between layers", file_.name, Full(key));
    return static_cast<int>(list[0]);
  }

  std::optional<double> Number(std::string_view key) const { return file_.Number(Full(key)); }
  std::string Text(std::string_view key) const { return std::string(file_.Text(Full(key)).value_or("")); }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

void RefuseWhatWouldChangeTheResult(const GgufFile& file, const Keys& keys, const ModelConfig& config) {
  if (keys.Optional("expert_count").value_or(0) > 0) {
    Fail(ErrorCode::kUnsupported, "{}: a mixture of experts; such models are not supported", file.name);
  }
  const int window = keys.Optional("attention.sliding_window").value_or(0);
  if (window > 0 && window < config.max_context) {
    Fail(ErrorCode::kUnsupported, "{}: sliding window {} acts within the context of {}; windows are not supported",
         file.name, window, config.max_context);
  }
  const int value_length = keys.Optional("attention.value_length").value_or(config.head_dim);
  const int rotated = keys.Optional("rope.dimension_count").value_or(config.head_dim);
  if (value_length != config.head_dim || rotated != config.head_dim) {
    Fail(ErrorCode::kUnsupported, "{}: heads of {} with values of {} and {} rotated dimensions are not supported",
         file.name, config.head_dim, value_length, rotated);
  }
  for (const char* key : {"attention.scale", "logit_scale", "residual_scale", "embedding_scale",
                          "rope.scaling.attn_factor", "attn_logit_softcapping", "final_logit_softcapping"}) {
    const double scale = keys.Number(key).value_or(0);
    const bool is_default =
        scale == 0 || scale == 1 ||
        (std::string_view(key) == "attention.scale" && std::fabs(scale * std::sqrt(config.head_dim) - 1) < 1e-5);
    if (!is_default) Fail(ErrorCode::kUnsupported, "{}: {} {} is not supported", file.name, keys.Full(key), scale);
  }
}

/// The published parameters that give these factors, so that a model is the same whatever container it came in.
std::optional<Llama3RopeScaling> FindLlama3Scaling(const std::vector<float>& factors, const ModelConfig& config) {
  // All of Llama 3.1, 3.2 and 3.3 have these; only the factor differs (8 or 32).
  const Llama3RopeScaling published{std::round(factors.back()), 1.0f, 4.0f, 8192};
  if (!(published.factor >= 1)) return {};
  const auto expected = Llama3RopeFactors(published, config.rope_theta, config.head_dim);
  for (size_t i = 0; i < factors.size(); ++i) {
    if (!(std::fabs(factors[i] - expected[i]) <= 1e-5f * expected[i])) return {};
  }
  return published;
}

void ReadRopeFactors(const GgufFile& file, ModelConfig& config) {
  for (const char* name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
    if (file.tensors.contains(name)) {
      Fail(ErrorCode::kUnsupported, "{}: rope scaling by two sets of factors ({}) is not supported", file.name, name);
    }
  }
  const auto found = file.tensors.find(kRopeFactorsTensor);
  if (found == file.tensors.end()) return;
  const GgufTensor& tensor = found->second;
  if (tensor.rows != 1 || tensor.cols != config.head_dim / 2 || tensor.traits->type != GgufTensorType::kF32) {
    Fail(ErrorCode::kCorrupt, "{}: tensor {} is not {} F32 factors", file.name, kRopeFactorsTensor,
         config.head_dim / 2);
  }
  std::vector<float> factors(static_cast<size_t>(tensor.cols));
  DecodeGgufRow(GgufTensorType::kF32, tensor.bytes.data(), factors);
  const bool all_one = std::all_of(factors.begin(), factors.end(), [](float x) { return x == 1.0f; });
  if (all_one) return;
  config.llama3_rope = FindLlama3Scaling(factors, config);
  if (!config.llama3_rope) config.rope_frequency_factors = std::move(factors);
}

void ReadRope(const GgufFile& file, const Keys& keys, ModelConfig& config) {
  config.rope_theta = static_cast<float>(keys.Number("rope.freq_base").value_or(10000.0));
  const std::string type = keys.Text("rope.scaling.type");
  // "scale_linear" is the key of files from before there were types.
  const double factor = keys.Number("rope.scaling.factor").value_or(keys.Number("rope.scale_linear").value_or(1.0));
  const bool scales = factor != 0 && factor != 1;
  if (type == "linear" || (type.empty() && scales)) {
    if (scales) config.linear_rope_factor = static_cast<float>(factor);
  } else if (!type.empty() && type != "none") {
    Fail(ErrorCode::kUnsupported, "{}: rope scaling '{}' is not supported (supported: none, linear)", file.name,
         OneLine(type));
  }
}

void ReadBiases(const GgufFile& file, ModelConfig& config) {
  const auto has = [&](const char* name) { return file.tensors.contains(name); };
  config.qkv_bias = has("blk.0.attn_q.bias");
  config.output_bias = has("blk.0.attn_output.bias");
  config.ffn_bias = has("blk.0.ffn_down.bias");
}

text::TokenType ToTokenType(const GgufFile& file, int64_t type) {
  // 0 is "undefined", which readers take as normal.
  if (type == 0) return text::TokenType::kNormal;
  if (type < 0 || type > static_cast<int64_t>(text::TokenType::kByte)) {
    Fail(ErrorCode::kCorrupt, "{}: tokenizer.ggml.token_type has the unknown type {}", file.name, type);
  }
  return static_cast<text::TokenType>(type);
}

// Control tokens of these spellings end an answer in every model that has them, as llama.cpp also holds.
constexpr std::array<std::string_view, 8> kEndings = {"<|eot_id|>",      "<|eom_id|>",    "<|im_end|>",    "<|end|>",
                                                      "<|end_of_text|>", "<|endoftext|>", "<end_of_turn>", "<|eot|>"};

void ReadStops(const GgufFile& file, const text::VocabularyData& vocabulary, Model& model) {
  auto& stops = model.generation.stop_tokens;
  const auto add = [&](int64_t id) {
    if (id < 0 || id >= model.config.vocab) return;
    if (std::find(stops.begin(), stops.end(), id) == stops.end()) stops.push_back(static_cast<int32_t>(id));
  };
  if (vocabulary.eos) add(*vocabulary.eos);
  for (const char* key : {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"}) {
    add(file.Integer(key, 0, UINT32_MAX).value_or(-1));
  }
  for (size_t id = 0; id < vocabulary.types.size(); ++id) {
    const bool is_ending = std::find(kEndings.begin(), kEndings.end(), vocabulary.tokens[id]) != kEndings.end();
    if (is_ending && vocabulary.types[id] == text::TokenType::kControl) add(static_cast<int64_t>(id));
  }
}

}  // namespace

const GgufArchitecture& ReadGgufArchitecture(const GgufFile& file) {
  const auto name = file.Text("general.architecture");
  if (!name) Fail(ErrorCode::kCorrupt, "{}: metadata general.architecture is missing", file.name);
  const GgufArchitecture* architecture = FindGgufArchitecture(*name);
  if (architecture == nullptr) {
    Fail(ErrorCode::kUnsupported, "{}: architecture '{}' is not supported (supported: {})", file.name, OneLine(*name),
         KnownGgufArchitectures());
  }
  return *architecture;
}

ModelConfig ReadGgufConfig(const GgufFile& file, const GgufArchitecture& architecture) {
  const Keys keys(file, architecture.name);
  const auto table = file.tensors.find("token_embd.weight");
  if (table == file.tensors.end()) Fail(ErrorCode::kCorrupt, "{}: tensor token_embd.weight is missing", file.name);
  ModelConfig config;
  config.family = architecture.family;
  config.hidden = keys.Size("embedding_length");
  config.layers = keys.Size("block_count");
  config.heads = keys.Size("attention.head_count");
  config.kv_heads = keys.Optional("attention.head_count_kv").value_or(config.heads);
  config.ffn = keys.Size("feed_forward_length");
  config.max_context = keys.Size("context_length");
  config.vocab = static_cast<int>(std::min<int64_t>(table->second.rows, INT32_MAX));
  const auto head_dim = keys.Optional("attention.key_length");
  if (!head_dim && (config.heads == 0 || config.hidden % config.heads != 0)) {
    Fail(ErrorCode::kCorrupt, "{}: embedding_length {} does not divide into {} heads", file.name, config.hidden,
         config.heads);
  }
  config.head_dim = head_dim ? *head_dim : config.hidden / config.heads;
  const auto epsilon = keys.Number("attention.layer_norm_rms_epsilon");
  if (!epsilon) {
    Fail(ErrorCode::kCorrupt, "{}: metadata {} is missing", file.name, keys.Full("attention.layer_norm_rms_epsilon"));
  }
  config.norm_epsilon = static_cast<float>(*epsilon);
  config.activation = architecture.activation;
  config.tied_head = !file.tensors.contains("output.weight");
  config.qk_norm = architecture.qk_norm;
  config.sub_norms = architecture.sub_norms;
  config.native_ternary = architecture.native_ternary;
  ReadRope(file, keys, config);
  ReadBiases(file, config);
  Validate(config, file.name);
  ReadRopeFactors(file, config);
  RefuseWhatWouldChangeTheResult(file, keys, config);
  Validate(config, file.name);
  return config;
}

std::optional<text::VocabularyData> ReadGgufVocabulary(const GgufFile& file) {
  const auto model = file.Text("tokenizer.ggml.model");
  const auto* tokens = file.Texts("tokenizer.ggml.tokens");
  if (!model || *model == "none" || *model == "no_vocab" || tokens == nullptr) return {};
  text::VocabularyData data;
  if (*model != "llama" && *model != "gpt2") {
    Fail(ErrorCode::kUnsupported, "{}: tokenizer model '{}' is not supported (supported: llama, gpt2)", file.name,
         OneLine(*model));
  }
  data.kind = text::VocabularyKindOfGguf(*model);
  data.pre_tokenizer = OneLine(file.Text("tokenizer.ggml.pre").value_or("default"));
  data.tokens.assign(tokens->begin(), tokens->end());
  data.scores = file.Floats("tokenizer.ggml.scores");
  for (const int64_t type : file.Integers("tokenizer.ggml.token_type")) data.types.push_back(ToTokenType(file, type));
  if (const auto* merges = file.Texts("tokenizer.ggml.merges")) data.merges.assign(merges->begin(), merges->end());
  const auto id = [&](const char* key, std::optional<int32_t> fallback) -> std::optional<int32_t> {
    const auto value = file.Integer(key, 0, UINT32_MAX);
    // 2^32 - 1 stands for "none".
    if (value) return *value <= INT32_MAX ? std::optional(static_cast<int32_t>(*value)) : std::nullopt;
    return fallback && static_cast<size_t>(*fallback) < data.tokens.size() ? fallback : std::nullopt;
  };
  // Files that name no special tokens mean SentencePiece's usual ones.
  const bool pieces = data.kind == text::VocabularyKind::kSentencePiece;
  data.bos = id("tokenizer.ggml.bos_token_id", pieces ? std::optional(1) : std::nullopt);
  data.eos = id("tokenizer.ggml.eos_token_id", pieces ? std::optional(2) : std::nullopt);
  data.unknown = id("tokenizer.ggml.unknown_token_id", pieces ? std::optional(0) : std::nullopt);
  data.add_bos = file.Boolean("tokenizer.ggml.add_bos_token");
  data.add_eos = file.Boolean("tokenizer.ggml.add_eos_token");
  data.add_space_prefix = file.Boolean("tokenizer.ggml.add_space_prefix");
  data.remove_extra_whitespaces = file.Boolean("tokenizer.ggml.remove_extra_whitespaces").value_or(false);
  return data;
}

text::Tokenizer BuildGgufTokenizer(const GgufFile& file, const text::VocabularyData& vocabulary) {
  try {
    return text::Tokenizer::FromVocabulary(vocabulary, "tokenizer");
  } catch (const Error& error) {
    // It may quote a token, and tokens may be any bytes.
    Fail(error.code(), "{}: {}", file.name, OneLine(error.what()));
  }
}

void ReadGgufText(const GgufFile& file, Model& model) {
  if (const auto text = file.Text("tokenizer.chat_template")) {
    if (!utf8::IsValid(*text)) Fail(ErrorCode::kCorrupt, "{}: tokenizer.chat_template is not UTF-8", file.name);
    model.chat_template = *text;
  }
  const auto vocabulary = ReadGgufVocabulary(file);
  if (!vocabulary) return;
  if (vocabulary->tokens.size() > static_cast<size_t>(model.config.vocab)) {
    Fail(ErrorCode::kCorrupt, "{}: {} tokens, but an embedding of {} rows", file.name, vocabulary->tokens.size(),
         model.config.vocab);
  }
  model.tokenizer_json = BuildGgufTokenizer(file, *vocabulary).ToJson();
  ReadStops(file, *vocabulary, model);
}

}  // namespace edgellm
