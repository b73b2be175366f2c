// The neutral middle between wire formats and the engine: what is asked for in messages and text, and what comes back,
// piece by piece. Every API is a translation to and from these types; none of them knows another's.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "constrain/tool_call_parser.h"
#include "engine/request.h"
#include "serve/generate_options.h"

namespace edgellm {

struct ChatMessage {
  std::string role = {};  // system, user, assistant, tool, or whatever else the template knows
  std::string content = {};
  std::string thinking = {};                         // of an assistant
  std::vector<constrain::ToolCall> tool_calls = {};  // of an assistant
  std::string tool_name = {}, tool_call_id = {};     // of a tool's result
};

struct ToolChoice {
  enum class Kind : uint8_t { kAuto, kNone, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name = {};  // kNamed: the function that must be called
};

/// A conversation. When its last message is an assistant's, the answer continues that message.
struct ChatInput {
  std::vector<ChatMessage> messages = {};
  nlohmann::ordered_json tools = nullptr;  // null, or an array of {"type": "function", "function": {name, description,
                                           // parameters}}, as templates expect it
  ToolChoice tool_choice = {};
  bool parallel_tool_calls = true;
  std::optional<bool> think = {};                 // absent: as the template does by itself
  std::optional<std::string> chat_template = {};  // instead of the model's
};

/// Text to be continued, as it is. `suffix`: what comes after the gap, for models that can fill one.
struct TextInput {
  std::string text = {};
  std::string suffix = {};
  bool special_tokens =
      true;  // texts of special tokens are those tokens, and BOS is put before where the model wants it
};

struct TokenInput {
  std::vector<int32_t> tokens;
};

struct GenerateRequest {
  std::variant<ChatInput, TextInput, TokenInput> input;
  GenerateOptions options;
  /// Where the prompt does not fit: true drops the oldest messages (never a system message, never the last) or the
  /// beginning of a text, and says so in PromptFacts; false throws Error(kLimit) with the numbers.
  bool truncate = false;
  Priority priority = Priority::kNormal;
  double deadline = 0;     // as Request
  std::string cache_salt;  // as Request
};

/// What became of the prompt; known before the first piece.
struct PromptFacts {
  int tokens = 0;
  int dropped_messages = 0, dropped_tokens = 0;  // by `truncate`
  int context = 0;                               // positions of the model's context
};

struct TokenFacts {
  int32_t id = -1;
  std::string bytes;  // its text; single tokens need not be whole UTF-8
  float log_probability = 0;
  struct Alternative {
    int32_t id = -1;
    std::string bytes;
    float log_probability = 0;
  };
  std::vector<Alternative> likeliest;
};

/// What became certain with some tokens of one answer. Content and thinking are whole UTF-8 and never hold a part of a
/// stop string, of a tool call or of a thinking tag.
struct AnswerPiece {
  int sample = 0;
  std::string content, thinking;
  std::vector<constrain::ToolCall> tool_calls;
  std::vector<TokenFacts> tokens;  // where log-probabilities were asked for: every token since the last piece
  bool prompt = false;             // `tokens` are the prompt's
};

struct AnswerEnd {
  int sample = 0;
  enum class Reason : uint8_t { kStop, kLength, kContextFull, kToolCalls, kCancelled, kFailed, kDeadEnd };
  Reason reason = Reason::kStop;
  std::string stop_string;  // kStop: the one that came, empty when the model ended by itself
  std::string failure;      // kFailed, kDeadEnd: why, for people
  uint64_t seed = 0;
  RequestStatistics statistics;
  std::vector<int32_t> tokens;  // of the answer, in order
};

/// Who listens to the answers of one request: calls come one after the other from one thread, `ended` once for each
/// sample, last. They must not block: other answers wait behind them.
struct AnswerListener {
  std::function<void(const AnswerPiece&)> piece;
  std::function<void(const AnswerEnd&)> ended;
};

}  // namespace edgellm
