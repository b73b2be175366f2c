// See embeddings.h.
#include "api/embeddings.h"

#include <bit>

#include "api/json_input.h"
#include "api/json_text.h"
#include "api/request_parts.h"

namespace edgellm::api {
namespace {

constexpr size_t kMostInputs = 2048;

void AddInput(const Json& input, const std::string& field, bool tokens_allowed, EmbeddingRequest* request) {
  if (input.is_string()) {
    if (!request->tokens.empty()) Refuse(field, "'input' must hold either texts or token ids");
    request->texts.push_back(input.get<std::string>());
  } else if (tokens_allowed && input.is_array() && !input.empty()) {
    if (!request->texts.empty()) Refuse(field, "'input' must hold either texts or token ids");
    request->tokens.push_back(ReadTokens(input, field));
  } else {
    Refuse(field, fmt::format("'{}' must be a string{}", field, tokens_allowed ? " or a list of token ids" : ""));
  }
}

void ReadInput(const Fields& fields, bool tokens_allowed, EmbeddingRequest* request) {
  const Json* input = fields.Find("input");
  if (input == nullptr) Refuse("input", "'input' is missing");
  const bool is_list = input->is_array() && !(tokens_allowed && !input->empty() && input->front().is_number());
  if (!is_list) return AddInput(*input, "input", tokens_allowed, request);
  if (input->size() > kMostInputs) Refuse("input", fmt::format("'input' may hold {} texts at most", kMostInputs));
  for (size_t i = 0; i < input->size(); ++i) AddInput((*input)[i], ItemPath("input", i), tokens_allowed, request);
}

std::string Base64(std::string_view bytes) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    const size_t count = std::min<size_t>(3, bytes.size() - i);
    for (size_t j = 0; j < 3; ++j) {
      group = group << 8 | (j < count ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) text += j <= count ? kLetters[group >> (18 - 6 * j) & 63] : '=';
  }
  return text;
}

std::string LittleEndian(const std::vector<float>& vector) {
  std::string bytes;
  bytes.reserve(4 * vector.size());
  for (const float value : vector) {
    const auto bits = std::bit_cast<uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 0xff);
  }
  return bytes;
}

void AppendVector(std::string* out, const std::vector<float>& vector) {
  *out += '[';
  for (size_t i = 0; i < vector.size(); ++i) {
    if (i > 0) *out += ',';
    AppendNumber(out, vector[i]);
  }
  *out += ']';
}

std::string OpenAiBody(const EmbeddingAsk& ask, const EmbeddingResult& result) {
  std::string body = "{\"object\":\"list\",\"data\":[";
  for (size_t i = 0; i < result.vectors.size(); ++i) {
    if (i > 0) body += ',';
    body += "{\"object\":\"embedding\",\"index\":" + std::to_string(i) + ",\"embedding\":";
    if (ask.base64) {
      body += '"' + Base64(LittleEndian(result.vectors[i])) + '"';
    } else {
      AppendVector(&body, result.vectors[i]);
    }
    body += '}';
  }
  const std::string tokens = std::to_string(result.tokens);
  return body + "],\"model\":" + Quoted(ask.request.load.model) + ",\"usage\":{\"prompt_tokens\":" + tokens +
         ",\"total_tokens\":" + tokens + "}}";
}

}  // namespace

EmbeddingAsk ParseEmbedding(std::string_view body, EmbeddingAsk::Form form) {
  using Form = EmbeddingAsk::Form;
  const Json json = ParseBody(body);
  const Fields fields(json, "");
  EmbeddingAsk ask;
  ask.form = form;
  EmbeddingRequest& request = ask.request;
  request.load.model = fields.NeedName("model");
  request.load.keep_alive = ReadKeepAlive(fields, "keep_alive");
  if (form == Form::kOllamaOld) {
    request.texts.push_back(fields.NeedText("prompt"));
  } else {
    ReadInput(fields, form == Form::kOpenAi, &request);
  }
  if (form != Form::kOpenAi) {
    if (const auto options = fields.Object("options")) {
      GenerateOptions ignored;
      OtherOptions other;
      SetJsonOptions(&ignored, options->object(), &other);
      request.load.context = other.context;
    }
    request.truncate = fields.Boolean("truncate").value_or(true);
  } else {
    // OpenAI refuses what is too long.
    request.truncate = fields.Boolean("truncate").value_or(false);
    const std::string encoding = fields.Text("encoding_format").value_or("float");
    if (encoding != "float" && encoding != "base64") {
      Refuse("encoding_format", "'encoding_format' must be \"float\" or \"base64\"");
    }
    ask.base64 = encoding == "base64";
    fields.Text("user");
  }
  request.dimensions = static_cast<int>(fields.Integer("dimensions", 1, 1 << 20).value_or(0));
  return ask;
}

std::string EmbeddingBody(const EmbeddingAsk& ask, const EmbeddingResult& result, int64_t took) {
  using Form = EmbeddingAsk::Form;
  if (ask.form == Form::kOpenAi) return OpenAiBody(ask, result);
  std::string body;
  if (ask.form == Form::kOllamaOld) {
    body = "{\"embedding\":";
    AppendVector(&body, result.vectors.empty() ? std::vector<float>() : result.vectors[0]);
    return body + '}';
  }
  body = "{\"model\":" + Quoted(ask.request.load.model) + ",\"embeddings\":[";
  for (size_t i = 0; i < result.vectors.size(); ++i) {
    if (i > 0) body += ',';
    AppendVector(&body, result.vectors[i]);
  }
  body += "],\"total_duration\":" + std::to_string(took);
  if (result.load_time > 0) body += ",\"load_duration\":" + std::to_string(result.load_time);
  return body + ",\"prompt_eval_count\":" + std::to_string(result.tokens) + '}';
}

}  // namespace edgellm::api
