// SentencePiece's tokenizer.model: a protocol buffer of which a few fields matter, read by a bounds-checked walk over
// its wire format (https://protobuf.dev/programming-guides/encoding; field numbers from sentencepiece_model.proto).
#include <bit>
#include <optional>

#include "base/byte_reader.h"
#include "text/byte_files.h"
#include "text/vocabulary.h"

namespace edgellm::text {
namespace {

/// One field of a message: a number, or bytes.
struct Field {
  uint32_t number = 0;
  uint64_t value = 0;                // varint; fixed32 and fixed64 as bits
  std::span<const std::byte> bytes;  // length-delimited
  bool is_bytes = false;

  std::string_view text() const { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
  float as_float() const { return std::bit_cast<float>(static_cast<uint32_t>(value)); }
};

class MessageReader {
 public:
  MessageReader(std::span<const std::byte> bytes, std::string_view name) : reader_(bytes, std::string(name)) {}

  std::optional<Field> Next() {
    if (reader_.remaining() == 0) return std::nullopt;
    const uint64_t tag = Varint("a field's tag");
    Field field;
    field.number = static_cast<uint32_t>(tag >> 3);
    switch (tag & 7) {
      case 0:
        field.value = Varint("a number");
        break;
      case 1:
        field.value = reader_.Read<uint64_t>("a 64-bit number");
        break;
      case 2:
        field.is_bytes = true;
        field.bytes = reader_.Take(Varint("a field's length"), "a field");
        break;
      case 5:
        field.value = reader_.Read<uint32_t>("a 32-bit number");
        break;
      default:
        Fail(ErrorCode::kCorrupt, "{}: not a SentencePiece model (wire type {} at byte {})", reader_.name(), tag & 7,
             reader_.position());
    }
    return field;
  }

 private:
  uint64_t Varint(std::string_view what) {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const auto byte = reader_.Read<uint8_t>(what);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    Fail(ErrorCode::kCorrupt, "{}: a number of more than ten bytes at byte {}", reader_.name(), reader_.position());
  }

  ByteReader reader_;
};

void ReadPiece(std::span<const std::byte> bytes, std::string_view name, VocabularyData& data) {
  MessageReader message(bytes, name);
  std::string text;
  float score = 0;
  uint64_t type = static_cast<uint64_t>(TokenType::kNormal);
  while (const auto field = message.Next()) {
    if (field->number == 1 && field->is_bytes) text = field->text();
    if (field->number == 2 && !field->is_bytes) score = field->as_float();
    if (field->number == 3 && !field->is_bytes) type = field->value;
  }
  if (type < 1 || type > 6) Fail(ErrorCode::kCorrupt, "{}: piece {} has type {}", name, data.tokens.size(), type);
  if (data.tokens.size() >= kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: an absurd number of pieces", name);
  data.tokens.push_back(std::move(text));
  data.scores.push_back(score);
  data.types.push_back(static_cast<TokenType>(type));
}

struct Trainer {
  uint64_t model_type = 1;  // 1 unigram, 2 BPE, 3 word, 4 char
  bool space_as_suffix = false;
  int64_t unknown = 0, bos = 1, eos = 2;  // the proto's defaults
};

Trainer ReadTrainer(std::span<const std::byte> bytes, std::string_view name) {
  Trainer trainer;
  MessageReader message(bytes, name);
  while (const auto field = message.Next()) {
    if (field->is_bytes) continue;
    switch (field->number) {
      case 3:
        trainer.model_type = field->value;
        break;
      case 24:
        trainer.space_as_suffix = field->value != 0;
        break;
      case 40:
        trainer.unknown = static_cast<int32_t>(field->value);
        break;
      case 41:
        trainer.bos = static_cast<int32_t>(field->value);
        break;
      case 42:
        trainer.eos = static_cast<int32_t>(field->value);
        break;
      default:
        break;
    }
  }
  return trainer;
}

void ReadNormalizer(std::span<const std::byte> bytes, std::string_view name, VocabularyData& data) {
  MessageReader message(bytes, name);
  bool escapes = true;
  data.remove_extra_whitespaces = true;  // the proto's defaults
  data.add_space_prefix = true;
  while (const auto field = message.Next()) {
    if (field->number == 2 && field->is_bytes && !field->bytes.empty()) {
      Fail(ErrorCode::kUnsupported, "{}: a SentencePiece model with its own character map (nmt_nfkc and the like)",
           name);
    }
    if (field->number == 3) data.add_space_prefix = field->value != 0;
    if (field->number == 4) data.remove_extra_whitespaces = field->value != 0;
    if (field->number == 5) escapes = field->value != 0;
  }
  if (!escapes) data.space_mark = " ";
}

}  // namespace

VocabularyData ReadSentencePiece(std::span<const std::byte> bytes, std::string_view name) {
  VocabularyData data;
  data.kind = VocabularyKind::kSentencePiece;
  data.match_user_defined_after_prefix = true;
  data.remove_extra_whitespaces = true;
  Trainer trainer;
  MessageReader message(bytes, name);
  while (const auto field = message.Next()) {
    if (!field->is_bytes) continue;
    if (field->number == 1) ReadPiece(field->bytes, name, data);
    if (field->number == 2) trainer = ReadTrainer(field->bytes, name);
    if (field->number == 3) ReadNormalizer(field->bytes, name, data);
  }
  if (data.tokens.empty()) Fail(ErrorCode::kCorrupt, "{}: no pieces: not a SentencePiece model", name);
  if (trainer.model_type != 2) {
    constexpr std::string_view kTypes[] = {"", "Unigram", "BPE", "Word", "Char"};
    Fail(ErrorCode::kUnsupported, "{}: a SentencePiece model of type {} (only BPE is supported)", name,
         trainer.model_type < 5 ? kTypes[trainer.model_type] : "unknown");
  }
  if (trainer.space_as_suffix) {
    Fail(ErrorCode::kUnsupported, "{}: a SentencePiece model that marks spaces after words", name);
  }
  const auto id = [&](int64_t value) {
    return value >= 0 && static_cast<size_t>(value) < data.tokens.size() ? std::optional(static_cast<TokenId>(value))
                                                                         : std::nullopt;
  };
  data.unknown = id(trainer.unknown);
  data.bos = id(trainer.bos);
  data.eos = id(trainer.eos);
  return data;
}

}  // namespace edgellm::text
