// See export_gguf.h. Which metadata llama.cpp wants of an architecture follows its own converters; tensors go out in
// the order of their GGUF names, norms and biases as F32.
#include "convert/export_gguf.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/half.h"
#include "convert/gguf_architecture.h"
#include "convert/gguf_vocabulary.h"
#include "convert/gguf_writer.h"
#include "model/lower.h"
#include "quant/codec.h"
#include "quant/planes.h"

namespace edgellm {
namespace {

constexpr int64_t kBlock = 32;          // values in a block of Q8_0 and Q4_0
constexpr int64_t kTernaryBlock = 256;  // and of TQ2_0
using Block = std::span<std::byte>;

bool IsSymmetricInt4(const WeightFormat& format) {
  return format.kind == WeightKind::kInt4 && !format.zero_point;
}

/// int8 codes and int4 codes about 8 have the meaning that Q8_0 gives to codes; their groups are whole blocks.
bool KeepsCodes(const WeightFormat& format, GgufTensorType type) {
  if (type == GgufTensorType::kTQ2_0) return true;
  if (type == GgufTensorType::kQ8_0) return format.kind == WeightKind::kInt8 || IsSymmetricInt4(format);
  return type == GgufTensorType::kQ4_0 && IsSymmetricInt4(format);
}

GgufTensorType TypeFor(std::string_view name, const WeightView& view, GgufType asked) {
  if (asked == GgufType::kF16 || view.cols % kBlock != 0) return GgufTensorType::kF16;
  if (asked == GgufType::kTQ2_0 && view.format.kind == WeightKind::kTernary && view.cols % kTernaryBlock == 0) {
    return GgufTensorType::kTQ2_0;
  }
  // Four bits lose too much in the tables; kept where they are so already.
  const bool four = asked == GgufType::kQ4_0 && (!IsTable(name) || IsSymmetricInt4(view.format));
  return four ? GgufTensorType::kQ4_0 : GgufTensorType::kQ8_0;
}

/// Rows of one matrix as rows of GGUF blocks.
class RowEncoder {
 public:
  RowEncoder(std::string name, const WeightView& view, GgufTensorType type)
      : name_(std::move(name)),
        view_(view),
        type_(type),
        values_(static_cast<size_t>(view.cols)),
        codes_(static_cast<size_t>(view.cols)) {}

  void Encode(int64_t row, Block out) {
    if (type_ == GgufTensorType::kF16) return EncodeF16(row, out);
    if (KeepsCodes(view_.format, type_)) {
      DecodeCodes(view_, row, codes_);
      return type_ == GgufTensorType::kTQ2_0 ? WriteTernaryBlocks(row, out) : WriteBlocks(view_, row, out);
    }
    // The nearest of the format that is the type's equal, then as that one.
    DecodeRow(view_, row, values_);
    const WeightFormat format{type_ == GgufTensorType::kQ8_0 ? WeightKind::kInt8 : WeightKind::kInt4, kBlock, false};
    WritableTensor made = MakeTensor(format, 1, view_.cols, false);
    EncodeRow(format, values_, made.codes, made.scales, made.zeros);
    DecodeCodes(made.tensor.view, 0, codes_);
    WriteBlocks(made.tensor.view, 0, out);
  }

 private:
  void EncodeF16(int64_t row, Block out) {
    DecodeRow(view_, row, values_);
    for (size_t i = 0; i < values_.size(); ++i) {
      if (!(std::fabs(values_[i]) <= kLargestHalf)) {
        Fail(ErrorCode::kUnsupported, "tensor {} holds {}, which F16 does not; export it as Q8_0", name_, values_[i]);
      }
      StoreAt(out.data(), static_cast<int64_t>(i), FloatToF16(values_[i]));
    }
  }

