// From the tokens of one answer to what people see: whole UTF-8, cut at stop strings, with the thinking part and tool
// calls taken out. Pure: no thread, no engine; the same tokens give the same text however they come.
//
// In this order: tokens → text → stop strings → thinking part → tool calls, of what is not thinking. A stop string so
// counts wherever the model writes it, in its thinking and in a call too, as it does with the peers.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "constrain/tool_call_parser.h"
#include "plan/sampling.h"
#include "serve/generate.h"
#include "serve/stop_matcher.h"
#include "serve/thinking.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace edgellm {

struct AnswerStreamOptions {
  bool at_text_start = true;           // a text of its own: no continuation of the prompt's
  std::vector<std::string> stop = {};  // UTF-8, not empty
  Thinking thinking = Thinking::kNone;
  constrain::ToolCallFamily tools = constrain::ToolCallFamily::kNone;  // kNone: calls are not looked for
  constrain::ToolCallOptions tool_options = {};
  bool one_call = false;              // the answer ends with its first call
  std::vector<int32_t> spelled = {};  // special tokens that are text here: tags that some tokenizers hold for special
  bool token_facts = false;           // tell each token with its log-probability
};

/// The special tokens among a tokenizer's that spell a tag which this stream looks for.
std::vector<int32_t> SpelledTags(const text::Tokenizer& tokenizer);

class AnswerStream {
 public:
  /// Keeps a reference to `tokenizer`. Throws Error as StopMatcher.
  AnswerStream(const text::Tokenizer& tokenizer, AnswerStreamOptions options);

  struct Token {
    int32_t id = -1;
    float log_probability = 0;
    std::span<const TokenLogProbability> likeliest = {};
  };

  /// Appends to `piece` what became certain. Facts of a token come when its text has.
  void Push(const Token& token, AnswerPiece* piece);
  /// The rest.
  void Finish(AnswerPiece* piece);

  /// Nothing can come any more, whatever is pushed: a stop string has come, or the one call.
  bool ended() const { return ended_; }
  const std::string& stop_string() const { return stops_.stop(); }
  int calls() const { return calls_; }
  /// All that were pushed before it ended, with those whose text a stop string swallowed.
  const std::vector<int32_t>& tokens() const { return tokens_; }
  /// For whoever needs facts of tokens that are no part of the answer.
  static TokenFacts FactsOf(const text::Tokenizer& tokenizer, const Token& token);

 private:
  struct Waiting {
    TokenFacts facts;
    size_t begin = 0, end = 0;  // of its text in all text
  };

  void Take(const std::string& text, AnswerPiece* piece);
  void TakeContent(std::string_view content, AnswerPiece* piece);
  void TakeParsed(constrain::ToolCallOutput output, AnswerPiece* piece);
  bool call_ends_it() const { return options_.one_call && calls_ > 0; }
  void TellTokens(bool finished, AnswerPiece* piece);

  const text::Tokenizer* tokenizer_;
  AnswerStreamOptions options_;
  text::StreamDecoder decoder_;
  StopMatcher stops_;
  ThinkingSplitter thinking_;
  std::optional<constrain::ToolCallParser> parser_;
  std::vector<int32_t> tokens_;
  std::deque<Waiting> waiting_;
  size_t decoded_ = 0, certain_ = 0;  // bytes of text: made of tokens; let through by the stop strings
  int calls_ = 0;
  bool ended_ = false;
};

}  // namespace edgellm
