// See statistics.h.
#include "app/statistics.h"

#include <ctime>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "base/memory_use.h"

namespace edgellm::app {
namespace {

const char* ReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContextFull:
      return "context_full";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadEnd:
      return "dead_end";
    case FinishReason::kFailed:  // said by an error, not by a statistic
    case FinishReason::kNone:
      break;
  }
  return "";
}

int64_t PromptTime(const RequestStatistics& s) {
  return s.first_token - s.first_scheduled;
}
int64_t DecodeTime(const RequestStatistics& s) {
  return s.finished - s.first_token;
}

}  // namespace

std::string TernaryText(const BackendInfo& info) {
  std::vector<std::string> rates;
  for (const auto& [name, rate] : info.ternary_rates) rates.push_back(fmt::format("{} {:.1f}", name, rate / 1e9));
  if (rates.empty()) return info.ternary;
  return fmt::format("{} ({} weights/ns)", info.ternary, fmt::join(rates, ", "));
}

nlohmann::ordered_json TernaryJson(const BackendInfo& info) {
  if (info.ternary.empty()) return nullptr;
  nlohmann::ordered_json rates = nlohmann::ordered_json::object();
  for (const auto& [name, rate] : info.ternary_rates) rates[name] = rate;
  return {{"kernel", info.ternary}, {"weights_per_s", rates}};
}

std::string StatisticsText(const Runtime& runtime, const Generation& generation, const AnswerTimes& times) {
  const RequestStatistics& s = generation.statistics;
  const BackendInfo info = runtime.backend();
  std::string text;
  const auto line = [&](const char* name, const std::string& value) { text += fmt::format("{:<22}{}\n", name, value); };
  line("total duration:", HumanDuration(times.total));
  line("load duration:", HumanDuration(times.load));
  line("prompt eval count:", fmt::format("{} token(s){}", s.prompt_tokens,
                                         s.cached_tokens > 0 ? fmt::format(", {} of them kept", s.cached_tokens) : ""));
  if (s.generated_tokens > 0) {
    line("prompt eval duration:", HumanDuration(PromptTime(s)));
    line("prompt eval rate:", fmt::format("{:.2f} tokens/s", generation.PromptRate()));
    line("eval count:", fmt::format("{} token(s)", s.generated_tokens));
    line("eval duration:", HumanDuration(DecodeTime(s)));
    line("eval rate:", fmt::format("{:.2f} tokens/s", generation.DecodeRate()));
  }
  line("backend:", fmt::format("{} {}, {} thread(s)", info.name, info.isa, info.threads));
  if (!info.ternary.empty()) line("ternary:", TernaryText(info));
  line("weights:", HumanBytes(info.weight_bytes));
  line("KV cache:", fmt::format("{} for {} positions", HumanBytes(info.kv_bytes), runtime.context()));
  line("peak memory:", HumanBytes(PeakResidentBytes()));
  line("seed:", std::to_string(generation.seed));
  return text;
}

nlohmann::ordered_json AnswerJson(const Runtime& runtime, const Generation& generation, const AnswerTimes& times,
                                  const std::string& model, const std::string& response) {
  const RequestStatistics& s = generation.statistics;
  const BackendInfo info = runtime.backend();
  const bool started = s.generated_tokens > 0;
  return {{"model", model},
          {"created_at", Rfc3339(static_cast<int64_t>(std::time(nullptr)))},
          {"response", response},
          {"done", true},
          {"done_reason", ReasonName(generation.finish)},
          {"total_duration", times.total},
          {"load_duration", times.load},
          {"prompt_eval_count", s.prompt_tokens},
          {"prompt_eval_duration", started ? PromptTime(s) : 0},
          {"eval_count", s.generated_tokens},
          {"eval_duration", started ? DecodeTime(s) : 0},
          {"prompt_eval_rate", generation.PromptRate()},
          {"eval_rate", generation.DecodeRate()},
          {"seed", generation.seed},
          {"tokens", generation.tokens},
          {"backend",
           {{"name", info.name},
            {"isa", info.isa},
            {"threads", info.threads},
            {"ternary", TernaryJson(info)},
            {"weight_bytes", info.weight_bytes},
            {"kv_bytes", info.kv_bytes},
            {"context", runtime.context()}}},
          {"peak_memory_bytes", PeakResidentBytes()}};
}

}  // namespace edgellm::app
