// Lines of JSON in and out: what each field becomes, what is refused, and whole sessions with the bundled model.
#include "serve/json_lines.h"

#include <map>
#include <mutex>
#include <sstream>

#include <gtest/gtest.h>

#include "model/model_file.h"
#include "serve/json_lines_session.h"
#include "tests/source_dir.h"

namespace edgellm {
namespace {

using Json = nlohmann::ordered_json;

GenerateRequest Generate(const char* line) {
  return std::get<GenerateRequest>(ParseJsonLine(line).work);
}

std::string Refusal(const char* line) {
  try {
    ParseJsonLine(line);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "";
}

TEST(JsonLines, EveryField) {
  const JsonLineRequest line = ParseJsonLine(R"({"id": 7, "messages": [{"role": "user", "content": "Hi"},
      {"role": "assistant", "thinking": "t", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]},
      {"role": "tool", "content": "r", "tool_name": "f", "tool_call_id": "c"}],
      "tools": [{"type": "function", "function": {"name": "f"}}], "tool_choice": {"name": "f"}, "parallel_tool_calls": false,
      "think": true, "template": "x", "options": {"temperature": 0, "stop": "s", "heat": 1, "num_ctx": 5},
      "format": {"type": "object"}, "samples": 2, "logprobs": true, "top_logprobs": 3, "prompt_logprobs": true,
      "truncate": true, "priority": "batch", "cache_salt": "z", "stream": false})");
  EXPECT_EQ(line.id, 7);
  EXPECT_FALSE(line.stream);
  EXPECT_EQ(line.warnings.size(), 2u);
  const auto& request = std::get<GenerateRequest>(line.work);
  const auto& chat = std::get<ChatInput>(request.input);
  ASSERT_EQ(chat.messages.size(), 3u);
  EXPECT_EQ(chat.messages[1].thinking, "t");
  EXPECT_EQ(chat.messages[1].tool_calls.at(0).arguments, R"({"a":1})");
  EXPECT_EQ(chat.messages[2].tool_name, "f");
  EXPECT_EQ(chat.messages[2].tool_call_id, "c");
  EXPECT_EQ(chat.tools.size(), 1u);
  EXPECT_EQ(chat.tool_choice.kind, ToolChoice::Kind::kNamed);
  EXPECT_EQ(chat.tool_choice.name, "f");
  EXPECT_FALSE(chat.parallel_tool_calls);
  EXPECT_EQ(chat.think, true);
  EXPECT_EQ(chat.chat_template, "x");
  EXPECT_EQ(request.options.temperature, 0.0f);
  EXPECT_EQ(request.options.stop, (std::vector<std::string>{"s"}));
  EXPECT_EQ(request.options.format->kind, AnswerFormat::Kind::kJsonSchema);
  EXPECT_EQ(request.options.samples, 2);
  EXPECT_TRUE(request.options.log_probabilities && request.options.prompt_log_probabilities);
  EXPECT_EQ(request.options.likeliest, 3);
  EXPECT_TRUE(request.truncate);
  EXPECT_EQ(request.priority, Priority::kBatch);
  EXPECT_EQ(request.cache_salt, "z");
}

TEST(JsonLines, PromptsEmbeddingsAndCancels) {
  EXPECT_EQ(std::get<TextInput>(Generate(R"({"id": "a", "prompt": "x", "suffix": "y"})").input).suffix, "y");
  EXPECT_EQ(std::get<TokenInput>(Generate(R"({"id": "a", "prompt": [1, 2]})").input).tokens,
            (std::vector<int32_t>{1, 2}));
  const auto embed = std::get<EmbedRequest>(
      ParseJsonLine(R"({"id": "a", "embed": ["x", [3]], "pooling": "last", "dimensions": 8, "truncate": false})").work);
  EXPECT_EQ(embed.inputs.size(), 2u);
  EXPECT_EQ(embed.pooling, Pooling::kLast);
  EXPECT_EQ(embed.dimensions, 8);
  EXPECT_FALSE(embed.truncate);
  EXPECT_TRUE(std::holds_alternative<JsonLineRequest::Cancel>(ParseJsonLine(R"({"id": 1, "cancel": true})").work));
}

TEST(JsonLines, WhatIsWrongIsNamed) {
  EXPECT_EQ(Refusal("no"), "a line must be a JSON object");
  EXPECT_EQ(Refusal("[]"), "a line must be a JSON object");
  EXPECT_EQ(Refusal(R"({"prompt": "x"})"), "\"id\" must be a text or a whole number");
  EXPECT_EQ(Refusal(R"({"id": 1.5, "prompt": "x"})"), "\"id\" must be a text or a whole number");
  EXPECT_EQ(Refusal(R"({"id": 1})"), "a line must have one of \"messages\", \"prompt\", \"embed\" and \"cancel\"");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": "x", "cancel": true})"),
            "a line must have one of \"messages\", \"prompt\", \"embed\" and \"cancel\"");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": 5})"), "\"prompt\" must be a text");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": ["x"]})"), "\"prompt\" must be a list of token ids");
  EXPECT_EQ(Refusal(R"({"id": 1, "messages": {}})"), "\"messages\" must be a list");
  EXPECT_EQ(Refusal(R"({"id": 1, "messages": [{}]})"), "\"role\" must be a text");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": "x", "stream": 1})"), "\"stream\" must be true or false");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": "x", "samples": -1})"), "\"samples\" must be a whole number");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": "x", "priority": "now"})"),
            "\"priority\" must be interactive, normal or batch");
  EXPECT_EQ(Refusal(R"({"id": 1, "prompt": "x", "options": {"top_k": "x"}})"),
            "option \"top_k\" must be of type integer");
  EXPECT_EQ(Refusal(R"({"id": 1, "messages": [], "tool_choice": "some"})"),
            "\"tool_choice\" must be auto, none, required or {\"name\": …}");
  EXPECT_EQ(Refusal(R"({"id": 1, "cancel": false})"), "\"cancel\" must be true");
  EXPECT_EQ(Refusal(R"({"id": 1, "embed": [5]})"),
            "\"embed\" must be a text, or a list of texts or of lists of token ids");
  EXPECT_EQ(JsonLineId(R"({"id": "k", "prompt": 5})"), "k");
  EXPECT_TRUE(JsonLineId("{").is_null());
}

