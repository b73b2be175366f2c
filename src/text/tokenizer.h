// Text to token ids and back. What a tokenizer does (vocabulary, merges, pre-tokeniser, normaliser, added tokens) is
// data read from a file; this class runs it. It knows no model and no chat format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm::text {

using TokenId = int32_t;

struct EncodeOptions {
  bool add_special = true;  // add what the tokenizer itself puts around a text (a BOS, an EOS), where it does
  bool parse_special =
      true;  // spell out of a special token ("<|im_end|>") becomes that token; off: it stays plain text
};

struct TokenizerState;  // tokenizer_parts.h: internal to text/
struct VocabularyData;  // vocabulary_data.h

/// Thread-safe once built: every method is const and keeps no state.
class Tokenizer {
 public:
  /// From the text of a Hugging Face tokenizer.json, or of this class's own ToJson(). `name` opens error texts.
  /// Throws Error: kCorrupt (broken or contradictory), kUnsupported (a component that is not implemented, by name).
  static Tokenizer FromJson(std::string_view json, std::string_view name);

  /// From what lies at `path`: a folder (tokenizer.json, else tokenizer.model, else vocab.json + merges.txt or
  /// encoder.json + vocab.bpe, with tokenizer_config.json's additions), or one such file: tokenizer.json, a
  /// SentencePiece or tiktoken tokenizer.model, llama2.c's tok*.bin. (GGUF vocabularies are read by convert/ and come
  /// in by FromVocabulary.)
  static Tokenizer FromPath(const std::filesystem::path& path);

  /// From a vocabulary in memory, as a GGUF file's metadata holds it. `name` opens error texts.
  static Tokenizer FromVocabulary(const VocabularyData& data, std::string_view name);

  explicit Tokenizer(std::unique_ptr<const TokenizerState> state);
  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  /// Any bytes are accepted; ill-formed UTF-8 is replaced by U+FFFD first.
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;

  /// The bytes of one token in running text (no special treatment of the first one); empty for ids without text.
  /// Special tokens give their spelling only if `spell_special`.
  std::string_view TokenBytes(TokenId id, bool spell_special) const;

  /// The text of a sequence. Special tokens are left out unless `spell_special`.
  std::string Decode(std::span<const TokenId> ids, bool spell_special = false) const;

  int vocab_size() const;                                        // one past the highest id
  std::optional<TokenId> Find(std::string_view spelling) const;  // by exact spelling as the file gives it
  bool IsSpecial(TokenId id) const;
  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  bool adds_bos() const;  // Encode puts bos() first when add_special
  /// Decoding removes one leading space of a text (SentencePiece models that put one before the first word).
  bool strips_leading_space() const;

  /// A tokenizer.json from which FromJson builds an equal tokenizer; how model files carry it.
  std::string ToJson() const;

 private:
  std::unique_ptr<const TokenizerState> state_;
};

}  // namespace edgellm::text
