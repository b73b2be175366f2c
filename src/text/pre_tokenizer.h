// Cuts a normalised text into the pieces that are encoded one by one. Built from the "pre_tokenizer" of a
// tokenizer.json. Every kind of splitter is reduced to a regular expression and what to do with its matches.
#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/regular_expression.h"

namespace edgellm::text {

/// Pieces of a text; they refer to it, or to `altered` where a step changed them.
struct Pieces {
  std::vector<std::string_view> list, scratch;
  std::deque<std::string> altered;
};

class PreTokenizer {
 public:
  PreTokenizer() = default;
  /// Throws Error: kCorrupt, kUnsupported (by name of the component).
  PreTokenizer(const nlohmann::json& config, std::string_view name);

  /// The vocabulary is spelled in the byte alphabet.
  bool byte_level() const { return byte_level_; }

  /// `text` is well-formed UTF-8. Joined, the pieces are the text, but for what a step adds or is told to remove.
  void Run(std::string_view text, bool at_text_start, Pieces& pieces) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  struct Split {
    RegularExpression pattern;
    Behavior behavior;
    bool invert;
  };
  struct PrefixSpace {};  // a space before each piece that has none
  struct SpaceMark {      // Metaspace: spaces become a mark; one stands before the text; pieces begin at marks
    std::string mark;
    enum Where { kNever, kFirst, kAlways } prepend;
    bool split;
  };
  using Step = std::variant<Split, PrefixSpace, SpaceMark>;
  void Add(const std::string& type, const nlohmann::json& part, std::string_view name);
  void AddSplit(std::string_view pattern, Behavior behavior, bool invert, std::string_view name);
  static Behavior ReadBehavior(const nlohmann::json& part, std::string_view name);
  static void Apply(const Split& split, Pieces& pieces);
  static void Apply(const SpaceMark& mark, bool at_text_start, Pieces& pieces);

  std::vector<Step> steps_;
  bool byte_level_ = false;
};

}  // namespace edgellm::text