  /// From codes_ and the scales of `view`: f16 scale, then 32 signed bytes, or 16 bytes with code i low and code 16 + i
  /// high.
  void WriteBlocks(const WeightView& view, int64_t row, Block out) const {
    const int64_t group = view.format.GroupSize(view.cols);
    const int shift = view.format.kind == WeightKind::kInt4 && type_ == GgufTensorType::kQ8_0 ? 8 : 0;
    std::byte* to = out.data();
    for (int64_t begin = 0; begin < view.cols; begin += kBlock) {
      StoreAt(to, 0, LoadAt<uint16_t>(view.RowScales(row), begin / group));
      to += 2;
      const int8_t* codes = codes_.data() + begin;
      if (type_ == GgufTensorType::kQ8_0) {
        for (int64_t i = 0; i < kBlock; ++i) *to++ = static_cast<std::byte>(codes[i] - shift);
      } else {
        for (int64_t i = 0; i < kBlock / 2; ++i) *to++ = static_cast<std::byte>(codes[i] | codes[i + kBlock / 2] << 4);
      }
    }
  }

  /// 64 bytes of codes + 1, then the scale as f16: bits 2n of byte m of each half are value 32n + m of it.
  void WriteTernaryBlocks(int64_t row, Block out) const {
    constexpr int64_t kHalf = kTernaryBlock / 2, kBytes = kHalf / 4;
    const int64_t group = view_.format.GroupSize(view_.cols);
    std::byte* to = out.data();
    for (int64_t begin = 0; begin < view_.cols; begin += kTernaryBlock) {
      for (int64_t half = begin; half < begin + kTernaryBlock; half += kHalf) {
        for (int64_t m = 0; m < kBytes; ++m) {
          int bits = 0;
          for (int64_t n = 0; n < 4; ++n) bits |= (codes_[static_cast<size_t>(half + kBytes * n + m)] + 1) << (2 * n);
          *to++ = static_cast<std::byte>(bits);
        }
      }
      const auto scale = LoadAt<float>(view_.RowScales(row), begin / group);
      if (!(std::fabs(scale) <= kLargestHalf)) {
        Fail(ErrorCode::kUnsupported, "tensor {} has the scale {}, which TQ2_0 cannot hold", name_, scale);
      }
      StoreAt(to, 0, FloatToF16(scale));
      to += 2;
    }
  }

  std::string name_;
  WeightView view_;
  GgufTensorType type_;
  std::vector<float> values_;
  std::vector<int8_t> codes_;
};

class Exporter {
 public:
  Exporter(const Model& model, GgufType type)
      : model_(model), config_(model.config), type_(type), architecture_(ArchitectureToExport(config_)) {}

  const GgufWriter& Run() {
    RefuseWhatLlamaCppLacks();
    AddGeneral();
    AddSizes();
    AddRope();
    AddTokenizer();
    AddWeights();
    return writer_;
  }

 private:
  std::string Key(std::string_view name) const { return fmt::format("{}.{}", architecture_.name, name); }

  void RefuseWhatLlamaCppLacks() const {
    const bool is_llama = architecture_.name == "llama";
    if (!is_llama && (config_.llama3_rope || !config_.rope_frequency_factors.empty())) {
      Fail(ErrorCode::kUnsupported, "llama.cpp has no rope factors in its architecture {}", architecture_.name);
    }
    const bool has_biases = config_.qkv_bias || config_.output_bias || config_.ffn_bias;
    const bool as_qwen2 = config_.qkv_bias && !config_.output_bias && !config_.ffn_bias;
    if (!is_llama && (architecture_.name == "qwen2" ? !as_qwen2 : has_biases)) {
      Fail(ErrorCode::kUnsupported, "llama.cpp's architecture {} has other biases than this model", architecture_.name);
    }
    if (architecture_.name == "bitnet" && !config_.tied_head) {
      Fail(ErrorCode::kUnsupported, "llama.cpp's architecture bitnet ties its head to the embedding");
    }
  }

  void AddGeneral() {
    // Numbers of llama.cpp's file types, of which people's tools show the name.
    constexpr uint32_t kMostlyF16 = 1, kMostlyQ4_0 = 2, kMostlyQ8_0 = 7, kQuantizationVersion = 2;
    writer_.AddText("general.architecture", architecture_.name);
    if (!model_.name.empty()) writer_.AddText("general.name", model_.name);
    writer_.AddUint32("general.file_type", type_ == GgufType::kF16    ? kMostlyF16
                                           : type_ == GgufType::kQ8_0 ? kMostlyQ8_0
                                                                      : kMostlyQ4_0);
    writer_.AddUint32("general.quantization_version", kQuantizationVersion);
  }

