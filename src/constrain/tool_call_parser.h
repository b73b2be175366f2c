// Separates the stream of an answer's text into content and tool calls. What looks like a call and is none (broken
// JSON, no name, a function that was not offered) is content, every byte of it; nothing is guessed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "constrain/tool_calls.h"

namespace edgellm::constrain {

struct ToolCall {
  int index = 0;        // of this answer, from 0
  std::string id = {};  // "call_" and 24 letters and digits; 9 of them alone where Mistral's templates need that
  std::string name = {};
  std::string arguments = {};  // JSON text of an object
};

struct ToolCallOutput {
  std::string content;
  std::vector<ToolCall> calls;
};

struct ToolCallOptions {
  std::vector<std::string> names;  // of the functions on offer; none: any name is taken for one
  uint64_t seed = 0;               // ids are a function of it: choose it anew for each answer
};

class ToolCallParser {
 public:
  ToolCallParser(ToolCallFamily family, ToolCallOptions options);

  /// What became certain with `piece` (whole UTF-8): a tag that begins is held back, white space before one is dropped.
  ToolCallOutput Push(std::string_view piece);

  /// The rest. A call whose closing tag is missing counts; one whose JSON is incomplete is content.
  ToolCallOutput Finish();

  int calls() const { return calls_; }

 private:
  enum class State : uint8_t {
    kStart,    // Llama 3: nothing but white space so far
    kContent,  // text; a tag may begin
    kHead,     // Mistral: after the tag, before the JSON
    kObject,   // in or before the JSON of a call
    kClose,    // after it: white space, the closing tag; in a list the comma or the bracket
  };

  void Run(bool at_end, ToolCallOutput* output);
  bool RunStart(bool at_end, ToolCallOutput* output);
  bool RunContent(bool at_end, ToolCallOutput* output);
  bool RunHead(bool at_end, ToolCallOutput* output);
  bool RunObject(bool at_end, ToolCallOutput* output);
  bool RunClose(bool at_end);
  bool RunNext(bool at_end);
  void Enter(size_t begin);
  bool CloseMayBegin(bool at_end) const;
  /// What is held back is no call, as far as `end`; what follows is looked at again.
  bool GiveUpCall(size_t end, ToolCallOutput* output);
  /// What is held back is content up to `end`; what follows is looked at again.
  void GiveUp(size_t end, ToolCallOutput* output);
  bool ReadCall(std::string_view json, ToolCallOutput* output);
  bool TakeCall(const std::string& name, nlohmann::ordered_json arguments, ToolCallOutput* output);

  ToolCallFamily family_;
  std::string_view open_, close_;  // tags; empty: none
  ToolCallOptions options_;
  State state_;
  std::string held_;    // text that is not decided yet
  size_t opened_ = 0;   // kObject: where the JSON may begin in held_
  size_t scanned_ = 0;  // kObject: how far held_ was scanned
  int depth_ = 0;       // kObject: open braces and brackets
  bool in_string_ = false, escaped_ = false;
  bool in_list_ = false;  // Mistral: kObject is an element
  std::string name_;      // Mistral: of the call whose arguments kObject reads; empty: the JSON has it
  int calls_ = 0;
};

}  // namespace edgellm::constrain
