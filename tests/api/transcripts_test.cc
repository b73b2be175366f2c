// Transcripts of every route: what a client sends, what is asked of the model for it, and, byte for byte, what comes
// back for what the model says. tests/api/transcripts/*.json, each with
//   path, request     what is sent
//   says              what the model says: pieces {"content", "thinking", "calls", "tokens", "sample", "prompt"}, and
//   at
//                     last, where it is not an ordinary one, the end {"end": reason, …}
//   loaded, asked     what the model's host and the model were asked, without what is as always
//   status, type, answer   what comes back; `answer` in lines
// EDGELLM_WRITE_TRANSCRIPTS=1 writes the last five anew, to be read before they are committed.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "api/json_text.h"
#include "tests/api/fakes.h"
#include "tests/source_dir.h"

namespace edgellm::api {
namespace {

std::vector<std::filesystem::path> Transcripts() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(SourceDir() / "tests/api/transcripts")) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

TokenFacts TokenOf(const Json& json) {
  TokenFacts token;
  token.id = json.value("id", 0);
  token.bytes = json["text"];
  if (json.contains("broken")) token.bytes = "\xE2\x82";  // JSON cannot say it
  token.log_probability = json["logprob"];
  for (const Json& other : json.value("likeliest", Json::array())) {
    token.likeliest.push_back({other.value("id", 0), other["text"], other["logprob"]});
  }
  return token;
}

AnswerPiece PieceOf(const Json& json) {
  AnswerPiece piece;
  piece.sample = json.value("sample", 0);
  piece.content = json.value("content", "");
  piece.thinking = json.value("thinking", "");
  piece.prompt = json.value("prompt", false);
  for (const Json& call : json.value("calls", Json::array())) {
    piece.tool_calls.push_back(
        {static_cast<int>(piece.tool_calls.size()), call["id"], call["name"], call["arguments"]});
  }
  for (const Json& token : json.value("tokens", Json::array())) piece.tokens.push_back(TokenOf(token));
  return piece;
}

AnswerEnd EndOf(const Json& json) {
  using Reason = AnswerEnd::Reason;
  constexpr std::pair<const char*, Reason> kReasons[] = {
      {"stop", Reason::kStop},       {"length", Reason::kLength}, {"context", Reason::kContextFull},
      {"tools", Reason::kToolCalls}, {"failed", Reason::kFailed}, {"dead_end", Reason::kDeadEnd}};
  AnswerEnd end = End();
  for (const auto& [name, reason] : kReasons) {
    if (json["end"] == name) end.reason = reason;
  }
  end.stop_string = json.value("stop_string", "");
  end.failure = json.value("failure", "");
  return end;
}

Script ScriptOf(const Json& says) {
  Script script = Says({});
  for (const Json& item : says) {
    if (item.contains("dropped_messages")) {
      script.ticket.prompt.dropped_messages = item["dropped_messages"];
    } else if (item.contains("end")) {
      script.ends = {EndOf(item)};
    } else {
      script.pieces.push_back(PieceOf(item));
    }
  }
  return script;
}

template <typename T>
void Put(Json* json, const char* name, const std::optional<T>& value) {
  if (value) (*json)[name] = *value;
}

template <typename T>
void Put(Json* json, const char* name, const T& value, const T& usual) {
  if (value != usual) (*json)[name] = value;
}

Json Described(const ChatMessage& message) {
  Json json = {{"role", message.role}, {"content", message.content}};
  Put<std::string>(&json, "thinking", message.thinking, "");
  Put<std::string>(&json, "tool_name", message.tool_name, "");
  Put<std::string>(&json, "tool_call_id", message.tool_call_id, "");
  for (const auto& call : message.tool_calls) {
    json["tool_calls"].push_back({{"id", call.id}, {"name", call.name}, {"arguments", call.arguments}});
  }
  return json;
}

Json DescribedInput(const GenerateRequest& request) {
  if (const auto* text = std::get_if<TextInput>(&request.input)) {
    Json json = {{"text", text->text}};
    Put<std::string>(&json, "suffix", text->suffix, "");
    return json;
  }
  if (const auto* tokens = std::get_if<TokenInput>(&request.input)) return {{"tokens", tokens->tokens}};
  const auto& chat = std::get<ChatInput>(request.input);
  Json json;
  for (const ChatMessage& message : chat.messages) json["messages"].push_back(Described(message));
  if (!chat.tools.is_null()) json["tools"] = chat.tools;
  constexpr const char* kChoices[] = {"auto", "none", "required", "named"};
  const std::string choice = kChoices[static_cast<int>(chat.tool_choice.kind)];
  Put<std::string>(&json, "tool_choice", choice == "named" ? chat.tool_choice.name : choice, "auto");
  Put(&json, "parallel_tool_calls", chat.parallel_tool_calls, true);
  Put(&json, "think", chat.think);
  Put(&json, "chat_template", chat.chat_template);
  return json;
}

Json Described(const GenerateRequest& request) {
  Json json = DescribedInput(request);
  const GenerateOptions& options = request.options;
  Put(&json, "max_tokens", options.max_tokens);
  for (const auto& [name, value] : Describe(options)) {
    if (name != "num_predict") json["options"].push_back(name + " " + value);
  }
  if (options.format) {
    constexpr const char* kKinds[] = {"json", "schema", "grammar"};
    json["format"] = {kKinds[static_cast<int>(options.format->kind)], options.format->text};
  }
  Put(&json, "ignore_eos", options.ignore_eos, false);
  Put(&json, "min_tokens", options.min_tokens, 0);
  for (const TokenBias& bias : options.logit_bias) json["logit_bias"].push_back({bias.token, bias.bias});
  Put(&json, "log_probabilities", options.log_probabilities, false);
  Put(&json, "likeliest", options.likeliest, 0);
  Put(&json, "prompt_log_probabilities", options.prompt_log_probabilities, false);
  Put(&json, "samples", options.samples, 1);
  Put(&json, "truncate", request.truncate, false);
  Put(&json, "priority", static_cast<int>(request.priority), static_cast<int>(Priority::kNormal));
  Put<std::string>(&json, "cache_salt", request.cache_salt, "");
  return json;
}

Json Described(const LoadRequest& load) {
  Json json = {{"model", load.model}};
  if (load.keep_alive) json["keep_alive"] = static_cast<double>(load.keep_alive->count()) / 1e9;
  Put(&json, "context", load.context);
  return json;
}

Json Lines(const std::string& text) {
  Json lines = Json::array();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.size(), text.find('\n', begin) + (text.find('\n', begin) == text.npos ? 0 : 1));
    lines.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return lines;
}

