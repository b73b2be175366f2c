// A request in messages and options made ready for the engine: its prompt, its sampling, what its answer must look
// like, and how its tokens become text. Everything that can be wrong with a request is found here, before it is queued.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "engine/request.h"
#include "model/model.h"
#include "serve/answer_format.h"
#include "serve/answer_stream.h"
#include "serve/prompt.h"

namespace edgellm {

struct PreparedRequest {
  Request request;
  PromptFacts facts;
  bool thinks = false;         // the answer begins inside a thinking part
  AnswerStreamOptions stream;  // of the first answer; calls of each need ids of their own (StreamOptionsOf)
};

/// Of the sample-th answer.
AnswerStreamOptions StreamOptionsOf(const PreparedRequest& prepared, int sample);

/// Thread-safe.
class RequestPreparer {
 public:
  /// Calls that a model may be made to make in one answer.
  static constexpr int kMostCalls = 16;

  /// Keeps references to all three. `tokenizer` may be null.
  RequestPreparer(const Model& model, const text::Tokenizer* tokenizer, const PromptMaker& prompts);

  /// Throws Error: as PromptMaker::Make; kInvalidArgument for options out of range; for a format as GrammarOf, for
  /// tools that must be called as ToolCallGrammar.
  PreparedRequest Prepare(const GenerateRequest& request);

  ConstraintCache& constraints();

 private:
  std::shared_ptr<const constrain::TokenConstraint> ConstraintOf(const GenerateRequest& request,
                                                                 const MadePrompt& prompt);

  const Model& model_;
  const text::Tokenizer* tokenizer_;
  const PromptMaker& prompts_;
  std::vector<int32_t> spelled_;
  std::once_flag constraints_made_;
  std::optional<ConstraintCache> constraints_;  // takes a while: when first needed
};

}  // namespace edgellm
