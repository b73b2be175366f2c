// Tokenizers small enough to stand in the source, so that something is tested wherever the shared data is absent.
#pragma once

#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "text/byte_alphabet.h"
#include "text/tokenizer.h"

namespace edgellm::text {

/// A byte-level tokenizer.json as GPT-2's: ids 0 … 255 are the bytes, then the merges' results in order, then the
/// special token <|end|> and the plain added token <tool>.
inline nlohmann::json SmallByteLevelJson() {
  nlohmann::json vocabulary = nlohmann::json::object(), merges = nlohmann::json::array();
  for (int byte = 0; byte < 256; ++byte) {
    const char character = static_cast<char>(byte);
    vocabulary[SpellBytes({&character, 1})] = byte;
  }
  for (const auto& [left, right] : std::vector<std::pair<std::string, std::string>>{{"l", "l"},
                                                                                    {"h", "e"},
                                                                                    {"he", "ll"},
                                                                                    {"hell", "o"},
                                                                                    {"Ġ", "w"},
                                                                                    {"o", "r"},
                                                                                    {"Ġw", "or"},
                                                                                    {"a", "a"},
                                                                                    {"aa", "aa"}}) {
    merges.push_back(left + " " + right);
    vocabulary[left + right] = vocabulary.size();
  }
  const int special = static_cast<int>(vocabulary.size());
  return {{"version", "1.0"},
          {"added_tokens",
           {{{"id", special}, {"content", "<|end|>"}, {"special", true}, {"normalized", false}},
            {{"id", special + 1}, {"content", "<tool>"}, {"special", false}, {"normalized", false}}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"post_processor", nullptr},
          {"decoder", {{"type", "ByteLevel"}}},
          {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

/// A SentencePiece-style vocabulary: <unk> <s> </s>, 256 bytes, then pieces with falling scores.
struct SmallPieces {
  std::vector<std::string> texts = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores = {0, 0, 0};
  std::vector<int> types = {2, 3, 3};
  explicit SmallPieces(const std::string& space) {
    for (int byte = 0; byte < 256; ++byte) Add(fmt::format("<0x{:02X}>", byte), 0, 6);
    float score = 0;
    for (const char* piece : {"_h", "el", "_hel", "lo", "_hello", "_w", "or", "_wor", "ld", "_", "h", "e", "l", "o",
                              "w", "r", "d", "\u00e9"}) {
      std::string text = piece;
      if (text[0] == '_') text = space + text.substr(1);
      Add(text, score, 1);
      score -= 1;
    }
  }
  void Add(std::string text, float score, int type) {
    texts.push_back(std::move(text));
    scores.push_back(score);
    types.push_back(type);
  }
};

inline void PutVarint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<char>(value | 0x80));
  out.push_back(static_cast<char>(value));
}

inline void PutBytes(std::string& out, int field, const std::string& bytes) {
  PutVarint(out, static_cast<uint64_t>(field) << 3 | 2);
  PutVarint(out, bytes.size());
  out += bytes;
}

inline void PutNumber(std::string& out, int field, uint64_t value) {
  PutVarint(out, static_cast<uint64_t>(field) << 3);
  PutVarint(out, value);
}

/// The bytes of a SentencePiece tokenizer.model.
inline std::string SentencePieceBytes(const SmallPieces& pieces, uint64_t model_type = 2, bool dummy_prefix = true,
                                      bool remove_extra = false) {
  std::string out;
  for (size_t i = 0; i < pieces.texts.size(); ++i) {
    std::string piece;
    PutBytes(piece, 1, pieces.texts[i]);
    PutVarint(piece, 2 << 3 | 5);
    piece.append(reinterpret_cast<const char*>(&pieces.scores[i]), 4);
    PutNumber(piece, 3, static_cast<uint64_t>(pieces.types[i]));
    PutBytes(out, 1, piece);
  }
  std::string trainer, normalizer;
  PutNumber(trainer, 3, model_type);
  PutBytes(out, 2, trainer);
  PutNumber(normalizer, 3, dummy_prefix);
  PutNumber(normalizer, 4, remove_extra);
  PutBytes(out, 3, normalizer);
  return out;
}

/// The bytes of a llama2.c tok.bin.
inline std::string Llama2cBytes(const SmallPieces& pieces) {
  const int32_t longest = 16;
  std::string out(reinterpret_cast<const char*>(&longest), 4);
  for (size_t i = 0; i < pieces.texts.size(); ++i) {
    const auto length = static_cast<int32_t>(pieces.texts[i].size());
    out.append(reinterpret_cast<const char*>(&pieces.scores[i]), 4);
    out.append(reinterpret_cast<const char*>(&length), 4);
    out += pieces.texts[i];
  }
  return out;
}

}  // namespace edgellm::text
