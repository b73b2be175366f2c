// JSON as grammar: the parts that schemas are compiled to. Each part is one rule however often it is used. What is
// produced is a subset of RFC 8259 that every reader takes:
//   white space   bounded: see JsonStyle
//   strings       any UTF-8; escapes as the RFC has them, but no lone surrogates
//   numbers       at most 18 digits before the point and 18 after it, exponents of at most two digits; no "-0"
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "constrain/grammar.h"

namespace edgellm::constrain {

struct JsonStyle {
  /// kCompact: none. kBounded: after { [ and , and before ] and }: nothing, a space, or a newline and up to kMaxIndent
  /// spaces or kMaxTabs tabs; after : nothing or a space; nowhere else, so that no model loops on it.
  enum class WhiteSpace : uint8_t { kCompact, kBounded };
  WhiteSpace white_space = WhiteSpace::kBounded;
};

/// Adds rules to one grammar, which must outlive it.
class JsonParts {
 public:
  static constexpr int kMaxIndent = 24;
  static constexpr int kMaxTabs = 8;
  static constexpr int64_t kLargestInteger = 999'999'999'999'999'999;  // 18 digits: as int64 and in every reader

  JsonParts(Grammar* grammar, const JsonStyle& style) : grammar_(*grammar), style_(style) {}

  Grammar& grammar() { return grammar_; }

  ExpressionId Value();
  ExpressionId Object();  // any
  ExpressionId Array();   // any
  ExpressionId String();  // any
  /// Of `minimum` to `maximum` code points (kUnlimited: no limit).
  ExpressionId String(int minimum, int maximum);
  ExpressionId Number();
  ExpressionId Integer();
  /// low <= high, both within kLargestInteger.
  ExpressionId Integer(int64_t low, int64_t high);
  ExpressionId Boolean();
  ExpressionId Null();
  /// Exactly this value, members in the order given.
  ExpressionId Constant(const nlohmann::ordered_json& value);

  /// {members}: each a Member or a key and a value.
  ExpressionId ObjectOf(std::vector<JoinItem> members);
  /// `key` is a whole string, quotes included.
  ExpressionId Member(ExpressionId key, ExpressionId value);
  /// [elements]
  ExpressionId ArrayOf(std::vector<JoinItem> elements);
  /// [elements], where `elements` matches one or more with Comma() between them, or with `may_be_empty` none.
  ExpressionId ArrayAround(ExpressionId elements, bool may_be_empty);
  ExpressionId Comma();

  /// A string that is none of `names`, spelled without escapes that are not needed.
  /// Throws Error(kLimit) for a name of more than 200 code points.
  ExpressionId StringExcept(const std::vector<std::string>& names);
  /// One code point of `ranges` inside a string's quotes, spelled the shortest way.
  ExpressionId Spelled(const std::vector<CodePointRange>& ranges);
  /// Any code point, spelled so.
  ExpressionId AnySpelled();

 private:
  template <typename Make>
  ExpressionId Once(const std::string& name, const Make& make);
  ExpressionId Space();
  ExpressionId Character();
  ExpressionId Digits(const std::string& low, const std::string& high);
  ExpressionId Natural(int64_t low, int64_t high);
  ExpressionId Except(const std::vector<std::u32string>& names, size_t depth);

  Grammar& grammar_;
  JsonStyle style_;
  std::map<std::string, RuleId> rules_;
};

/// JSON mode: the whole text is one object, or any value.
enum class JsonRoot : uint8_t { kObject, kValue };
Grammar JsonGrammar(JsonRoot root = JsonRoot::kObject, const JsonStyle& style = {});

}  // namespace edgellm::constrain
