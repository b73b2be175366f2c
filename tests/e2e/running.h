// What whole-model tests share: a model on a backend, forwards over plain token lists, greedy continuation.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "engine/engine.h"
#include "model/lower.h"
#include "model/model.h"

namespace edgellm {

/// "reference", or "cpu" on one instruction set.
struct Target {
  std::string backend, isa;
  int threads = 1;
  std::string ternary = {};  // as BackendOptions::ternary
};

/// The reference and every instruction set that this machine runs.
inline std::vector<Target> AllTargets() {
  std::vector<Target> targets = {{"reference", ""}};
  for (const cpu::KernelTable* kernels : cpu::UsableKernels()) targets.push_back({"cpu", kernels->name});
  return targets;
}

inline std::unique_ptr<Backend> Bind(const Model& model, const Target& target, const BackendLimits& limits) {
  const Plan plan = Lower(model.config);
  const std::vector<WeightView> weights = model.weights.Bind(plan, model.name);
  return MakeBackend(target.backend, plan, weights, limits,
                     {.threads = target.threads, .isa = target.isa, .ternary = target.ternary});
}

/// Logits of every position of `ids`, in forwards of at most `slice` tokens: [position][vocab].
inline std::vector<std::vector<float>> AllLogits(const Model& model, const Target& target,
                                                 const std::vector<int32_t>& ids, KvType kv = KvType::kF32,
                                                 int slice = INT32_MAX) {
  const int count = static_cast<int>(ids.size()), pages = (count + kPageTokens - 1) / kPageTokens;
  slice = std::min(slice, count);
  const auto backend =
      Bind(model, target,
           {.batch_tokens = slice, .logit_rows = slice, .pages = pages, .context = count, .kv = kv});
  std::vector<int32_t> positions(ids.size()), sequences(ids.size(), 0), table(static_cast<size_t>(pages));
  std::iota(positions.begin(), positions.end(), 0);
  std::iota(table.rbegin(), table.rend(), 0);
  std::vector<std::vector<float>> logits;
  for (int first = 0; first < count; first += slice) {
    const auto from = static_cast<size_t>(first), size = static_cast<size_t>(std::min(slice, count - first));
    backend->Forward({.tokens = std::span(ids).subspan(from, size),
                      .positions = std::span(positions).subspan(from, size),
                      .sequences = std::span(sequences).first(size),
                      .pages = table,
                      .pages_per_sequence = pages,
                      .logit_rows = std::span(positions).first(size),
                      .sampling = {}});
    for (int row = 0; row < static_cast<int>(size); ++row) {
      const auto values = backend->LogitsOf(row);
      logits.emplace_back(values.begin(), values.end());
    }
  }
  return logits;
}

inline std::unique_ptr<Engine> MakeEngine(const Model& model, const Target& target, EngineOptions options, KvType kv) {
  options.vocab = model.config.vocab;
  return std::make_unique<Engine>(Bind(model, target, EngineLimits(options, kv)), options);
}

inline Request GreedyRequest(const std::vector<int32_t>& prompt, int tokens) {
  Request request;
  request.prompt = prompt;
  request.max_tokens = tokens;
  request.sampling.temperature = 0;
  return request;
}

/// Runs everything that was submitted to the end: the ids per request.
inline std::map<RequestId, std::vector<int32_t>> RunAll(Engine& engine) {
  std::map<RequestId, std::vector<int32_t>> answers;
  while (!engine.idle()) {
    for (const Event& event : engine.Step()) {
      if (event.token >= 0) answers[event.request].push_back(event.token);
    }
    engine.CheckIntegrity();
  }
  return answers;
}

inline std::vector<int32_t> Greedy(const Model& model, const Target& target, const std::vector<int32_t>& prompt,
                                   int tokens, KvType kv = KvType::kF32) {
  auto engine = MakeEngine(model, target, {.context = static_cast<int>(prompt.size()) + tokens + 1, .batch_tokens = 64}, kv);
  const RequestId id = engine->Submit(GreedyRequest(prompt, tokens));
  return RunAll(*engine)[id];
}

}  // namespace edgellm
