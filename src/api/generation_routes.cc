// See generation_routes.h.
#include "api/generation_routes.h"

#include <utility>

#include "api/answering.h"
#include "api/anthropic_request.h"
#include "api/anthropic_writer.h"
#include "api/embeddings.h"
#include "api/json_text.h"
#include "api/ollama_request.h"
#include "api/ollama_writer.h"
#include "api/openai_request.h"
#include "api/openai_writer.h"
#include "api/responses_request.h"
#include "api/responses_writer.h"

namespace edgellm::api {
namespace {

using ExchangePointer = std::shared_ptr<http::Exchange>;

/// Ollama: nothing is asked of the model but to be there, or to go.
void LoadOrUnload(const Call& call, OllamaAsk ask) {
  const bool unload = ask.action == OllamaAsk::Action::kUnload;
  const auto answer = [call, ask](std::string_view reason) {
    call.exchange->Send({.body = OllamaLoaded(ask, call.services->clock, reason)});
  };
  if (unload) {
    call.services->models->Unload(ask.load.model);  // that of a model which is not loaded is done
    return answer("unload");
  }
  const LoadRequest load = ask.load;
  call.services->models->Acquire(
      load, [call, answer, load](const std::shared_ptr<UsedModel>&, const std::exception_ptr& failure) {
        if (!failure) return answer("load");
        call.exchange->Send(ErrorReply(FailureOf(failure, Stage::kLoad, load.model), call.form));
      });
}

/// Before the prompt stands the conversation so far, in ids. A model without a template continues plain text.
void PrepareGenerate(const UsedModel& model, std::vector<int32_t> context, GenerateRequest* request) {
  if (const auto* chat = std::get_if<ChatInput>(&request->input)) {
    if (!model.has_chat_template() && !chat->chat_template) {
      std::string text;
      for (const ChatMessage& message : chat->messages) text += (text.empty() ? "" : "\n\n") + message.content;
      request->input = TextInput{std::move(text), ""};
    }
  }
  if (context.empty()) return;
  std::vector<int32_t> prompt = model.Encode(*request);
  const auto begin = model.begin_of_text();
  const bool begins_again = begin && !prompt.empty() && prompt[0] == *begin && context[0] == *begin;
  context.insert(context.end(), prompt.begin() + (begins_again ? 1 : 0), prompt.end());
  request->input = TokenInput{std::move(context)};
}

void AnswerOllama(const Call& call, OllamaAsk asked) {
  if (asked.action != OllamaAsk::Action::kAnswer) return LoadOrUnload(call, std::move(asked));
  Ask ask;
  ask.load = asked.load;
  ask.requests.push_back(std::move(asked.request));
  ask.keep_prompt_tokens = asked.keep_context;
  ask.warnings = asked.warnings;
  if (!asked.chat) {
    ask.prepare = [context = asked.context](const UsedModel& model, std::vector<GenerateRequest>* requests) {
      PrepareGenerate(model, context, &requests->front());
    };
  }
  if (asked.stream) {
    ask.stream = OllamaStream(asked, call.services->clock);
  } else {
    ask.body = [model = asked.load.model, chat = asked.chat, keep = asked.keep_context, clock = call.services->clock](
                   const Opening& opening, const WholeAnswers& answers) {
      return OllamaBody(model, chat, keep, clock, opening, answers[0][0]);
    };
  }
  AnswerCall(call, std::move(ask));
}

void HandleOllamaGenerate(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kOllama,
        [](const Call& call) { AnswerOllama(call, ParseOllamaGenerate(call.exchange->request().body)); });
}

void HandleOllamaChat(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kOllama,
        [](const Call& call) { AnswerOllama(call, ParseOllamaChat(call.exchange->request().body)); });
}

void HandleOpenAiChat(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kOpenAi, [](const Call& call) {
    OpenAiAsk asked = ParseOpenAiChat(call.exchange->request().body);
    Ask ask;
    ask.load = std::move(asked.load);
    ask.requests = std::move(asked.requests);
    if (asked.stream) {
      ask.stream = OpenAiChatStream(std::move(asked.shape));
    } else {
      ask.body = [shape = std::move(asked.shape)](const Opening& opening, const WholeAnswers& answers) {
        return OpenAiChatBody(shape, opening, answers);
      };
    }
    AnswerCall(call, std::move(ask));
  });
}

void FillEcho(const UsedModel& model, const std::vector<GenerateRequest>& requests, bool first_tokens,
              PromptEcho* echo) {
  for (const GenerateRequest& request : requests) {
    const auto* text = std::get_if<TextInput>(&request.input);
    echo->texts.push_back(text != nullptr ? text->text : model.Decode(std::get<TokenInput>(request.input).tokens));
    if (!first_tokens) continue;
    std::vector<int32_t> tokens = model.Encode(request);
    tokens.resize(std::min<size_t>(1, tokens.size()));
    echo->first_tokens.push_back(model.Decode(tokens));
  }
}

void HandleOpenAiCompletion(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kOpenAi, [](const Call& call) {
    OpenAiAsk asked = ParseOpenAiCompletion(call.exchange->request().body);
    Ask ask;
    ask.load = std::move(asked.load);
    ask.requests = std::move(asked.requests);
    const auto echo = std::make_shared<PromptEcho>();
    if (asked.shape.echo) {
      ask.prepare = [echo, first_tokens = asked.shape.log_probabilities](const UsedModel& model,
                                                                         std::vector<GenerateRequest>* requests) {
        FillEcho(model, *requests, first_tokens, echo.get());
      };
    }
    if (asked.stream) {
      ask.stream = OpenAiCompletionStream(std::move(asked.shape), echo);
    } else {
      ask.body = [shape = std::move(asked.shape), echo](const Opening& opening, const WholeAnswers& answers) {
        return OpenAiCompletionBody(shape, *echo, opening, answers);
      };
    }
    AnswerCall(call, std::move(ask));
  });
}

