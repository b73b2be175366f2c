// A loaded model that answers: model, tokenizer, chat template and engine behind one face. The command line uses it
// alone; a server shares it among requests. It deals in text and messages; sampling, pages and schedules are the
// engine's.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "model/model.h"
#include "serve/answer_format.h"
#include "serve/generate_options.h"
#include "text/tokenizer.h"

namespace edgellm {

class PromptMaker;

struct RuntimeOptions {
  std::string backend = "auto";
  BackendOptions backend_options;
  int context = 0;           // positions; 0: DefaultContext()
  std::optional<KvType> kv;  // absent: DefaultKv()
};

struct Message {
  std::string role, content;
};

/// One prompt, ready to be read.
struct Prompt {
  std::vector<int32_t> tokens;
  bool answers = true;  // the text to come stands alone (a chat's answer); false: it continues the prompt's text
};

/// Who listens while an answer is made. Both may be empty.
struct GenerateListener {
  std::function<void(std::string_view)> text;  // whole UTF-8, never part of a stop string
  std::function<bool()> cancelled;             // asked after every forward
};

struct Generation {
  FinishReason finish = FinishReason::kNone;
  std::vector<int32_t> tokens;  // with those whose text a stop string swallowed
  RequestStatistics statistics;
  uint64_t seed = 0;

  /// Tokens a second; 0 where nothing was measured. The first token comes with the prompt, so that decoding has one
  /// forward less than `statistics` has generated tokens (a stop token counts as one).
  double PromptRate() const;
  double DecodeRate() const;
};

class Runtime {
 public:
  /// Binds the model's weights to a backend; the model is kept. Throws Error as MakeBackend does, kInvalidArgument for
  /// a context longer than the model's.
  Runtime(Model model, const RuntimeOptions& options);
  ~Runtime();
  Runtime(Runtime&&) noexcept;

  const Model& model() const { return *model_; }
  int context() const { return context_; }
  BackendInfo backend() const { return engine_->backend().Describe(); }
  /// Throws Error(kUnsupported) when the model came without one.
  const text::Tokenizer& tokenizer() const;
  bool has_chat_template() const { return !model().chat_template.empty(); }

  /// The conversation as the model's template writes it, up to where the answer begins.
  std::string RenderChat(std::span<const Message> messages);
  /// The rendered conversation in ids. Nothing is put around it: a template writes its own BOS.
  Prompt EncodeChat(std::span<const Message> messages);
  /// Plain text to be continued, with what the tokenizer puts before a text.
  Prompt EncodeText(std::string_view text) const;

  /// Reads the prompt and produces the answer, in the calling thread.
  /// Throws Error: kLimit (the prompt does not fit the context, with numbers), kInvalidArgument (an option out of
  /// range), and for the answer's format as GrammarOf does. With a format, an answer that ends by kStop has it; any
  /// other end leaves it incomplete.
  Generation Generate(const Prompt& prompt, const GenerateOptions& options, const GenerateListener& listener);

  /// The greedy continuation in ids, through stop tokens, of exactly `count` tokens unless the context ends before.
  std::vector<int32_t> Greedy(std::span<const int32_t> prompt, int count);

 private:
  std::unique_ptr<const Model> model_;  // others keep references
  int context_ = 0;
  std::unique_ptr<const text::Tokenizer> tokenizer_;
  std::unique_ptr<const PromptMaker> prompts_;
  std::unique_ptr<ConstraintCache> constraints_;  // made when first used
  std::unique_ptr<Engine> engine_;
};

/// The context that `options` asks for, or the default. Throws Error(kInvalidArgument) for one longer than the model's.
int ContextFor(const ModelConfig& config, int asked);

/// EDGELLM_CONTEXT_LENGTH, else 4096, and never more than the model's own.
int DefaultContext(const ModelConfig& config);
/// EDGELLM_KV_CACHE_TYPE, else f32 where the matrices are f32 and f16 everywhere else.
KvType DefaultKv(const Model& model);
/// Throws Error(kInvalidArgument).
KvType ParseKvType(std::string_view name);

/// A backend of `options` for a model, for work that goes through no engine. The model must outlive it.
std::unique_ptr<Backend> BindBackend(const Model& model, const BackendLimits& limits, const RuntimeOptions& options);

/// Prompts with recorded greedy continuations, for the model file: how `edgellm verify` proves it elsewhere.
std::vector<GoldenPrompt> RecordGolden(Runtime& runtime, int count);

}  // namespace edgellm
