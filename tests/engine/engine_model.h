// A day of random requests at an engine over a Recorder: arrivals, lengths, classes, several answers, cancellations,
// too few pages. What must hold whatever happens: every answer is the one that the request gets alone, nothing is lost,
// and everybody comes to an end.
#pragma once

#include <map>
#include <random>
#include <stdexcept>

#include "tests/engine/recorder.h"

namespace edgellm {

class RandomDay {
 public:
  explicit RandomDay(uint32_t seed) : random_(seed), bench_(SomeOptions()) {
    if (Below(2) == 0) return;  // forwards take no time
    bench_.recorder->clock = &bench_.now;
    bench_.recorder->fixed_time = 100'000;
    bench_.recorder->token_time = Below(3) * 20'000;
  }

  void Run(int rounds) {
    for (int round = 0; round < rounds; ++round) {
      if (Below(3) == 0) Submit();
      if (!asked_.empty() && Below(10) == 0) Cancel();
      if (Below(60) == 0) bench_.engine->DropCached();
      Step();
    }
    // Each open answer needs at most its tokens' forwards, again for each time that it gave way.
    int64_t patience = 200'000;
    while (!bench_.engine->idle()) {
      if (--patience < 0) throw std::logic_error("somebody starves");
      Step();
    }
    for (const auto& [id, request] : asked_) {
      for (int sample = 0; sample < request.samples; ++sample) CheckAnswer(id, request, sample);
    }
    bench_.engine->DropCached();
    const EngineMetrics metrics = bench_.engine->Metrics();
    if (metrics.pages_held + metrics.pages_cached != 0) throw std::logic_error("pages are lost");
    preemptions = metrics.preemptions;
    shared = metrics.shared_tokens;
  }

  int64_t preemptions = 0, shared = 0;

 private:
  static constexpr int kContext = 80;

  struct Got {
    std::vector<int32_t> answer, prompt;
    FinishReason finish = FinishReason::kNone;
  };

  int Below(int bound) { return std::uniform_int_distribution<int>(0, bound - 1)(random_); }

  EngineOptions SomeOptions() {
    EngineOptions options;
    options.context = kContext;
    options.max_sequences = 1 + Below(6);
    options.batch_tokens = options.max_sequences + Below(40);
    options.pages = Below(2) == 0 ? 0 : kContext / kPageTokens + Below(8);
    options.pages = std::min(options.pages, options.max_sequences * kContext / kPageTokens);
    options.prefix_cache = Below(4) != 0;
    options.score_rows = Below(2) * 5;
    options.rules.aging = 50'000'000;  // fifty steps
    return options;
  }

  void Submit() {
    const int length = 1 + Below(60);
    // Few beginnings, so that prompts often share one; seldom a change on the way.
    Request request = Ask(Iota(length, Below(2)), 1 + Below(19));
    if (Below(3) == 0) request.prompt[static_cast<size_t>(Below(length))] = Below(kVocab);
    request.samples = Below(6) == 0 ? 1 + Below(4) : 1;
    request.priority = static_cast<Priority>(Below(3));
    request.deadline = Below(3);
    request.cache_salt = Below(4) == 0 ? "other" : "";
    request.sampling.temperature = static_cast<float>(Below(2));
    request.sampling.seed = static_cast<uint64_t>(Below(1000));
    request.prompt_log_probabilities = Below(8) == 0;
    asked_[bench_.engine->Submit(request)] = request;
  }

  void Cancel() {
    const RequestId victim = 1 + Below(static_cast<int>(asked_.size()));
    bench_.engine->Cancel(victim);
    cancelled_[victim] = true;
  }

  void Step() {
    for (const Event& event : bench_.Step()) {
      Got& got = got_[{event.request, event.sample}];
      if (got.finish != FinishReason::kNone) throw std::logic_error("an event after the end");
      got.finish = event.finish;
      if (event.token >= 0) (event.prompt ? got.prompt : got.answer).push_back(event.token);
    }
  }

  void CheckAnswer(RequestId id, const Request& request, int sample) {
    const Got& got = got_[{id, sample}];
    if (got.finish == FinishReason::kNone) throw std::logic_error("a request was not answered");
    SamplingParameters sampling = request.sampling;
    if (sample > 0) sampling.seed = SeedOf(sampling.seed, sample);
    auto expected = Expected(request.prompt, request.max_tokens, sampling);
    if (cancelled_[id]) expected.resize(std::min(expected.size(), got.answer.size()));
    if (got.answer != expected) throw std::logic_error("an answer depends on company");
    if (request.prompt_log_probabilities && sample == 0 && !cancelled_[id]) {
      if (got.prompt != std::vector<int32_t>(request.prompt.begin() + 1, request.prompt.end())) {
        throw std::logic_error("a prompt was not scored once and in order");
      }
    }
  }
  std::mt19937 random_;
  Bench bench_;
  std::map<RequestId, Request> asked_;
  std::map<RequestId, bool> cancelled_;
  std::map<std::pair<RequestId, int>, Got> got_;
};

}  // namespace edgellm
