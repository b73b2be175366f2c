// The regular expressions of tokenizer files, run by PCRE2 (JIT where the machine allows it) under limits. The files'
// dialect is that of Rust's and Oniguruma's engines; where PCRE2 differs, the pattern is translated, or refused.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace edgellm::text {

/// Thread-safe once built.
class RegularExpression {
 public:
  /// Throws Error(kUnsupported) where PCRE2 does not take the pattern; `name` opens the text.
  RegularExpression(std::string_view pattern, std::string_view name);
  RegularExpression(RegularExpression&&) noexcept;
  RegularExpression& operator=(RegularExpression&&) noexcept;
  ~RegularExpression();

  struct Match {
    size_t begin, end;
  };
  enum class Result { kMatch, kNone, kGaveUp };  // kGaveUp: a limit was reached; nothing is known about the rest

  /// Searches one text, which must be well-formed UTF-8 and outlive the object. Not thread-safe itself.
  class Search {
   public:
    explicit Search(const RegularExpression& expression);
    ~Search();
    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;
    /// The first match in `text` at or after `from`; what stands before `from` is seen by lookbehinds.
    Result Next(std::string_view text, size_t from, Match& match);

   private:
    struct State;
    std::unique_ptr<State> state_;
  };

 private:
  struct Code;
  std::unique_ptr<const Code> code_;
};

/// The pattern as PCRE2 must see it (exposed for tests). `\s` becomes Unicode's White_Space: PCRE2 counts U+180E as a
/// space, which Unicode has not done since 6.3. Throws Error(kUnsupported) for class intersections (`&&`).
std::string TranslatePattern(std::string_view pattern, std::string_view name);

}  // namespace edgellm::text
