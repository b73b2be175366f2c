// See random_model.h. Codes are random bits bent into what each format allows, so that gigabytes are made at the
// memory's pace.
#include "bench/random_model.h"

#include <cmath>
#include <cstring>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/half.h"
#include "base/philox.h"
#include "base/worker_pool.h"
#include "model/lower.h"

namespace edgellm {
namespace {

constexpr uint64_t kEveryNibble = 0x1111111111111111u, kEveryPair = 0x5555555555555555u;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA 2014).
class Bits {
 public:
  explicit Bits(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  /// In [-1, 1).
  float Symmetric() { return static_cast<float>(static_cast<int32_t>(Next() >> 32)) * 0x1.0p-31f; }

 private:
  uint64_t state_;
};

/// Random bits as eight bytes of codes: int4 without 0, so that the codes lie evenly about 8; ternary without 3.
uint64_t Codes(WeightKind kind, uint64_t bits) {
  if (kind == WeightKind::kInt4) {
    const uint64_t none = ~(bits | bits >> 1 | bits >> 2 | bits >> 3) & kEveryNibble;
    return bits | none << 3;
  }
  if (kind == WeightKind::kTernary) {
    const uint64_t three = bits & bits >> 1 & kEveryPair;
    return bits ^ three << 1;
  }
  return bits;
}

/// Root of the mean square of a code as made above.
double CodeSize(WeightKind kind) {
  switch (kind) {
    case WeightKind::kInt8:
      return 73.9;
    case WeightKind::kInt4:
      return 4.18;
    default:
      return 0.707;
  }
}

class Filler {
 public:
  Filler(const RandomModelOptions& options, WorkerPool& workers) : options_(options), workers_(workers) {}

  Tensor Matrix(const WeightFormat& format, const WeightSlot& slot) {
    WritableTensor made = MakeTensor(format, slot.rows, slot.cols, /*is_vector=*/false);
    const uint64_t seed = Philox(options_.seed, tensors_++)[0];
    const size_t code_stride = format.RowBytes(slot.cols), groups = static_cast<size_t>(format.Groups(slot.cols));
    const auto size = static_cast<float>(1 / std::sqrt(static_cast<double>(slot.cols)));
    workers_.Run([&](int worker) {
      const Slice slice = SliceOf(slot.rows, worker, workers_.size());
      for (int64_t row = slice.first; row < slice.last; ++row) {
        Bits bits(seed + static_cast<uint64_t>(row) * 0x632be59bd9b4e019u);
        const auto index = static_cast<size_t>(row);
        if (format.is_float()) {
          FillFloats(format, bits, size, slot.cols, made.codes + index * code_stride);
          continue;
        }
        FillCodes(format, bits, slot.cols, made.codes + index * code_stride, code_stride);
        for (size_t g = 0; g < groups; ++g) {
          const float scale = size / static_cast<float>(CodeSize(format.kind)) * (1 + 0.25f * bits.Symmetric());
          StoreScale(format, scale, made.scales + (index * groups + g) * format.ScaleBytes());
          const uint16_t zero = FloatToF16(8);
          if (made.zeros != nullptr) std::memcpy(made.zeros + (index * groups + g) * 2, &zero, 2);
        }
      }
    });
    return made.tensor;
  }

  Tensor Vector(const WeightSlot& slot, bool is_norm) {
    WritableTensor made = MakeTensor({WeightKind::kF32, 0, false}, 1, slot.cols, /*is_vector=*/true);
    Bits bits(Philox(options_.seed, tensors_++)[0]);
    for (int64_t i = 0; i < slot.cols; ++i) {
      const float value = is_norm ? 1.0f : 0.1f * bits.Symmetric();
      std::memcpy(made.codes + i * 4, &value, 4);
    }
    return made.tensor;
  }

 private:
  static void FillFloats(const WeightFormat& format, Bits& bits, float size, int64_t cols, std::byte* out) {
    const float factor = size * 1.732f;  // of a uniform distribution with that root mean square
    for (int64_t i = 0; i < cols; ++i) {
      const float value = factor * bits.Symmetric();
      if (format.kind == WeightKind::kF32) {
        std::memcpy(out + i * 4, &value, 4);
      } else {
        const uint16_t half = format.kind == WeightKind::kF16 ? FloatToF16(value) : FloatToBf16(value);
        std::memcpy(out + i * 2, &half, 2);
      }
    }
  }

  static void FillCodes(const WeightFormat& format, Bits& bits, int64_t cols, std::byte* out, size_t bytes) {
    for (size_t at = 0; at < bytes; at += 8) {
      const uint64_t eight = Codes(format.kind, bits.Next());
      std::memcpy(out + at, &eight, std::min<size_t>(8, bytes - at));
    }
    ClearPadding(format, cols, out, bytes);
  }

  /// The bits of the last byte that stand for no column.
  static void ClearPadding(const WeightFormat& format, int64_t cols, std::byte* out, size_t bytes) {
    const int per_byte = format.kind == WeightKind::kInt4 ? 2 : format.kind == WeightKind::kTernary ? 4 : 1;
    const auto used = static_cast<int>(cols % per_byte);
    if (used != 0) out[bytes - 1] &= static_cast<std::byte>((1 << (used * 8 / per_byte)) - 1);
  }

  static void StoreScale(const WeightFormat& format, float scale, std::byte* out) {
    const uint16_t half = FloatToF16(scale);
    // Ternary scales too are made of halves: GGUF's ternary blocks then hold the same weights.
    const float value = F16ToFloat(half);
    if (format.ScaleBytes() == 4) {
      std::memcpy(out, &value, 4);
    } else {
      std::memcpy(out, &half, 2);
    }
  }

  const RandomModelOptions& options_;
  WorkerPool& workers_;
  uint64_t tensors_ = 0;
};

/// A byte-level BPE without merges: the 256 bytes would do, the words beside them make up the vocabulary's size.
std::string StandInTokenizer(int vocab) {
  nlohmann::ordered_json::object_t words;  // appended to as a list: a look-up for each word would take seconds
  words.push_back({"\xC4\x8A", 0});  // how byte-level vocabularies spell the newline, which llama.cpp wants to find
  for (int id = 1; id < vocab; ++id) words.push_back({fmt::format("t{}", id), id});
  const nlohmann::ordered_json end = {{"id", vocab - 1}, {"content", fmt::format("t{}", vocab - 1)}, {"special", true}};
  return nlohmann::ordered_json{
      {"version", "1.0"},
      {"added_tokens", {end}},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", words}, {"merges", nlohmann::ordered_json::array()}}}}
      .dump();
}

}  // namespace

Model RandomModel(const std::string& name, const ModelConfig& config, const RandomModelOptions& options,
                  const Progress& progress) {
  Validate(config, name);
  WorkerPool workers(0);
  Filler filler(options, workers);
  Model model;
  model.name = name;
  model.config = config;
  const Plan plan = Lower(config);
  uint64_t done = 0;
  for (const WeightSlot& slot : plan.weights) {
    if (progress) progress("making weights", done++, plan.weights.size());
    model.weights.Add(slot.name, slot.rows == 1
                                     ? filler.Vector(slot, slot.name.ends_with("norm.weight"))
                                     : filler.Matrix(IsTable(slot.name) ? options.head : options.linear, slot));
  }
  model.tokenizer_json = StandInTokenizer(config.vocab);
  model.provenance = {.source = "random weights",
                      .source_format = "random",
                      .source_digest = "",
                      .recipe_json = "{}",
                      .created_by = "edgellm " EDGELLM_VERSION};
  return model;
}

}  // namespace edgellm
