// A loaded model that many threads ask at once: its tokenizer, chat template and constraints, the engine on a thread of
// its own, and a second thread that turns tokens into text so that the engine never waits for it.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "engine/engine_thread.h"
#include "serve/embedding.h"
#include "serve/generate.h"
#include "serve/runtime.h"

namespace edgellm {

struct ServedModelOptions {
  RuntimeOptions runtime;
  int parallel = 0;     // answers that run together; 0: as many as memory and the backend make sensible
  int max_queue = 512;  // open requests, those that run included
  bool prefix_cache = true;
};

class ServedModel {
 public:
  /// Throws as Runtime's.
  ServedModel(Model model, const ServedModelOptions& options);
  /// Cancels what runs.
  ~ServedModel();

  struct Ticket {
    RequestId id = 0;
    PromptFacts prompt;
    bool thinks = false;  // the answer begins inside a thinking part
  };
  /// From any thread. Pieces may come before it returns. Throws Error: kInvalidArgument, kLimit, kUnsupported (no
  /// template, no tool calls in this model), kBusy (queue full).
  Ticket Start(GenerateRequest request, AnswerListener listener);
  /// From any thread, a listener included. The answers end with kCancelled, unless they end before.
  void Cancel(RequestId id);

  /// From any thread; does not block. `listener` is called once, from delivery's thread as AnswerListener, with one
  /// unit vector for each input, or what went wrong. Call what is returned to cancel. Throws Error: kInvalidArgument
  /// (no inputs, an empty one, dimensions out of range), kLimit (an input longer than the context), kBusy.
  std::function<void()> Embed(const EmbedRequest& request, EmbedListener listener);

  /// Text of the prompt that Start would make, and its ids. Throws as Start.
  std::string Render(const GenerateRequest& request) const;
  std::vector<int32_t> Encode(const GenerateRequest& request) const;

  const Model& model() const;
  const text::Tokenizer& tokenizer() const;
  int context() const;
  int parallel() const;
  BackendInfo backend() const;
  bool supports_tools() const;
  bool supports_thinking() const;
  uint64_t memory_bytes() const;  // weights and KV, as the backend has them

  EngineMetrics Metrics() const;
  int open_requests() const;
  /// Takes no more requests; open ones finish within `grace`, then are cancelled. Returns when all have been told.
  void Stop(std::chrono::nanoseconds grace);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgellm
