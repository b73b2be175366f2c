// Services::embed over the real thing: ModelHost and ServedModel. Nothing but forwarding.
#pragma once

#include <functional>
#include <memory>

#include "api/services.h"
#include "serve/model_host.h"

namespace edgellm::api {

/// By one model, which stays in use until the answer is there. Throws as ServedModel::Embed.
void EmbedWith(const std::shared_ptr<ModelLease>& lease, EmbeddingRequest request, EmbeddingReady ready,
               const CancellationPointer& cancellation);

/// `host` must outlive what is returned and every answer. `post`: as Services', texts are made tokens there.
Services::Embed EmbeddingsOf(ModelHost& host, std::function<void(std::function<void()> task)> post);

}  // namespace edgellm::api
