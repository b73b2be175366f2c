// What a chat template sees: messages and settings as the JSON that templates of the usual models expect.
#pragma once

#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "serve/generate.h"

namespace edgellm {

/// How a template wants the arguments of earlier tool calls: most as an object, some as its text.
enum class ArgumentsForm : uint8_t { kObject, kText };

struct ContextOptions {
  ArgumentsForm arguments = ArgumentsForm::kObject;
  bool null_content = false;  // a message that only calls tools has no content, rather than an empty one
  bool short_ids = false;     // of calls: the template takes nine letters and digits only (Mistral's)
  std::string bos, eos;       // spellings
  std::string continuation;   // not empty: put behind the last message, which is to be continued
};

/// Throws Error(kInvalidArgument) for arguments that are no JSON object and tools of another form than ChatInput's.
nlohmann::ordered_json ChatContext(const ChatInput& chat, const std::vector<const ChatMessage*>& messages,
                                   const ContextOptions& options);

/// The tools that the template may show: none with tool_choice none.
bool ShowsTools(const ChatInput& chat);

/// Throws Error(kInvalidArgument) where tools are not as ChatInput has them, and for a choice that is none of them.
void CheckTools(const ChatInput& chat);

}  // namespace edgellm
