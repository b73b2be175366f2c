// See endpoint.h.
#include "bench/endpoint.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <random>
#include <utility>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "bench/stream_parser.h"
#include "hub/http_client.h"
#include "model/json_fields.h"
#include "text/sample_text.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;
using Clock = std::chrono::steady_clock;

struct Route {
  std::string_view path;
  bool ollama, chat;
};
constexpr Route kRoutes[] = {{"/api/generate", true, false},
                             {"/api/chat", true, true},
                             {"/v1/completions", false, false},
                             {"/v1/chat/completions", false, true}};

/// What one request took.
struct Sample {
  double ttft_ms = 0;
  std::vector<double> gaps_ms;  // between pieces of text
  int64_t prompt_tokens = 0, generated_tokens = 0;
};

double Milliseconds(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double, std::milli>(to - from).count();
}

/// English prose of `words` words. Each call's begins differently, so that no server finds it in its cache.
std::string PromptText(size_t words, std::mt19937& numbers) {
  std::string text = "Reading " + std::to_string(numbers()) + ".";
  std::string_view rest;
  for (size_t i = 2; i < words; ++i) {
    if (rest.empty()) rest = text::kSampleText;
    const size_t end = rest.find_first_of(" \n");
    text += ' ';
    text += rest.substr(0, end);
    rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(" \n", end)));
  }
  return text;
}

class Endpoint {
 public:
  Endpoint(const EndpointOptions& options, const Progress& progress)
      : options_(options),
        progress_(progress),
        client_({.connect_timeout = 10, .idle_timeout = options.timeout, .api_key = options.api_key, .poll = [this] {
                   Tell();
                 }}) {
    if (options.model.empty()) Fail(ErrorCode::kInvalidArgument, "name the model that the server is to run");
    if (options.prompts.empty() || options.tokens < 2 || options.repetitions < 1 ||
        std::any_of(options.prompts.begin(), options.prompts.end(), [](int tokens) { return tokens < 1; })) {
      Fail(ErrorCode::kInvalidArgument, "at least one repetition, two tokens to generate, and prompts of one token");
    }
    total_ = options.prompts.size() * static_cast<size_t>(options.repetitions + 1);
  }

  EndpointResult Run() {
    FindRoute();
    std::vector<double> gaps;
    for (const int asked : options_.prompts) result_.figures.push_back(Measure(asked, &gaps));
    result_.pieces = static_cast<int>(gaps.size());
    result_.itl_ms = PercentilesOf(std::move(gaps));
    return std::move(result_);
  }

 private:
  void Tell() {
    if (progress_) progress_("asking the server", done_, total_);
  }

  void FindRoute() {
    const HttpAddress address = ParseHttpAddress(options_.url);
    for (const Route& route : kRoutes) {
      if (address.path.ends_with(route.path)) return Take(route, address.origin + address.path);
    }
    const std::string base = address.origin + address.path;
    if (address.path.ends_with("/v1")) return Take(kRoutes[3], base + "/chat/completions");
    const HttpReply version = client_.Get(base + "/api/version");
    if (version.status == 200 && ReadVersion(version.body)) return Take(kRoutes[0], base + "/api/generate");
    const HttpReply models = client_.Get(base + "/v1/models");
    if (models.status == 200) return Take(kRoutes[3], base + "/v1/chat/completions");
    if (models.status == 401 || models.status == 403) FailStatus(base + "/v1/models", models.status, models.body);
    Fail(ErrorCode::kInvalidArgument,
         "{}: neither Ollama's API nor OpenAI's is spoken there (/api/version: HTTP {}, /v1/models: HTTP {})", base,
         version.status, models.status);
  }

  bool ReadVersion(const std::string& body) {
    try {
      const Json json = ParseJson<Json>(body, "");
      if (!json.is_object() || !json.contains("version") || !json["version"].is_string()) return false;
      result_.server = OneLine(json["version"].get<std::string>());
      return true;
    } catch (const Error&) {  // something else answers there
      return false;
    }
  }

  void Take(const Route& route, std::string url) {
    route_ = route;
    result_.url = std::move(url);
    result_.api = route.ollama ? "Ollama" : "OpenAI";
  }

