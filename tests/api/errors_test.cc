// Bad requests: what each says, with which status, and about which field.
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/api/fakes.h"

namespace edgellm::api {
namespace {

struct Case {
  const char* path;
  std::string body;
  const char* param;  // of OpenAI's errors; for others the message must hold it
  const char* says;   // in the message
};

const char kOllamaGenerate[] = "/api/generate";
const char kOllamaChat[] = "/api/chat";
const char kChat[] = "/v1/chat/completions";
const char kCompletion[] = "/v1/completions";
const char kResponses[] = "/v1/responses";
const char kMessages[] = "/v1/messages";
const char kCount[] = "/v1/messages/count_tokens";
const char kEmbed[] = "/api/embed";
const char kEmbeddings[] = "/v1/embeddings";

/// A chat with one message and these fields.
std::string Chat(const std::string& fields) {
  return R"({"model":"m","messages":[{"role":"user","content":"Hi"}],)" + fields + "}";
}

std::string Messages(const std::string& fields) {
  return R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":"Hi"}],)" + fields + "}";
}

std::string Nested(int depth) {
  return R"({"model":"m","messages":)" + std::string(static_cast<size_t>(depth), '[') +
         std::string(static_cast<size_t>(depth), ']') + "}";
}

std::string ManyKeys() {
  std::string body = "{";
  for (int i = 0; i < 20000; ++i) body += '"' + std::to_string(i) + "\":0,";
  return body + R"("model":"m"})";
}

const std::string kTool = R"({"type":"function","function":{"name":"f","parameters":{"type":"object"}}})";

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      // What is no request at all.
      {kChat, "", "", "missing request body"},
      {kOllamaChat, " \n", "", "missing request body"},
      {kMessages, "", "", "missing request body"},
      {kChat, "[]", "", "must be a JSON object"},
      {kChat, "{\"model\":", "", "not valid JSON"},
      {kChat, "{\"model\":\"m\xff\"}", "", "not valid JSON"},
      {kChat, R"({"model":"\ud800"})", "", "not valid JSON"},
      {kChat, std::string("{\"model\":\"m\"}\0{}", 15), "", "a zero byte"},
      {kChat, R"({"model":"m","n":1e999})", "", "not valid JSON"},
      {kChat, Nested(150), "", "nested deeper than 100"},
      {kChat, ManyKeys(), "", "too many keys"},
      {kChat, R"({"model":"m","model":"n"})", "model", "twice"},
      {kOllamaChat, R"({"model":"m","options":{"seed":1,"seed":2}})", "", "'seed' twice"},
      // Wrong types, missing fields.
      {kChat, "{}", "model", "'model' is missing"},
      {kChat, R"({"model":5})", "model", "must be a string"},
      {kChat, R"({"model":""})", "model", "must not be empty"},
      {kChat, R"({"model":"m"})", "messages", "missing"},
      {kChat, R"({"model":"m","messages":[]})", "messages", "at least one"},
      {kChat, R"({"model":"m","messages":{}})", "messages", "a list"},
      {kChat, R"({"model":"m","messages":["Hi"]})", "messages[0]", "an object"},
      {kChat, R"({"model":"m","messages":[{"content":"Hi"}]})", "messages[0].role", "missing"},
      {kChat, R"({"model":"m","messages":[{"role":"robot","content":"Hi"}]})", "messages[0].role", "robot"},
      {kChat, R"({"model":"m","messages":[{"role":"user"}]})", "messages[0].content", "missing"},
      {kChat, R"({"model":"m","messages":[{"role":"user","content":5}]})", "messages[0].content", "a string or a list"},
      {kChat, R"({"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]})",
       "messages[0].content[0].type", "text only"},
      {kChat, R"({"model":"m","messages":[{"role":"tool","content":"x"}]})", "messages[0].tool_call_id", "missing"},
      {kChat,
       R"({"model":"m","messages":[{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"[1]"}}]}]})",
       "messages[0].tool_calls[0].function.arguments", "an object"},
      {kChat, Chat(R"("stream":"yes")"), "stream", "true or false"},
      {kChat, Chat(R"("stream_options":1)"), "stream_options", "an object"},
      {kChat, Chat(R"("n":0)"), "n", "from 1 to 128"},
      {kChat, Chat(R"("n":1.5)"), "n", "an integer"},
      {kChat, Chat(R"("n":129)"), "n", "from 1 to 128"},
      {kChat, Chat(R"("max_tokens":0)"), "max_tokens", "from 1"},
      {kChat, Chat(R"("max_completion_tokens":99999999999999999999)"), "max_completion_tokens", "an integer"},
      {kChat, Chat(R"("temperature":"hot")"), "temperature", "a number"},
      {kChat, Chat(R"("temperature":-1)"), "temperature", "from 0"},
      {kChat, Chat(R"("top_p":1.1)"), "top_p", "from 0 to 1"},
      {kChat, Chat(R"("top_logprobs":3)"), "top_logprobs", "needs 'logprobs'"},
      {kChat, Chat(R"("logprobs":true,"top_logprobs":21)"), "top_logprobs", "from 0 to 20"},
      {kChat, Chat(R"("seed":1.5)"), "seed", "an integer"},
      {kChat, Chat(R"("stop":[1])"), "stop", "a string or a list"},
      {kChat, Chat(R"("stop":"")"), "stop", "empty"},
      {kChat, Chat(R"("logit_bias":{"x":1})"), "logit_bias.x", "token ids"},
      {kChat, Chat(R"("logit_bias":{"5":"a"})"), "logit_bias.5", "a number"},
      {kChat, Chat(R"("priority":1)"), "priority", "a string"},
      {kChat, Chat(R"("priority":"now")"), "priority", "interactive"},
      {kChat, Chat(R"("keep_alive":"soon")"), "keep_alive", "5m"},
      {kChat, Chat(R"("reasoning_effort":"much")"), "reasoning_effort", "high"},
      // What is not done.
      {kChat, Chat(R"("modalities":["text","audio"])"), "modalities", "only"},
      {kChat, Chat(R"("functions":[{"name":"f"}])"), "functions", "use tools"},
      {kChat, Chat(R"("audio":{"voice":"x"})"), "audio", "no audio"},
      {kChat, Chat(R"("guided_regex":"a+")"), "guided_regex", "guided_grammar"},
      // Tools and formats.
      {kChat, Chat(R"("tools":[{"type":"function"}])"), "tools[0].function", "missing"},
      {kChat, Chat(R"("tools":[{"type":"code_interpreter"}])"), "tools[0].type", "only functions"},
      {kChat, Chat(R"("tools":[{"function":{"name":"a b"}}])"), "tools[0].function.name", "letters"},
      {kChat, Chat("\"tools\":[" + kTool + "," + kTool + "]"), "tools[1].function.name", "two functions"},
      {kChat, Chat(R"("tool_choice":"required")"), "tool_choice", "no 'tools'"},
      {kChat, Chat("\"tools\":[" + kTool + R"(],"tool_choice":{"type":"function","function":{"name":"g"}})"),
       "tool_choice", "'g'"},
      {kChat, Chat("\"tools\":[" + kTool + R"(],"tool_choice":"maybe")"), "tool_choice", "required"},
      {kChat, Chat(R"("response_format":{"type":"xml"})"), "response_format.type", "json_schema"},
      {kChat, Chat(R"("response_format":{"type":"json_schema","json_schema":{"name":"x"}})"),
       "response_format.json_schema.schema", "missing"},
      {kChat, Chat(R"("response_format":{"type":"json_schema","json_schema":{"schema":{"not":{}}}})"),
       "response_format.json_schema.schema", "not"},
      {kChat, Chat(R"("grammar":"root ::= x")"), "grammar", "x"},
      {kChat, Chat(R"("grammar":"root ::= \"a\"","response_format":{"type":"json_object"})"), "response_format",
       "together"},
      // Completions.
      {kCompletion, R"({"model":"m"})", "prompt", "missing"},
      {kCompletion, R"({"model":"m","prompt":5})", "prompt", "a string"},
      {kCompletion, R"({"model":"m","prompt":[]})", "prompt", "a string"},
      {kCompletion, R"({"model":"m","prompt":[1,-2]})", "prompt", "token ids"},
      {kCompletion, R"({"model":"m","prompt":[1,99999999999]})", "prompt", "token ids"},
      {kCompletion, R"({"model":"m","prompt":["a",5]})", "prompt[1]", "a string"},
      {kCompletion, R"({"model":"m","prompt":[1],"suffix":"x"})", "suffix", "text"},
      {kCompletion, R"({"model":"m","prompt":"a","best_of":3})", "best_of", "not supported"},
      {kCompletion, R"({"model":"m","prompt":"a","max_tokens":0})", "max_tokens", "echo"},
      {kCompletion, R"({"model":"m","prompt":"a","logprobs":true})", "logprobs", "an integer"},
      // Responses.
      {kResponses, R"({"model":"m"})", "input", "missing"},
      {kResponses, R"({"model":"m","input":[]})", "input", "at least one"},
      {kResponses, R"({"model":"m","input":"a","previous_response_id":"resp_1"})", "previous_response_id", "stores no"},
      {kResponses, R"({"model":"m","input":"a","background":true})", "background", "stores no"},
      {kResponses, R"({"model":"m","input":[{"type":"item_reference","id":"x"}]})", "input[0].type", "item_reference"},
      {kResponses, R"({"model":"m","input":[{"role":"user","content":[{"type":"input_image"}]}]})",
       "input[0].content[0].type", "text only"},
      {kResponses, R"({"model":"m","input":"a","tools":[{"type":"web_search"}]})", "tools[0].type", "only functions"},
      {kResponses, R"({"model":"m","input":"a","tool_choice":{"type":"function","name":"g"}})", "tool_choice.name",
       "'g'"},
      {kResponses, R"({"model":"m","input":"a","text":{"format":{"type":"json_schema","schema":{"if":{}}}}})",
       "text.format.schema", "if"},
      // Embeddings.
      {kEmbeddings, R"({"model":"m"})", "input", "missing"},
      {kEmbeddings, R"({"model":"m","input":["a",[1]]})", "input[1]", "either"},
      {kEmbeddings, R"({"model":"m","input":"a","encoding_format":"hex"})", "encoding_format", "base64"},
      {kEmbed, R"({"model":"m","input":[[1]]})", "", "'input[0]' must be a string"},
      {kEmbed, R"({"model":"m","input":"a","dimensions":0})", "", "'dimensions'"},
      // Ollama.
      {kOllamaGenerate, "{}", "", "'model' is missing"},
      {kOllamaGenerate, R"({"model":"m","prompt":5})", "", "'prompt' must be a string"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","raw":true,"system":"x"})", "",
       "raw mode does not support template, system, or context"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","options":{"num_predict":"many"}})", "",
       "option \"num_predict\" must be of type integer"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","options":[]})", "", "'options' must be an object"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","images":["aGk="]})", "", "no images"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","context":[1,"2"]})", "", "token ids"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","format":"xml"})", "", "json"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","format":{"type":"number","minimum":1}})", "", "minimum"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","keep_alive":"5 parsecs"})", "", "keep_alive"},
      {kOllamaGenerate, R"({"model":"m","prompt":"a","think":"a bit"})", "", "'think'"},
      {kOllamaChat, R"({"model":"m","messages":[{"role":"robot"}]})", "", "invalid role"},
      {kOllamaChat, R"({"model":"m","messages":[{"role":"user","content":"a"}],"top_logprobs":21})", "",
       "from 0 to 20"},
      // Anthropic.
      {kMessages, R"({"model":"m","messages":[{"role":"user","content":"a"}]})", "", "'max_tokens' is missing"},
      {kMessages, R"({"model":"m","max_tokens":1,"messages":[{"role":"system","content":"a"}]})", "",
       "'messages[0].role'"},
      {kMessages, R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image"}]}]})", "",
       "'messages[0].content[0].type'"},
      {kMessages, Messages(R"("system":5)"), "", "'system'"},
      {kMessages, Messages(R"("tools":[{"name":"f"}])"), "", "'tools[0].input_schema' is missing"},
      {kMessages, Messages(R"("tools":[{"type":"bash_20250124","name":"bash"}])"), "", "no tools of its own"},
      {kMessages, Messages(R"("tool_choice":{"type":"any"})"), "", "no 'tools'"},
      {kMessages, Messages(R"("thinking":{"type":"maybe"})"), "", "'thinking.type'"},
      {kCount, R"({"model":"m"})", "", "'messages' is missing"},
  };
  return cases;
}

