// See answer_format.h.
#include "serve/answer_format.h"

#include <algorithm>

#include "base/error.h"
#include "constrain/gbnf.h"
#include "constrain/json_schema.h"
#include "constrain/token_matcher.h"

namespace edgellm {
namespace {

/// A matcher behind the engine's interface. A grammar that is too ambiguous to be followed allows nothing.
class MatcherFilter final : public TokenFilter {
 public:
  explicit MatcherFilter(constrain::TokenMatcher matcher) : matcher_(std::move(matcher)) {}

  std::shared_ptr<TokenFilter> Copy() const override { return std::make_shared<MatcherFilter>(*this); }
  bool Allowed(std::span<uint32_t> words) override {
    try {
      if (!failed_ && matcher_.Allowed(words)) return true;
    } catch (const Error&) {
      failed_ = true;
    }
    std::fill(words.begin(), words.end(), 0);
    return false;
  }
  void Accept(int32_t token) override {
    try {
      failed_ = failed_ || !matcher_.Accept(token);
    } catch (const Error&) {
      failed_ = true;
    }
  }
  bool Complete() const override { return !failed_ && (matcher_.ended() || matcher_.may_end()); }

 private:
  constrain::TokenMatcher matcher_;
  bool failed_ = false;
};

}  // namespace

AnswerFormat AnswerFormat::FromOption(const std::string& value) {
  if (value == "json") return {Kind::kJson, ""};
  const size_t begin = value.find_first_not_of(" \t\r\n");
  if (begin != std::string::npos && (value[begin] == '{' || value == "true")) return {Kind::kJsonSchema, value};
  Fail(ErrorCode::kInvalidArgument, "a format must be \"json\" or a JSON schema");
}

constrain::Grammar GrammarOf(const AnswerFormat& format) {
  switch (format.kind) {
    case AnswerFormat::Kind::kJson:
      return constrain::JsonGrammar();
    case AnswerFormat::Kind::kJsonSchema:
      return constrain::CompileJsonSchemaText(format.text);
    case AnswerFormat::Kind::kGrammar:
      break;
  }
  return constrain::ParseGbnf(format.text, "grammar");
}

ConstraintCache::ConstraintCache(const text::Tokenizer& tokenizer, std::vector<int32_t> tags)
    : tokenizer_(tokenizer),
      tags_(std::move(tags)),
      trie_(std::make_shared<const constrain::VocabularyTrie>(tokenizer)) {}

std::shared_ptr<const constrain::TokenConstraint> ConstraintCache::Get(const AnswerFormat& format) {
  const char kind = static_cast<char>('0' + static_cast<int>(format.kind));
  return Get(std::string(1, kind) + format.text, [&] { return GrammarOf(format); });
}

std::shared_ptr<const constrain::TokenConstraint> ConstraintCache::Get(const std::string& key,
                                                                       const std::function<constrain::Grammar()>& make,
                                                                       bool with_tags) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.key == key; });
    if (found != entries_.end()) {
      entries_.splice(entries_.begin(), entries_, found);
      return entries_.front().constraint;
    }
  }
  // Without the lock: a large schema must not keep others waiting. Two that come at once are compiled twice.
  if (with_tags && !tags_.empty()) {
    std::call_once(tags_trie_made_,
                   [&] { tags_trie_ = std::make_shared<const constrain::VocabularyTrie>(tokenizer_, tags_); });
  }
  const auto& trie = with_tags && !tags_.empty() ? tags_trie_ : trie_;
  auto constraint = std::make_shared<const constrain::TokenConstraint>(make(), trie);
  constraint->Prepare();
  const std::lock_guard lock(mutex_);
  entries_.push_front({key, constraint});
  if (entries_.size() > kKept) entries_.pop_back();
  return constraint;
}

std::shared_ptr<TokenFilter> MakeFilter(std::shared_ptr<const constrain::TokenConstraint> constraint,
                                        std::vector<int32_t> stop_tokens, bool at_text_start) {
  return std::make_shared<MatcherFilter>(
      constrain::TokenMatcher(std::move(constraint), std::move(stop_tokens), at_text_start));
}

}  // namespace edgellm
