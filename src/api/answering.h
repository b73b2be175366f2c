// The one way from a parsed request to its answer, the same for every API: acquire the model, start its requests, hand
// the pieces to a writer of the API's format, send what that makes; cancel when the client goes. The model stays in use
// until the last answer has ended. Knows no wire format.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "api/failure.h"
#include "api/services.h"
#include "http/exchange.h"
#include "serve/generate.h"

namespace edgellm::api {

/// What is known before the first piece.
struct Opening {
  std::string id;                                   // 24 letters and digits: names of answers are made of it
  int64_t created = 0;                              // Unix nanoseconds
  int64_t received = 0;                             // steady nanoseconds: when the request came
  int64_t load_time = 0;                            // nanoseconds
  std::vector<ServedModel::Ticket> tickets;         // of each of the requests
  std::vector<std::vector<int32_t>> prompt_tokens;  // where the ask wants them
};

/// Writes a stream. Calls come one after the other; each appends what is to be sent, or nothing. `request`: which of
/// the ask's requests.
class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  virtual std::string_view content_type() const = 0;
  /// What clients pass over, for times in which there is nothing to say; empty where the format has no such thing.
  virtual std::string_view keep_alive() const { return {}; }
  virtual void Begin(const Opening& opening, std::string* out) = 0;
  virtual void Piece(size_t request, const AnswerPiece& piece, std::string* out) = 0;
  virtual void Ended(size_t request, const AnswerEnd& end, std::string* out) = 0;
  /// Every answer has ended.
  virtual void Finish(std::string* out) = 0;
  /// It ends here: the last call.
  virtual void Fail(const Failure& failure, std::string* out) = 0;
};

/// One answer, gathered.
struct WholeAnswer {
  std::string content, thinking;
  std::vector<constrain::ToolCall> tool_calls;
  std::vector<TokenFacts> tokens, prompt_tokens;
  AnswerEnd end;

  void Add(const AnswerPiece& piece);
};

/// [request][sample]
using WholeAnswers = std::vector<std::vector<WholeAnswer>>;

struct Ask {
  LoadRequest load;
  std::vector<GenerateRequest> requests;  // at least one; all are started or none
  /// What can only be decided when the model is known; may change the requests and throw.
  std::function<void(const UsedModel& model, std::vector<GenerateRequest>* requests)> prepare;
  bool keep_prompt_tokens = false;    // fill Opening::prompt_tokens
  std::vector<std::string> warnings;  // for people; an HTTP answer has them as headers
  // One of the two.
  std::unique_ptr<StreamWriter> stream;
  std::function<std::string(const Opening&, const WholeAnswers&)> body;
};

/// Where an answer goes. Calls come one after the other.
class AnswerSink {
 public:
  virtual ~AnswerSink() = default;
  /// Instead of all others: there is no answer.
  virtual void Refuse(const Failure& failure) = 0;
  virtual void Whole(std::string body) = 0;
  /// `keep_alive`: as StreamWriter's.
  virtual void Begin(std::string_view content_type, std::string_view keep_alive) = 0;
  /// False when nobody listens any more.
  virtual bool Write(std::string bytes) = 0;
  virtual void End() = 0;
  /// An answer that was cancelled by Cancel() (and not for want of a client) is complete as it is; otherwise a failure.
  virtual bool takes_cancelled() const { return false; }
};

/// An answer in the making.
class Answering {
 public:
  virtual ~Answering() = default;
  /// From any thread, any time, any number of times: the answers end soon.
  virtual void Cancel() = 0;
};

/// Begins, and returns at once; the answer keeps itself alive until it has ended. `received`: by the steady clock.
std::shared_ptr<Answering> StartAnswer(ServicesPointer services, std::shared_ptr<AnswerSink> sink, Ask ask,
                                       int64_t received);

/// One HTTP request on its way.
struct Call {
  ServicesPointer services;
  std::shared_ptr<http::Exchange> exchange;
  ErrorForm form;
  int64_t received;  // by the steady clock
};

/// Calls `work` on a thread of services.post; what it throws is the answer.
void Serve(const ServicesPointer& services, std::shared_ptr<http::Exchange> exchange, ErrorForm form,
           std::function<void(const Call&)> work);

/// StartAnswer for an exchange.
void AnswerCall(const Call& call, Ask ask);

}  // namespace edgellm::api