TEST(BadRequests, SayWhatIsWrongAndWhere) {
  const auto models = std::make_shared<FakeModels>();
  models->Say(Says({"a"}));
  const auto services = FakeServices(models);
  for (const Case& one : Cases()) {
    const auto received = SendTo(services, one.path, one.body)->received();
    const std::string about = std::string(one.path) + " " + one.body.substr(0, 200) + "\n" + received.body;
    EXPECT_EQ(received.status, 400) << about;
    EXPECT_TRUE(received.complete && received.answers == 1) << about;
    const auto json = nlohmann::json::parse(received.body);
    const std::string path = one.path;
    const bool ollama = path.starts_with("/api/"), anthropic = path.starts_with("/v1/messages");
    const std::string message = ollama ? json["error"] : json["error"]["message"];
    EXPECT_NE(message.find(one.says), std::string::npos) << about;
    if (ollama) continue;
    EXPECT_EQ(json["error"]["type"], "invalid_request_error") << about;
    if (anthropic) continue;
    const auto param = json["error"]["param"];
    EXPECT_EQ(param.is_null() ? "" : param.get<std::string>(), one.param) << about;
  }
  EXPECT_TRUE(models->requests().empty());
}

TEST(BadRequests, ThatAreHugeAreRefusedSoon) {
  const auto services = FakeServices(std::make_shared<FakeModels>());
  std::string objects = R"({"model":"m","messages":[)", numbers = R"({"model":"m","prompt":[)";
  for (int i = 0; i < 200'000; ++i) objects += "{},";
  for (int i = 0; i < 2'100'000; ++i) numbers += "1,";
  EXPECT_EQ(SendTo(services, kChat, objects + "{}]}")->received().status, 400);
  EXPECT_NE(SendTo(services, kCompletion, numbers + "1]}")->received().body.find("more than"), std::string::npos);
}

}  // namespace
}  // namespace edgellm::api
