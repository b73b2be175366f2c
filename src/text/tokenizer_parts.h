// A tokenizer as data, as every reader of files hands it over, and the running form that Tokenizer builds from it. The
// rules around the vocabulary are kept in the words of tokenizer.json, whatever file they came from: one language, one
// builder. Internal to text/.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"
#include "text/vocabulary.h"

namespace edgellm::text {

/// Components as JSON texts of tokenizer.json's schema.
struct ComponentTexts {
  std::string normalizer = "null", pre_tokenizer = "null", post_processor = "null", decoder = "null";
};

struct TokenizerParts {
  std::string name;  // opens error texts
  ComponentTexts components;
  Vocabulary
      vocabulary;  // spelled as tokenizer.json spells it: the byte alphabet where the pre-tokeniser is byte-level
  std::vector<Merge> merges;
  std::optional<int32_t> unknown;
  bool byte_fallback = false, fuse_unknown = false, ignore_merges = false;
  std::vector<AddedToken> added;
  std::optional<int32_t> bos,
      eos;  // where the file says; otherwise guessed from the post-processor and well-known spellings
  bool add_bos = false, add_eos = false;  // what PutBosEosAround is to do
  int32_t vocab_size = 0;                 // at least this many ids, though the last ones may have no text
};

/// What Tokenizer runs. Immutable.
struct TokenizerState {
  ComponentTexts components;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  BpeModel model;
  std::vector<AddedToken> added;
  TokenMatcher raw_matcher, normalized_matcher;  // looked for before and after normalising
  Vocabulary texts;                              // what each id decodes to
  std::unordered_map<std::string, int32_t>
      other_spellings;  // added tokens, and those that the byte alphabet cannot spell
  std::vector<bool> special;
  std::vector<int32_t> prefix, suffix;  // what the post-processor puts around a text
  std::optional<int32_t> bos, eos;
  int32_t vocab_size = 0;
  bool strips_leading_space = false;
};

/// Throws Error: kCorrupt, kUnsupported.
std::unique_ptr<const TokenizerState> BuildTokenizer(TokenizerParts parts);

/// The merges that piece scores imply (SentencePiece, tiktoken, llama2.c): any two neighbours whose joined text is a
/// token may join, the best-scored first. `ranks[id]` is the token's place in that order, kNotMergeable where a token
/// takes no part. Splits are tried at code points, or at every byte with `at_bytes`; texts are those of `vocabulary`.
inline constexpr uint32_t kNotMergeable = UINT32_MAX;
std::vector<Merge> MergesFromRanks(const Vocabulary& vocabulary, const std::vector<uint32_t>& ranks, bool at_bytes);

/// Sets a post-processor that puts bos and eos around a text, as far as parts.add_bos and add_eos want them and they
/// are known.
void PutBosEosAround(TokenizerParts& parts);

/// The text of an id in the vocabulary or among the added tokens; empty where it has none.
std::string_view SpellingOf(const TokenizerParts& parts, int32_t id);

struct VocabularyData;
/// Tokenizer::FromVocabulary up to the post-processor, which PutBosEosAround sets.
TokenizerParts PartsFromVocabulary(const VocabularyData& data, std::string_view name);

}  // namespace edgellm::text
