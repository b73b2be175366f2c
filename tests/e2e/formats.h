// The tiny checkpoints of tests/golden in every weight format, and a handful of requests that differ: what tests of
// determinism share.
#pragma once

#include <string>
#include <vector>

#include "convert/import.h"
#include "quant/codec.h"
#include "tests/e2e/running.h"
#include "tests/source_dir.h"

namespace edgellm {

/// The checkpoint with every matrix of its layers and its head in `format`.
inline Model InFormat(const std::string& checkpoint, const WeightFormat& format) {
  const Model source = ImportHuggingFace(SourceDir() / "tests" / "golden" / checkpoint, {});
  Model model = source;
  model.weights = {};
  for (const auto& [name, tensor] : source.weights.tensors()) {
    const WeightView& view = tensor.view;
    if (tensor.is_vector) {
      model.weights.Add(name, tensor);
      continue;
    }
    std::vector<float> row(static_cast<size_t>(view.cols));
    model.weights.Add(name, EncodeTensor(format, view.rows, view.cols, [&](int64_t r) -> std::span<const float> {
                        DecodeRow(view, r, row);
                        return row;
                      }));
  }
  return model;
}

inline std::vector<int32_t> Prompt(int length, int start, int vocab) {
  std::vector<int32_t> ids;
  for (int i = 0; i < length; ++i) ids.push_back((start * 31 + i * 17) % vocab);
  return ids;
}

/// Seven requests of differing length, some sampled, some greedy, in an engine that runs `together` at a time.
inline std::vector<std::vector<int32_t>> Answers(const Model& model, const Target& target, int together,
                                                 int batch_tokens, KvType kv) {
  auto engine = MakeEngine(model, target, {.context = 96, .max_sequences = together, .batch_tokens = batch_tokens}, kv);
  std::vector<RequestId> ids;
  for (int i = 0; i < 7; ++i) {
    Request request = GreedyRequest(Prompt(1 + i * 8, i, model.config.vocab), 4 + i);
    if (i % 2 == 1) {
      request.sampling.temperature = 0.9f;
      request.sampling.seed = static_cast<uint64_t>(i);
      request.sampling.repetition_penalty = 1.1f;
    }
    ids.push_back(engine->Submit(std::move(request)));
  }
  auto answers = RunAll(*engine);
  std::vector<std::vector<int32_t>> result;
  for (RequestId id : ids) result.push_back(answers[id]);
  return result;
}

}  // namespace edgellm
