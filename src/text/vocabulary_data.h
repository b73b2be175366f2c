// A vocabulary in memory, as model files other than tokenizer.json carry it: GGUF's metadata, a SentencePiece model,
// tiktoken ranks, llama2.c's tok.bin. Their readers fill it; Tokenizer::FromVocabulary makes a tokenizer of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace edgellm::text {

enum class VocabularyKind {
  kSentencePiece,  // code points, scores, byte tokens "<0x0A>", ▁ for a space: GGUF "llama"
  kByteLevel,      // the printable byte alphabet, merges: GGUF "gpt2"
  kByteRanks,      // raw bytes, the lowest id joins first: tiktoken
};

/// Types as SentencePiece and GGUF number them.
enum class TokenType : int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // special: "<s>"
  kUserDefined = 4,  // always one token, but a word like any other
  kUnused = 5,
  kByte = 6,
};

struct VocabularyData {
  VocabularyKind kind = VocabularyKind::kSentencePiece;
  std::string pre_tokenizer = "default";  // GGUF's tokenizer.ggml.pre; of no meaning to kSentencePiece
  std::vector<std::string> tokens;        // by id; empty: no token
  std::vector<float> scores;              // kSentencePiece: one a token
  std::vector<TokenType> types;           // one a token, or none: all normal
  std::vector<std::string> merges;        // kByteLevel: "left right", first joins first
  std::optional<TokenId> bos, eos, unknown;

  // Where absent, what the kind (and for kByteLevel the pre-tokeniser's name) implies, as GGUF's readers have it.
  std::optional<bool> add_bos, add_eos;
  std::optional<bool> add_space_prefix;  // a space before the first word
  bool remove_extra_whitespaces = false;
  std::string space_mark = "\u2581";             // how tokens of kSentencePiece spell a space
  bool match_user_defined_after_prefix = false;  // as SentencePiece itself: user-defined tokens see the added space
};

/// GGUF's tokenizer.ggml.model. Throws Error(kUnsupported) for any but "llama" and "gpt2".
VocabularyKind VocabularyKindOfGguf(std::string_view model);

}  // namespace edgellm::text