std::string WithoutVersion(std::string text) {
  constexpr std::string_view kName = "fp_edgellm_" EDGELLM_VERSION;
  for (size_t at = 0; (at = text.find(kName, at)) != text.npos;) text.replace(at, kName.size(), "fp_edgellm_VERSION");
  return text;
}

/// The transcript with what comes out now.
Json Replay(const Json& transcript) {
  const auto models = std::make_shared<FakeModels>();
  models->Say(ScriptOf(transcript["says"]));
  const auto exchange = SendTo(FakeServices(models), transcript["path"], Dump(transcript["request"]));
  const FakeExchange::Received received = exchange->received();
  EXPECT_TRUE(received.complete);
  EXPECT_EQ(received.answers, 1);
  EXPECT_EQ(models->in_use(), 0);
  Json now = transcript;
  for (const char* key : {"loaded", "asked", "warnings", "status", "type", "answer"}) now.erase(key);
  for (const LoadRequest& load : models->loads()) now["loaded"].push_back(Described(load));
  for (const GenerateRequest& request : models->requests()) now["asked"].push_back(Described(request));
  for (const auto& [name, value] : received.headers) {
    if (name == "x-edgellm-warning") now["warnings"].push_back(value);
  }
  now["status"] = received.status;
  now["type"] = received.content_type;
  now["answer"] = Lines(WithoutVersion(received.body));
  return now;
}

class Transcript : public testing::TestWithParam<std::filesystem::path> {};

TEST_P(Transcript, IsWhatComesOut) {
  std::ifstream file(GetParam());
  const Json transcript = Json::parse(file);
  const Json now = Replay(transcript);
  if (std::getenv("EDGELLM_WRITE_TRANSCRIPTS") != nullptr) {
    std::ofstream(GetParam()) << now.dump(1) << '\n';
    GTEST_SKIP() << "written";
  }
  EXPECT_EQ(now.dump(1), transcript.dump(1));
}

INSTANTIATE_TEST_SUITE_P(All, Transcript, testing::ValuesIn(Transcripts()),
                         [](const auto& instance) { return instance.param.stem().string(); });

TEST(Transcripts, CoverEveryRoute) {
  std::set<std::string> paths;
  for (const auto& path : Transcripts()) {
    std::ifstream file(path);
    paths.insert(Json::parse(file)["path"]);
  }
  for (const GenerationRoute& route : GenerationRoutes()) EXPECT_TRUE(paths.contains(std::string(route.pattern)));
}

}  // namespace
}  // namespace edgellm::api
