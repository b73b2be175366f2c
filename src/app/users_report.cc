// See users_report.h.
#include "app/users_report.h"

#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "app/format.h"
#include "app/measures.h"

namespace edgellm::app {
namespace {

using Json = nlohmann::ordered_json;
using Row = std::vector<std::string>;

Json PercentilesJson(const Percentiles& p) {
  return {{"p50", p.p50}, {"p95", p.p95}, {"p99", p.p99}, {"max", p.max}};
}

Row PercentilesRow(std::string name, const Percentiles& p) {
  return {std::move(name), fmt::format("{:.2f}", p.p50), fmt::format("{:.2f}", p.p95), fmt::format("{:.2f}", p.p99),
          fmt::format("{:.2f}", p.max)};
}

/// "1.9 % of the first (1.5 to 2.0)"
std::string ShareText(const Spread& ratio) {
  return fmt::format("{:.1f} % of the first ({:.1f} to {:.1f})", 100 * ratio.median, 100 * ratio.min, 100 * ratio.max);
}

std::string StreamsTable(int streams, int context, int prompt, const Percentiles& before, const Percentiles& beside,
                         const Percentiles& after) {
  return fmt::format(
             "\n{} streams at {} tokens while a prompt of {} tokens is read, milliseconds between their tokens:\n",
             streams, context, prompt) +
         Table({{"", "P50", "P95", "P99", "MAX"},
                PercentilesRow("before", before),
                PercentilesRow("beside it", beside),
                PercentilesRow("after", after)});
}

/// What both measurements tell of streams beside a long prompt.
template <typename Result>
Json StreamsJson(const Result& r) {
  return {{"streams", r.streams},
          {"context", r.context},
          {"tokens", r.long_prompt},
          {"itl_before_ms", PercentilesJson(r.before_ms)},
          {"itl_beside_ms", PercentilesJson(r.beside_ms)},
          {"itl_after_ms", PercentilesJson(r.after_ms)}};
}

}  // namespace

Json UsersJson(const ServingBenchResult& r, const std::string& model, const std::string& commit) {
  Json json = {{"machine", MachineName()},  {"commit", commit},     {"model", model},
               {"backend", r.backend.name}, {"isa", r.backend.isa}, {"threads", r.backend.threads}};
  if (r.users > 0) {
    json["shared_prompt"] = {{"users", r.users},
                             {"tokens", r.shared},
                             {"first_ms", SpreadJson(r.first_ms)},
                             {"next_slowest_ms", SpreadJson(r.next_slowest_ms)},
                             {"others_median_ms", SpreadJson(r.others_median_ms)},
                             {"others_slowest_ms", SpreadJson(r.others_slowest_ms)},
                             {"together_slowest_ms", SpreadJson(r.together_slowest_ms)},
                             {"together_computed_tokens", r.together_computed}};
  }
  if (r.streams > 0) {
    json["long_prompt"] = StreamsJson(r);
    json["long_prompt"].update({{"ttft_s", r.prompt_seconds}, {"ttft_alone_s", r.prompt_alone_seconds}});
  }
  json["learnt_ms"] = {{"forward", r.costs.fixed * 1e3},
                       {"decoded_token", r.costs.decode * 1e3},
                       {"prompt_token", r.costs.prefill * 1e3},
                       {"thousand_positions", r.costs.attend * 1e3},
                       {"thousand_prompt_positions", r.costs.prompt_attend * 1e3},
                       {"deviation", r.cost_deviation}};
  return json;
}

std::string UsersText(const ServingBenchResult& r, const std::string& model) {
  std::string text = fmt::format("machine: {}\nmodel: {}\nbackend: {} {}, {} thread(s)\n", MachineName(), model,
                                 r.backend.name, r.backend.isa, r.backend.threads);
  if (r.users > 0) {
    text +=
        fmt::format("\n{} users over one prompt of {} tokens, milliseconds to the first token:\n", r.users, r.shared);
    const double first = r.first_ms.median;
    text += Table({{"the first", SpreadText(r.first_ms), ""},
                   {"the others one by one, slowest", SpreadText(r.next_slowest_ms),
                    fmt::format("{:.1f} % of the first", 100 * r.next_slowest_ms.median / first)},
                   {"the others at once, median", SpreadText(r.others_median_ms),
                    fmt::format("{:.1f} %", 100 * r.others_median_ms.median / first)},
                   {"the others at once, slowest", SpreadText(r.others_slowest_ms),
                    fmt::format("{:.1f} %", 100 * r.others_slowest_ms.median / first)},
                   {"all together, slowest", SpreadText(r.together_slowest_ms),
                    fmt::format("{:.0f} tokens computed", r.together_computed)}});
  }
  if (r.streams > 0) {
    text += StreamsTable(r.streams, r.context, r.long_prompt, r.before_ms, r.beside_ms, r.after_ms);
    text += fmt::format("p99 beside it: {:.2f} times that before; the prompt took {:.2f} s, alone {:.2f} s\n",
                        r.beside_ms.p99 / r.before_ms.p99, r.prompt_seconds, r.prompt_alone_seconds);
  }
  return text + fmt::format(
                    "\nlearnt: {:.3f} ms a forward, {:.3f} a decoded token, {:.3f} a prompt's, {:.4f} a thousand "
                    "positions, {:.4f} a thousand of prompts; usually within {:.0f} %\n",
                    r.costs.fixed * 1e3, r.costs.decode * 1e3, r.costs.prefill * 1e3, r.costs.attend * 1e3,
                    r.costs.prompt_attend * 1e3, 100 * r.cost_deviation);
}

Json UsersJson(const EndpointUsersResult& r, const std::string& model, const std::string& commit) {
  Json json = {{"machine", MachineName()}, {"client", commit}, {"endpoint", r.url}, {"model", model}};
  if (r.streams > 0) {
    json["long_prompt"] = StreamsJson(r);
    json["long_prompt"].update({{"p50_ratio", SpreadJson(r.p50_ratio)},
                                {"p99_ratio", SpreadJson(r.p99_ratio)},
                                {"ttft_ms", SpreadJson(r.prompt_ms)},
                                {"ttft_alone_ms", SpreadJson(r.prompt_alone_ms)}});
  }
  if (r.clients > 0) {
    json["clients"] = {{"clients", r.clients},
                       {"prompt_tokens", r.client_prompt},
                       {"tokens", r.client_tokens},
                       {"asked", r.asked},
                       {"whole", r.whole},
                       {"failures", r.failures},
                       {"ttft_ms", PercentilesJson(r.ttft_ms)},
                       {"itl_ms", PercentilesJson(r.itl_ms)},
                       {"tok_s", SpreadJson(r.tok_s)}};
  }
  if (r.users > 0) {
    const auto part = [](const Percentiles& times, const Spread& ratio, const Spread& slowest) {
      return Json{{"ttft_ms", PercentilesJson(times)},
                  {"median_ratio", SpreadJson(ratio)},
                  {"slowest_ratio", SpreadJson(slowest)}};
    };
    json["shared_prompt"] = {{"users", r.users},
                             {"tokens", r.shared},
                             {"first_ms", SpreadJson(r.first_ms)},
                             {"one_by_one", part(r.one_by_one_ms, r.one_by_one_ratio, r.one_by_one_slowest)},
                             {"at_once", part(r.at_once_ms, r.at_once_ratio, r.at_once_slowest)}};
  }
  return json;
}

std::string UsersText(const EndpointUsersResult& r, const std::string& model) {
  std::string text = fmt::format("{}, model {}\n", r.url, model);
  if (r.streams > 0) {
    text += StreamsTable(r.streams, r.context, r.long_prompt, r.before_ms, r.beside_ms, r.after_ms);
    text += fmt::format("beside : before, by rounds: p50 {}, p99 {}; the prompt took {} ms, alone {} ms\n",
                        SpreadText(r.p50_ratio), SpreadText(r.p99_ratio), SpreadText(r.prompt_ms),
                        SpreadText(r.prompt_alone_ms));
  }
  if (r.clients > 0) {
    text += fmt::format("\n{} clients at once, prompts of {} tokens, answers of {}: {} of {} whole, {} tokens/s\n",
                        r.clients, r.client_prompt, r.client_tokens, r.whole, r.asked, SpreadText(r.tok_s));
    for (const auto& [cause, count] : r.failures) text += fmt::format("  {} lost: {}\n", count, cause);
    text += Table({{"", "P50", "P95", "P99", "MAX"},
                   PercentilesRow("to the first token, ms", r.ttft_ms),
                   PercentilesRow("between tokens, ms", r.itl_ms)});
  }
  if (r.users > 0) {
    text +=
        fmt::format("\n{} users over one prompt of {} tokens, milliseconds to the first token:\n", r.users, r.shared);
    text += Table(
        {{"the first", SpreadText(r.first_ms), ""},
         {"the others one by one", fmt::format("{:.2f}, slowest {:.2f}", r.one_by_one_ms.p50, r.one_by_one_ms.max),
          ShareText(r.one_by_one_ratio)},
         {"  the slowest", "", ShareText(r.one_by_one_slowest)},
         {"the others at once", fmt::format("{:.2f}, slowest {:.2f}", r.at_once_ms.p50, r.at_once_ms.max),
          ShareText(r.at_once_ratio)},
         {"  the slowest", "", ShareText(r.at_once_slowest)}});
  }
  return text;
}

}  // namespace edgellm::app
