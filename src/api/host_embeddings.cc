// See host_embeddings.h.
#include "api/host_embeddings.h"

#include <utility>

#include "api/json_input.h"
#include "serve/embedding.h"

namespace edgellm::api {

void EmbedWith(const std::shared_ptr<ModelLease>& lease, EmbeddingRequest request, EmbeddingReady ready) {
  EmbedRequest asked;
  for (std::string& text : request.texts) asked.inputs.emplace_back(std::move(text));
  for (std::vector<int32_t>& tokens : request.tokens) asked.inputs.emplace_back(std::move(tokens));
  asked.truncate = request.truncate;
  asked.dimensions = request.dimensions;
  lease->model().Embed(asked, [lease, ready = std::move(ready)](Embeddings made, std::exception_ptr failure) {
    EmbeddingResult result;
    result.vectors = std::move(made.vectors);
    result.tokens = made.prompt_tokens;
    result.load_time = lease->load_time().count();
    ready(std::move(result), std::move(failure));
  });
}

std::function<void(EmbeddingRequest request, EmbeddingReady ready)> EmbeddingsOf(
    ModelHost& host, std::function<void(std::function<void()> task)> post) {
  return [&host, post = std::move(post)](EmbeddingRequest request, EmbeddingReady ready) {
    const LoadRequest load = request.load;
    const auto work = [post, request = std::move(request), ready = std::move(ready)](
                          const std::shared_ptr<ModelLease>& lease, const std::exception_ptr& failure) {
      if (failure) return ready({}, failure);
      post([lease, request, ready] {
        try {
          EmbedWith(lease, request, ready);
        } catch (const Error& error) {
          ready({}, std::make_exception_ptr(RequestError(error.code(), "input", error.what())));
        } catch (...) {
          ready({}, std::current_exception());
        }
      });
    };
    host.Acquire(load, work);
  };
}

}  // namespace edgellm::api