  /// The first request is not counted: it may load the model, and it tells how many tokens the words are.
  EndpointFigure Measure(int asked, std::vector<double>* gaps) {
    auto words = static_cast<size_t>(asked / 1.3) + 1;
    const Sample first = AskAnyhow(words);
    if (first.prompt_tokens > 0) {
      words = std::max<size_t>(1, words * static_cast<size_t>(asked) / static_cast<size_t>(first.prompt_tokens));
    }
    EndpointFigure figure;
    figure.asked = asked;
    std::vector<double> ttft, prompt_rates, decode_rates;
    for (int i = 0; i < options_.repetitions; ++i) {
      const Sample sample = AskAnyhow(words);
      double between = 0;
      for (const double gap : sample.gaps_ms) between += gap;
      ttft.push_back(sample.ttft_ms);
      if (sample.prompt_tokens > 0) {
        prompt_rates.push_back(1e3 * static_cast<double>(sample.prompt_tokens) / sample.ttft_ms);
      }
      if (between > 0) decode_rates.push_back(1e3 * static_cast<double>(sample.generated_tokens - 1) / between);
      figure.prompt_tokens = static_cast<int>(sample.prompt_tokens);
      figure.generated_tokens = static_cast<int>(sample.generated_tokens);
      gaps->insert(gaps->end(), sample.gaps_ms.begin(), sample.gaps_ms.end());
    }
    figure.ttft_ms = SpreadOf(std::move(ttft));
    figure.prompt_tok_s = SpreadOf(std::move(prompt_rates));
    figure.decode_tok_s = SpreadOf(std::move(decode_rates));
    return figure;
  }

  /// Servers that refuse a request because of `ignore_eos` are asked without it from then on.
  Sample AskAnyhow(size_t words) {
    const std::string prompt = PromptText(words, numbers_);
    auto sample = Ask(prompt);
    if (!sample && !route_.ollama && ignore_eos_) {
      ignore_eos_ = false;
      sample = Ask(prompt);
    }
    if (!sample) FailStatus(result_.url, refusal_.status, refusal_.body);
    ++done_;
    return *std::move(sample);
  }

  std::string RequestBody(const std::string& prompt) const {
    Json json = {{"model", options_.model}, {"stream", true}};
    if (route_.chat) {
      json["messages"] = {{{"role", "user"}, {"content", prompt}}};
    } else {
      json["prompt"] = prompt;
    }
    if (route_.ollama) {
      // One context length for all requests: another one makes the server load the model again.
      const int longest = *std::max_element(options_.prompts.begin(), options_.prompts.end());
      json["options"] = {
          {"temperature", 0}, {"num_predict", options_.tokens}, {"num_ctx", 2 * longest + options_.tokens}};
    } else {
      json["temperature"] = 0;
      json["max_tokens"] = options_.tokens;
      json["stream_options"] = {{"include_usage", true}};
      if (ignore_eos_) json["ignore_eos"] = true;
    }
    return json.dump();
  }

  /// Nothing where the server refused the request with 400 or 422; its words are in refusal_.
  std::optional<Sample> Ask(const std::string& prompt) {
    StreamParser parser(route_.ollama ? StreamFormat::kJsonLines : StreamFormat::kServerEvents, result_.url);
    Sample sample;
    int64_t pieces = 0;
    const auto start = Clock::now();
    auto last = start;
    const auto take = [&](const std::vector<StreamEvent>& events, Clock::time_point now) {
      for (const StreamEvent& event : events) {
        sample.prompt_tokens = event.prompt_tokens.value_or(sample.prompt_tokens);
        sample.generated_tokens = event.generated_tokens.value_or(sample.generated_tokens);
        if (event.text.empty()) continue;
        (pieces == 0 ? sample.ttft_ms : sample.gaps_ms.emplace_back()) = Milliseconds(last, now);
        last = now;
        ++pieces;
      }
    };
    const HttpReply reply = client_.Post(result_.url, RequestBody(prompt), [&](std::string_view bytes) {
      const auto now = Clock::now();
      take(parser.Push(bytes), now);
    });
    if (reply.status == 400 || reply.status == 422) {
      refusal_ = reply;
      return std::nullopt;
    }
    if (reply.status != 200) FailStatus(result_.url, reply.status, reply.body);
    take(parser.Finish(), Clock::now());
    if (pieces == 0) Fail(ErrorCode::kIo, "{}: the server answered without any text", result_.url);
    if (sample.generated_tokens == 0) sample.generated_tokens = pieces;
    return sample;
  }

  const EndpointOptions& options_;
  const Progress& progress_;
  HttpClient client_;
  Route route_{};
  EndpointResult result_;
  HttpReply refusal_;
  bool ignore_eos_ = true;
  std::mt19937 numbers_{std::random_device{}()};
  size_t done_ = 0, total_ = 0;
};

}  // namespace

EndpointResult MeasureEndpoint(const EndpointOptions& options, const Progress& progress) {
  return Endpoint(options, progress).Run();
}

}  // namespace edgellm
