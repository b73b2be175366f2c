// Models that say what a test tells them to, and a client that keeps what it is sent: the generation APIs without an
// engine and without sockets.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "api/generation_routes.h"
#include "api/services.h"
#include "http/exchange.h"

namespace edgellm::api {

/// What a model answers to one request.
struct Script {
  std::vector<AnswerPiece> pieces;
  std::vector<AnswerEnd> ends;  // one for each sample; empty: stop, for each
  ServedModel::Ticket ticket;
  std::exception_ptr refusal;  // thrown by Start
};

class FakeModels final : public Models {
 public:
  /// When a request's script is played: while Start is running, or when Play is called.
  enum class When : uint8_t { kInStart, kLater };

  explicit FakeModels(When when = When::kInStart) : when_(when) {}

  void Acquire(LoadRequest request, Ready ready) override;
  bool Unload(const std::string& model) override;

  /// Of the requests to come, in order; the last one is used again and again.
  void Say(Script script);
  void FailLoading(std::exception_ptr failure);
  /// Delivers up to `pieces` pieces of each open request, and the ends after the last. A cancelled request ends with
  /// kCancelled.
  void Play(size_t pieces = SIZE_MAX);

  std::vector<LoadRequest> loads() const;
  std::vector<std::string> unloads() const;
  std::vector<GenerateRequest> requests() const;  // that were started or refused
  std::vector<RequestId> cancelled() const;
  int in_use() const;  // leases held

 private:
  class Model;
  struct Open {
    RequestId id;
    int samples;
    AnswerListener listener;
    Script script;
    size_t next = 0;
    bool cancelled = false;
  };

  ServedModel::Ticket Start(GenerateRequest request, AnswerListener listener);
  void Cancel(RequestId id);
  static bool PlayOne(Open* open, size_t pieces);

  const When when_;
  mutable std::mutex mutex_;
  std::deque<Script> scripts_;
  std::exception_ptr load_failure_;
  std::vector<LoadRequest> loads_;
  std::vector<std::string> unloads_;
  std::vector<GenerateRequest> requests_;
  std::vector<RequestId> cancelled_;
  std::vector<std::shared_ptr<Open>> open_;
  RequestId next_id_ = 1;
  int in_use_ = 0;
};

/// An HTTP client's side of an exchange.
class FakeExchange final : public http::Exchange {
 public:
  FakeExchange(std::string path, std::string body);

  const http::Request& request() const override { return request_; }
  void Send(http::Reply reply) override;
  void Begin(int status, std::string content_type, http::Headers headers) override;
  bool Write(std::string bytes) override;
  void KeepAlive(std::string bytes) override;
  void End() override;
  void OnGone(std::function<void()> gone) override;

  /// The client goes.
  void Leave();
  /// From now on nothing is read.
  void StopReading();

  struct Received {
    int status = 0;  // 0: nothing came
    std::string content_type, body, keep_alive;
    http::Headers headers;
    bool streamed = false, complete = false;
    int answers = 0;  // Send and Begin together
  };
  Received received() const;

 private:
  http::Request request_;
  mutable std::mutex mutex_;
  Received received_;
  bool reading_ = true, left_ = false;
  std::function<void()> gone_;
};

class FakeSocket final : public http::WebSocket {
 public:
  const http::Request& request() const override { return request_; }
  bool Send(std::string text) override;
  void Close(uint16_t code, std::string reason) override;
  /// What came since the last call.
  std::vector<std::string> Take();
  uint16_t closed() const { return closed_; }

 private:
  http::Request request_;
  std::mutex mutex_;
  std::vector<std::string> received_;
  uint16_t closed_ = 0;
};

/// 2026-01-01T00:00:00.123456789Z.
inline constexpr int64_t kWallTime = 1'767'225'600'123'456'789;

/// Tasks run at once; time stands still but for the steady clock, which moves a second each time it is read.
std::shared_ptr<Services> FakeServices(std::shared_ptr<FakeModels> models);

/// Sends a request to a route of GenerationRoutes.
std::shared_ptr<FakeExchange> SendTo(const ServicesPointer& services, const std::string& path, const std::string& body);

/// A piece of text; an end with 7 tokens of prompt, 2 of them cached, and 3 generated.
AnswerPiece Text(std::string content, int sample = 0);
AnswerEnd End(AnswerEnd::Reason reason = AnswerEnd::Reason::kStop, int sample = 0);
Script Says(std::vector<std::string> pieces, AnswerEnd::Reason reason = AnswerEnd::Reason::kStop);

}  // namespace edgellm::api
