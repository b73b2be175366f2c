// What happens to a text before it is cut into pieces: Unicode normal forms, replacements, the space before the first
// word. Built from the "normalizer" of a tokenizer.json. Keeps no offsets into the original text: nobody here needs
// them.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/regular_expression.h"

namespace edgellm::text {

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

/// `text` (well-formed) in a Unicode normal form. Linear in the text, however many combining marks follow one another.
std::string Normalize(std::string_view text, NormalForm form);

class Normalizer {
 public:
  Normalizer() = default;
  /// Throws Error: kCorrupt, kUnsupported (by name of the component).
  Normalizer(const nlohmann::json& config, std::string_view name);

  bool empty() const { return steps_.empty(); }

  /// `text` must be well-formed UTF-8, and so is the result. Throws Error(kLimit) where replacements swell a text
  /// beyond use.
  std::string Apply(std::string_view text) const;

 private:
  struct Prepend {
    std::string text;
  };
  struct ReplaceText {
    std::string pattern, content;
  };
  struct ReplaceMatches {
    RegularExpression pattern;
    std::string content;
  };
  struct Lowercase {};
  struct Strip {
    bool left, right;
  };
  using Step = std::variant<NormalForm, Prepend, ReplaceText, ReplaceMatches, Lowercase, Strip>;
  static std::string Run(const Step& step, std::string text);

  std::vector<Step> steps_;
};

/// Replaces every occurrence of `pattern`, which is not empty.
std::string ReplaceAll(std::string_view text, std::string_view pattern, std::string_view content);

/// Unicode's White_Space.
bool IsWhiteSpace(char32_t code_point);

}  // namespace edgellm::text
