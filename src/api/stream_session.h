// /v1/stream: a WebSocket on which a conversation is held, turn by turn. The server keeps the conversation, so that a
// turn sends its new messages alone; the keys and values of what was said before are found in the prefix cache. One
// answer at a time; it can be cancelled; what goes wrong is said and leaves the session as it was.
//
// To the server:   {"type": "generate", "model", "messages", …}  fields as of /v1/chat/completions; "reset": true
// forgets
//                                                                what was said; "id" comes back with all of its answer
//                  {"type": "cancel"}
// From the server: {"type": "start", "prompt_tokens", "context", …}, {"type": "delta", "content", …} …,
//                  {"type": "end", "finish_reason", "usage", "statistics"}; or {"type": "error", "error": {…}}
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "api/openai_request.h"
#include "api/services.h"
#include "http/exchange.h"

namespace edgellm::api {

struct StreamMessage {
  enum class Kind : uint8_t { kGenerate, kCancel };
  Kind kind = Kind::kGenerate;
  std::string id;      // the client's own, or empty
  bool reset = false;  // forget the conversation
  OpenAiAsk ask;       // kGenerate
};

/// `model`: the session's, where the message names none. Throws RequestError.
StreamMessage ParseStreamMessage(std::string_view text, const std::string& model);

std::unique_ptr<http::WebSocketListener> MakeStreamSession(ServicesPointer services,
                                                           std::shared_ptr<http::WebSocket> socket);

}  // namespace edgellm::api
