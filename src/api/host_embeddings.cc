// See host_embeddings.h.
#include "api/host_embeddings.h"

#include <utility>

#include "api/json_input.h"
#include "serve/embedding.h"

namespace edgellm::api {

void EmbedWith(const std::shared_ptr<ModelLease>& lease, EmbeddingRequest request, EmbeddingReady ready,
               const CancellationPointer& cancellation) {
  EmbedRequest asked;
  for (std::string& text : request.texts) asked.inputs.emplace_back(std::move(text));
  for (std::vector<int32_t>& tokens : request.tokens) asked.inputs.emplace_back(std::move(tokens));
  asked.truncate = request.truncate;
  asked.dimensions = request.dimensions;
  auto cancel =
      lease->model().Embed(asked, [lease, ready = std::move(ready)](Embeddings made, std::exception_ptr failure) {
        EmbeddingResult result;
        result.vectors = std::move(made.vectors);
        result.tokens = made.prompt_tokens;
        result.load_time = lease->load_time().count();
        ready(std::move(result), std::move(failure));
      });
  cancellation->OnCancel(std::move(cancel));
}

Services::Embed EmbeddingsOf(ModelHost& host, std::function<void(std::function<void()> task)> post) {
  return [&host, post = std::move(post)](EmbeddingRequest request, EmbeddingReady ready,
                                         CancellationPointer cancellation) {
    const LoadRequest load = request.load;
    const auto work = [post, request = std::move(request), ready = std::move(ready), cancellation](
                          const std::shared_ptr<ModelLease>& lease, const std::exception_ptr& failure) {
      if (failure) return ready({}, failure);
      post([lease, request, ready, cancellation] {
        try {
          if (cancellation->cancelled()) Fail(ErrorCode::kBusy, "the embedding was cancelled");
          EmbedWith(lease, request, ready, cancellation);
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