/// One request with one answer: as events or as one object, both made of the same facts.
template <typename Facts>
void AnswerOne(const Call& call, LoadRequest load, GenerateRequest request, bool stream, Facts facts,
               std::unique_ptr<StreamWriter> (*open)(Facts),
               std::string (*body)(const Facts&, const Opening&, const WholeAnswer&)) {
  Ask ask;
  ask.load = std::move(load);
  ask.requests.push_back(std::move(request));
  if (stream) {
    ask.stream = open(std::move(facts));
  } else {
    ask.body = [facts = std::move(facts), body](const Opening& opening, const WholeAnswers& answers) {
      return body(facts, opening, answers[0][0]);
    };
  }
  AnswerCall(call, std::move(ask));
}

void HandleResponses(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kOpenAi, [](const Call& call) {
    ResponsesAsk asked = ParseResponses(call.exchange->request().body);
    ResponsesShape shape{asked.load.model, std::move(asked.echo)};
    AnswerOne(call, std::move(asked.load), std::move(asked.request), asked.stream, std::move(shape), ResponsesStream,
              ResponsesBody);
  });
}

void HandleAnthropic(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kAnthropic, [](const Call& call) {
    AnthropicAsk asked = ParseAnthropic(call.exchange->request().body);
    std::string model = asked.load.model;
    AnswerOne(call, std::move(asked.load), std::move(asked.request), asked.stream, std::move(model), AnthropicStream,
              AnthropicBody);
  });
}

void HandleCountTokens(const ServicesPointer& services, ExchangePointer exchange) {
  Serve(services, std::move(exchange), ErrorForm::kAnthropic, [](const Call& call) {
    const auto asked = std::make_shared<AnthropicAsk>(ParseAnthropic(call.exchange->request().body, true));
    call.services->models->Acquire(
        asked->load, [call, asked](std::shared_ptr<UsedModel> model, const std::exception_ptr& failure) {
          call.services->post([call, asked, model = std::move(model), failure] {
            Stage stage = Stage::kLoad;
            try {
              if (failure) std::rethrow_exception(failure);
              stage = Stage::kRequest;
              call.exchange->Send({.body = Dump({{"input_tokens", model->Encode(asked->request).size()}})});
            } catch (...) {
              const Failure said = FailureOf(std::current_exception(), stage, asked->load.model);
              call.exchange->Send(ErrorReply(said, call.form));
            }
          });
        });
  });
}

void AnswerEmbedding(const ServicesPointer& services, ExchangePointer exchange, EmbeddingAsk::Form form) {
  const bool openai = form == EmbeddingAsk::Form::kOpenAi;
  const ErrorForm errors = openai ? ErrorForm::kOpenAi : ErrorForm::kOllama;
  Serve(services, std::move(exchange), errors, [form](const Call& call) {
    const auto asked = std::make_shared<EmbeddingAsk>(ParseEmbedding(call.exchange->request().body, form));
    if (!call.services->embed) {
      const Failure failure{Stage::kMissing, ErrorCode::kUnsupported, "embeddings are not supported by this server",
                            ""};
      return call.exchange->Send(ErrorReply(failure, call.form));
    }
    const auto cancellation = std::make_shared<Cancellation>();
    call.exchange->OnGone([cancellation] { cancellation->Cancel(); });
    call.services->embed(
        asked->request,
        [call, asked](const EmbeddingResult& result, const std::exception_ptr& failure) {
          if (failure) {
            const Failure said = FailureOf(failure, Stage::kLoad, asked->request.load.model);
            return call.exchange->Send(ErrorReply(said, call.form));
          }
          const int64_t took = call.services->clock.steady() - call.received;
          call.exchange->Send({.body = EmbeddingBody(*asked, result, took)});
        },
        cancellation);
  });
}

void HandleOllamaEmbed(const ServicesPointer& services, ExchangePointer exchange) {
  AnswerEmbedding(services, std::move(exchange), EmbeddingAsk::Form::kOllama);
}

void HandleOllamaEmbeddings(const ServicesPointer& services, ExchangePointer exchange) {
  AnswerEmbedding(services, std::move(exchange), EmbeddingAsk::Form::kOllamaOld);
}

void HandleOpenAiEmbeddings(const ServicesPointer& services, ExchangePointer exchange) {
  AnswerEmbedding(services, std::move(exchange), EmbeddingAsk::Form::kOpenAi);
}

constexpr GenerationRoute kRoutes[] = {
    {"POST", "/api/generate", HandleOllamaGenerate},    {"POST", "/api/chat", HandleOllamaChat},
    {"POST", "/api/embed", HandleOllamaEmbed},          {"POST", "/api/embeddings", HandleOllamaEmbeddings},
    {"POST", "/v1/chat/completions", HandleOpenAiChat}, {"POST", "/v1/completions", HandleOpenAiCompletion},
    {"POST", "/v1/responses", HandleResponses},         {"POST", "/v1/embeddings", HandleOpenAiEmbeddings},
    {"POST", "/v1/messages", HandleAnthropic},          {"POST", "/v1/messages/count_tokens", HandleCountTokens},
};

}  // namespace

std::span<const GenerationRoute> GenerationRoutes() {
  return kRoutes;
}

}  // namespace edgellm::api