TEST(JsonLines, AnyBytesMakeALine) {
  AnswerPiece piece;
  piece.tokens.push_back({.id = 1, .bytes = "\xC3", .log_probability = -1, .likeliest = {}});
  const Json json = Json::parse(PieceLine("a", piece));
  EXPECT_EQ(json["logprobs"][0]["text"], "\xEF\xBF\xBD");
  EXPECT_EQ(Json::parse(ErrorLine(nullptr, ErrorCode::kLimit, "bad \xFF\n"))["code"], "limit");
}

ServedModelOptions Options() {
  ServedModelOptions options;
  options.runtime.backend = "cpu";
  options.runtime.backend_options.threads = 1;
  options.runtime.context = 256;
  options.parallel = 4;
  return options;
}

/// Events by id, in their order, each as it was written.
std::map<std::string, std::vector<Json>> Converse(ServedModel& model, const std::string& lines) {
  std::istringstream in(lines);
  std::ostringstream out;
  RunJsonLines(model, in, out);
  std::map<std::string, std::vector<Json>> events;
  std::istringstream written(out.str());
  for (std::string line; std::getline(written, line);) {
    Json event = Json::parse(line);
    events[event["id"].dump()].push_back(std::move(event));
  }
  return events;
}

TEST(JsonLines, ASession) {
  ServedModel model(ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm"), Options());
  const auto events = Converse(
      model, R"({"id": "a", "messages": [{"role": "user", "content": "Hi"}], "options": {"seed": 3, "num_predict": 8}}

{"id": "b", "messages": [{"role": "user", "content": "Hi"}], "options": {"seed": 3, "num_predict": 8}, "stream": false}
{"id": "c", "prompt": "One two", "samples": 3, "options": {"num_predict": 4, "ignore_eos": true}}
{"id": "d", "prompt": "One", "options": {"ignore_eos": true}}
{"id": "d", "cancel": true}
{"id": "e", "embed": "One"}
{"id": "f", "prompt": ""}
{"id": "nobody", "cancel": true}
not JSON
{"id": "g", "prompt": "last line without its end", "options": {"num_predict": 1}})");
  const auto& a = events.at("\"a\"");
  EXPECT_EQ(a.front()["event"], "start");
  EXPECT_GT(a.front()["prompt_tokens"], 0);
  EXPECT_EQ(a.back()["event"], "end");
  std::string text;
  for (const Json& event : a) {
    if (event["event"] == "piece") text += event["content"].get<std::string>();
  }
  const auto& b = events.at("\"b\"");
  ASSERT_EQ(b.size(), 2u);
  EXPECT_EQ(b[1]["content"], text);
  EXPECT_EQ(b[1]["seed"], 3);
  EXPECT_EQ(b[1]["tokens"], a.back()["tokens"]);
  int ends = 0;
  for (const Json& event : events.at("\"c\"")) ends += event["event"] == "end" ? 1 : 0;
  EXPECT_EQ(ends, 3);
  EXPECT_EQ(events.at("\"d\"").back()["reason"], "cancelled");
  ASSERT_EQ(events.at("\"e\"").size(), 1u);
  EXPECT_EQ(events.at("\"e\"")[0]["embeddings"][0].size(), static_cast<size_t>(model.model().config.hidden));
  EXPECT_EQ(events.at("\"f\"").back()["event"], "error");
  EXPECT_EQ(events.at("null").size(), 1u);
  EXPECT_EQ(events.at("\"g\"").back()["reason"], "length");
  EXPECT_FALSE(events.contains("\"nobody\""));
  EXPECT_EQ(model.open_requests(), 0);
}

TEST(JsonLines, IdsAreOneRequestsAtATime) {
  ServedModel model(ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm"), Options());
  std::vector<std::string> lines;
  {
    JsonLinesSession session(model, [&](std::string_view line) { lines.emplace_back(line); });
    session.OnLine(R"({"id": 1, "prompt": "One", "options": {"ignore_eos": true}})");
    session.OnLine(R"({"id": 1, "prompt": "One"})");
  }  // cancelled, and nothing is written any more
  const size_t written = lines.size();
  model.Stop(std::chrono::nanoseconds(0));
  EXPECT_EQ(lines.size(), written);
  bool refused = false;
  for (const auto& line : lines) refused = refused || line.find("is open already") != std::string::npos;
  EXPECT_TRUE(refused);
}

}  // namespace
}  // namespace edgellm