  void AddSizes() {
    const auto size = [&](std::string_view key, int value) {
      writer_.AddUint32(Key(key), static_cast<uint32_t>(value));
    };
    size("block_count", config_.layers);
    size("context_length", config_.max_context);
    size("embedding_length", config_.hidden);
    size("feed_forward_length", config_.ffn);
    size("attention.head_count", config_.heads);
    size("attention.head_count_kv", config_.kv_heads);
    size("attention.key_length", config_.head_dim);
    size("attention.value_length", config_.head_dim);
    size("vocab_size", config_.vocab);
    size("rope.dimension_count", config_.head_dim);
    writer_.AddFloat(Key("attention.layer_norm_rms_epsilon"), config_.norm_epsilon);
  }

  void AddRope() {
    writer_.AddFloat(Key("rope.freq_base"), config_.rope_theta);
    if (config_.linear_rope_factor) {
      writer_.AddText(Key("rope.scaling.type"), "linear");
      writer_.AddFloat(Key("rope.scaling.factor"), *config_.linear_rope_factor);
    }
    rope_factors_ = config_.llama3_rope ? Llama3RopeFactors(*config_.llama3_rope, config_.rope_theta, config_.head_dim)
                                        : config_.rope_frequency_factors;
    if (rope_factors_.empty()) return;
    writer_.AddTensor(kRopeFactorsTensor, GgufTensorType::kF32, 1, config_.head_dim / 2, /*is_vector=*/true,
                      [this](const GgufWriter::Sink& sink) { sink(std::as_bytes(std::span(rope_factors_))); });
  }

  void AddTokenizer() {
    if (model_.tokenizer_json.empty()) {
      writer_.AddText("tokenizer.ggml.model", "no_vocab");
      return;
    }
    const auto data = VocabularyForGguf(model_.tokenizer_json, config_.vocab, model_.Label());
    const bool pieces = data.kind == text::VocabularyKind::kSentencePiece;
    writer_.AddText("tokenizer.ggml.model", pieces ? "llama" : "gpt2");
    writer_.AddText("tokenizer.ggml.pre", data.pre_tokenizer);
    writer_.AddTexts("tokenizer.ggml.tokens", data.tokens);
    if (pieces) writer_.AddFloats("tokenizer.ggml.scores", data.scores);
    std::vector<int32_t> types;
    for (const text::TokenType type : data.types) types.push_back(static_cast<int32_t>(type));
    writer_.AddInts("tokenizer.ggml.token_type", types);
    if (!pieces) writer_.AddTexts("tokenizer.ggml.merges", data.merges);
    const auto id = [&](std::string_view key, std::optional<int32_t> value) {
      if (value) writer_.AddUint32(key, static_cast<uint32_t>(*value));
    };
    id("tokenizer.ggml.bos_token_id", data.bos);
    id("tokenizer.ggml.eos_token_id", EndOfAnswer(data));
    id("tokenizer.ggml.unknown_token_id", data.unknown);
    if (data.add_bos) writer_.AddBool("tokenizer.ggml.add_bos_token", *data.add_bos);
    writer_.AddBool("tokenizer.ggml.add_eos_token", data.add_eos.value_or(false));
    if (pieces) writer_.AddBool("tokenizer.ggml.add_space_prefix", data.add_space_prefix.value_or(true));
    if (data.remove_extra_whitespaces) writer_.AddBool("tokenizer.ggml.remove_extra_whitespaces", true);
    if (!model_.chat_template.empty()) writer_.AddText("tokenizer.chat_template", model_.chat_template);
  }

