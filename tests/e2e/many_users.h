// 64 requests to the demo model at once, each held to what it answers alone.
#pragma once

#include <gtest/gtest.h>

#include "model/model_file.h"
#include "tests/e2e/running.h"
#include "tests/source_dir.h"

namespace edgellm {

class ManyUsers {
 public:
  ManyUsers(int count, int longest, int answer)
      : model_(ReadModelFile(SourceDir() / "models" / "demo" / "demo.edgellm")) {
    const auto token = [&](int i) { return 10 + i * 37 % (model_.config.vocab - 10); };
    for (int i = 0; i < count; ++i) {
      std::vector<int32_t> prompt;
      const int length = 1 + (i * 29) % longest,
                shared = i % 3 == 0 ? 0 : length * 3 / 4;  // two in three share a beginning
      for (int t = 0; t < length; ++t) prompt.push_back(token(t < shared ? t : t + 100 * i));
      Request request = GreedyRequest(prompt, answer);
      request.priority = static_cast<Priority>(i % 3);
      requests_.push_back(request);
    }
    context_ = longest + answer + 1;
    for (const Request& request : requests_) {
      auto engine = Make({.context = context_, .batch_tokens = 64, .prefix_cache = false});
      const RequestId id = engine->Submit(request);
      alone_.push_back(RunAll(*engine)[id]);
    }
  }

  /// Submits all, some of them a few steps later than others. Returns what the engine counted.
  EngineMetrics Run(EngineOptions options) const {
    options.context = context_;
    auto engine = Make(options);
    std::map<RequestId, std::vector<int32_t>> answers;
    std::vector<RequestId> ids;
    const auto step = [&] {
      for (const Event& event : engine->Step()) {
        if (event.token >= 0) answers[event.request].push_back(event.token);
      }
      engine->CheckIntegrity();
    };
    for (size_t i = 0; i < requests_.size(); ++i) {
      ids.push_back(engine->Submit(requests_[i]));
      if (i % 8 == 7) step();
    }
    while (!engine->idle()) step();
    for (size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(answers[ids[i]], alone_[i]) << "request " << i;
    return engine->Metrics();
  }

  int count() const { return static_cast<int>(requests_.size()); }
  int context() const { return context_; }

 private:
  std::unique_ptr<Engine> Make(const EngineOptions& options) const {
    return MakeEngine(model_, {"cpu", "", 1}, options, KvType::kF16);
  }

  Model model_;
  int context_ = 0;
  std::vector<Request> requests_;
  std::vector<std::vector<int32_t>> alone_;
};

}  // namespace edgellm
