// Prompts: from messages, text or ids to the ids that the engine reads. Here is the one place that fills a chat
// template's context, decides what is left out where a prompt does not fit, and knows how a gap is filled in. It makes
// no answers.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "constrain/tool_calls.h"
#include "model/model.h"
#include "serve/generate.h"
#include "serve/thinking.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace edgellm {

/// A prompt, and how its answer begins.
struct MadePrompt {
  std::vector<int32_t> tokens;
  PromptFacts facts;
  bool stands_alone =
      false;  // the answer is a text of its own (a chat's answer); false: it continues the prompt's text
  Thinking thinking = Thinking::kNone;
  constrain::ToolCallFamily family = constrain::ToolCallFamily::kNone;  // of the template; kNone where there is none
  std::vector<int32_t> stop_tokens = {};                                // beside the model's: what ends a filled gap
};

/// Immutable, thread-safe.
class PromptMaker {
 public:
  /// `tokenizer` may be null, and `model.chat_template` broken: that is said when it is needed. `context`: positions.
  /// Keeps references to both.
  PromptMaker(const Model& model, const text::Tokenizer* tokenizer, int context);
  ~PromptMaker();

  /// Leaves room for one token of the answer at least. With `truncate`, once something must go so much goes that
  /// max_tokens (256 where it says nothing), but at most a quarter of the context, are left for the answer: whole turns
  /// first, the oldest first.
  /// Throws Error: kInvalidArgument (messages, tools or ids that make no sense; what the template itself refuses),
  /// kUnsupported (no template, tools or thinking that it does not have, no gaps), kLimit (does not fit, with numbers).
  MadePrompt Make(const GenerateRequest& request) const;

  /// The text of the whole prompt, however long. Throws as Make.
  std::string Render(const GenerateRequest& request) const;

  bool has_chat_template() const { return !model_.chat_template.empty(); }
  bool supports_tools() const { return family_ != constrain::ToolCallFamily::kNone; }
  bool supports_thinking() const { return thinks_; }
  /// Throws Error(kUnsupported) when the model came without one.
  const text::Tokenizer& tokenizer() const;

 private:
  struct ChatForm;
  struct Rendering;
  struct GapTokens;

  std::shared_ptr<const ChatForm> FormOf(const ChatInput& chat) const;
  Rendering RenderChat(const ChatForm& form, const ChatInput& chat, size_t dropped) const;
  std::vector<int32_t> EncodeChat(const Rendering& rendering) const;
  MadePrompt MakeChat(const ChatInput& chat, const GenerateRequest& request) const;
  MadePrompt MakeText(const TextInput& input, const GenerateRequest& request) const;
  MadePrompt MakeTokens(const TokenInput& input, const GenerateRequest& request) const;
  GapTokens FindGapTokens() const;
  void CutFront(MadePrompt* prompt, const GenerateRequest& request, size_t kept_front) const;
  /// Tokens that may stand in the prompt where something was dropped.
  int Room(const GenerateRequest& request) const;
  [[noreturn]] void FailLength(size_t tokens) const;
  bool Fits(size_t tokens) const { return tokens < static_cast<size_t>(context_); }

  const Model& model_;
  const text::Tokenizer* tokenizer_;
  int context_;
  std::shared_ptr<const ChatForm> form_;  // null: none, or broken
  std::string broken_;                    // why
  ErrorCode broken_code_ = ErrorCode::kCorrupt;
  constrain::ToolCallFamily family_ = constrain::ToolCallFamily::kNone;
  bool thinks_ = false;
};

}  // namespace edgellm