  /// The tokenizer's own end of text if the model stops there, else the first token at which it does stop.
  std::optional<int32_t> EndOfAnswer(const text::VocabularyData& data) const {
    const auto& stops = model_.generation.stop_tokens;
    const bool stops_at_eos = data.eos && std::find(stops.begin(), stops.end(), *data.eos) != stops.end();
    if (stops.empty() || stops_at_eos) return data.eos;
    return stops.front();
  }

  void AddWeights() {
    const Plan plan = Lower(config_);
    const auto views = model_.weights.Bind(plan, model_.Label());
    for (size_t i = 0; i < views.size(); ++i) {
      const std::string& name = plan.weights[i].name;
      const auto gguf_name = GgufName(name);
      EDGELLM_CHECK(gguf_name.has_value(), "every weight of a plan has a GGUF name");
      AddWeight(name, *gguf_name, views[i], model_.weights.Find(name)->is_vector);
    }
  }

  void AddWeight(const std::string& name, const std::string& gguf_name, const WeightView& view, bool is_vector) {
    const int64_t pairs = architecture_.neighbour_pairs && IsRotary(name) ? config_.head_dim : 0;
    if (is_vector || view.rows == 1) {
      writer_.AddTensor(gguf_name, GgufTensorType::kF32, 1, view.cols, /*is_vector=*/true,
                        [view, pairs](const GgufWriter::Sink& sink) { WriteVector(view, pairs, sink); });
      return;
    }
    const GgufTensorType type = TypeFor(name, view, type_);
    writer_.AddTensor(gguf_name, type, view.rows, view.cols, /*is_vector=*/false,
                      [=](const GgufWriter::Sink& sink) { WriteMatrix(name, view, type, pairs, sink); });
  }

  static void WriteVector(const WeightView& view, int64_t pairs, const GgufWriter::Sink& sink) {
    std::vector<float> values(static_cast<size_t>(view.cols)), ordered(values.size());
    DecodeRow(view, 0, values);
    for (int64_t i = 0; i < view.cols; ++i) {
      ordered[static_cast<size_t>(i)] = values[static_cast<size_t>(pairs == 0 ? i : RowInHalves(i, pairs))];
    }
    sink(std::as_bytes(std::span(ordered)));
  }

  static void WriteMatrix(const std::string& name, const WeightView& view, GgufTensorType type, int64_t pairs,
                          const GgufWriter::Sink& sink) {
    const GgufTensorTraits& traits = GgufTraits(type);
    std::vector<std::byte> row_bytes(static_cast<size_t>(view.cols / traits.block_values * traits.block_bytes));
    RowEncoder encoder(name, view, type);
    for (int64_t row = 0; row < view.rows; ++row) {
      encoder.Encode(pairs == 0 ? row : RowInHalves(row, pairs), row_bytes);
      sink(row_bytes);
    }
  }

  const Model& model_;
  const ModelConfig& config_;
  GgufType type_;
  const GgufArchitecture& architecture_;
  std::vector<float> rope_factors_;
  GgufWriter writer_;
};

constexpr std::pair<std::string_view, GgufType> kTypeNames[] = {
    {"f16", GgufType::kF16}, {"q8_0", GgufType::kQ8_0}, {"q4_0", GgufType::kQ4_0}, {"tq2_0", GgufType::kTQ2_0}};

}  // namespace

GgufType ParseGgufType(std::string_view name) {
  std::string lower(name);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const auto& [text, type] : kTypeNames) {
    if (text == lower) return type;
  }
  Fail(ErrorCode::kInvalidArgument, "no GGUF type to export is called '{}'; there are f16, q8_0, q4_0, tq2_0", name);
}

void ExportGguf(const Model& model, GgufType type, const std::filesystem::path& path, const Progress& progress) {
  Exporter exporter(model, type);
  const GgufWriter& writer = exporter.Run();
  FileWriter file(path);
  const uint64_t total = model.weights.tensors().size();
  if (progress) progress("exporting", 0, total);
  writer.Write([&](std::span<const std::byte> bytes) { file.Write(bytes); },
               [&](size_t tensors) {
                 if (progress) progress("exporting", std::min<uint64_t>(tensors, total), total);
               });
  file.Commit();
}

}  // namespace edgellm
