// The verbs that talk to a running server: where it is, and what it answers.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace edgellm::app {

/// "http://127.0.0.1:11434", or what EDGELLM_HOST or OLLAMA_HOST say; a server that listens everywhere is asked on this
/// machine. Throws Error(kInvalidArgument).
std::string ServerOrigin();

/// Asks the server of ServerOrigin, with the key of EDGELLM_API_KEY where there is one; `body` null: a GET. The answer
/// is an object. Throws Error(kIo) where no server answers, and what the server says went wrong.
nlohmann::ordered_json AskServer(const std::string& path, const nlohmann::ordered_json* body);

}  // namespace edgellm::app
