// Perplexity of a loaded model over a text: what `edgellm perplexity` prints; and what `quantize` compares.
#pragma once

#include <optional>
#include <string_view>

#include "engine/perplexity.h"
#include "model/model.h"
#include "serve/runtime.h"

namespace edgellm::app {

/// With a progress bar. Without `window`: 512, or the model's context where that is less.
Perplexity PerplexityOf(const Model& model, std::string_view text, std::optional<int> window,
                        const RuntimeOptions& options);

/// Two models of one tokenizer, the first as the reference, on the same windows. Both are held at once.
Divergence DivergenceOf(const Model& reference, const Model& other, std::string_view text, std::optional<int> window,
                        const RuntimeOptions& options);

}  // namespace edgellm::app
