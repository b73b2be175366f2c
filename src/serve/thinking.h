// The thinking part of an answer, which models like Qwen3 and DeepSeek-R1 write before what they say, between two tags:
// which templates have one, taking it out of a stream of text, and a grammar that begins after it. Knows no tokens.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "constrain/grammar.h"

namespace edgellm {

inline constexpr std::string_view kThinkOpen = "<think>";
inline constexpr std::string_view kThinkClose = "</think>";

/// From the source of a chat template: it writes thinking parts, or takes them out of earlier answers.
bool HasThinking(std::string_view chat_template);

/// Where an answer stands when it begins. kMayOpen: a thinking part can come first. kOpen: the prompt has opened one.
enum class Thinking : uint8_t { kNone, kMayOpen, kOpen };

/// Separates thinking and content; white space around the tags belongs to neither. Only what comes first can be a
/// thinking part: a tag later on is text.
class ThinkingSplitter {
 public:
  explicit ThinkingSplitter(Thinking begin);

  /// Appends what became certain with `piece` (whole UTF-8): a tag that begins is held back.
  void Push(std::string_view piece, std::string* thinking, std::string* content);
  /// The rest. A thinking part whose closing tag is missing is one nevertheless.
  void Finish(std::string* thinking, std::string* content);

 private:
  enum class State : uint8_t { kStart, kThinking, kAfter, kContent };

  State state_;
  bool skip_space_ = false;  // right after the opening tag
  std::string held_;
};

/// `grammar` after a thinking part (kMayOpen: which may be missing) and up to two newlines. The part is any text up to
/// the closing tag. With kNone, `grammar` itself.
constrain::Grammar AfterThinking(constrain::Grammar grammar, Thinking begin);

}  // namespace edgellm
