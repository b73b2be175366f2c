// What an answer must look like (JSON, a JSON schema, a grammar), and how that becomes a filter on the engine's tokens.
// Compiled grammars are kept: a format that comes again with the next request costs nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "constrain/grammar.h"
#include "constrain/token_constraint.h"
#include "engine/token_filter.h"
#include "text/tokenizer.h"

namespace edgellm {

struct AnswerFormat {
  enum class Kind : uint8_t { kJson, kJsonSchema, kGrammar };
  Kind kind = Kind::kJson;
  std::string text;  // kJsonSchema: the schema; kGrammar: GBNF

  /// Ollama's `format`: "json", or the text of a JSON schema. Throws Error(kInvalidArgument) for anything else.
  static AnswerFormat FromOption(const std::string& value);
};

/// The grammar of a format. Throws Error as CompileJsonSchema and ParseGbnf do.
constrain::Grammar GrammarOf(const AnswerFormat& format);

/// Constraints over one tokenizer. Thread-safe.
class ConstraintCache {
 public:
  /// `tags`: special tokens that are text where tools are called. Keeps a reference to `tokenizer`.
  explicit ConstraintCache(const text::Tokenizer& tokenizer, std::vector<int32_t> tags = {});

  /// Throws as GrammarOf and CompileGrammar do.
  std::shared_ptr<const constrain::TokenConstraint> Get(const AnswerFormat& format);
  /// For grammars that are made in other ways: `key` must tell them apart from all others. `with_tags`: the grammar has
  /// tags in it.
  std::shared_ptr<const constrain::TokenConstraint> Get(const std::string& key,
                                                        const std::function<constrain::Grammar()>& make,
                                                        bool with_tags = false);

 private:
  static constexpr size_t kKept = 16;

  struct Entry {
    std::string key;
    std::shared_ptr<const constrain::TokenConstraint> constraint;
  };

  const text::Tokenizer& tokenizer_;
  std::vector<int32_t> tags_;
  std::shared_ptr<const constrain::VocabularyTrie> trie_, tags_trie_;  // tags_trie_: made when it is needed
  std::once_flag tags_trie_made_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // used last first
};

/// A filter for one answer. `at_text_start`: the answer is a text of its own, and no continuation of the prompt's.
std::shared_ptr<TokenFilter> MakeFilter(std::shared_ptr<const constrain::TokenConstraint> constraint,
                                        std::vector<int32_t> stop_tokens, bool at_text_start);

}  // namespace edgellm
