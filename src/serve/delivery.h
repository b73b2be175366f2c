// The thread between an engine's events and those who listen to answers: the engine's thread only leaves its events
// here; text, tool calls and listeners are this thread's work, in the order of the events.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/engine_thread.h"
#include "serve/answer_stream.h"
#include "serve/generate.h"

namespace edgellm {

class Delivery {
 public:
  /// Called by this thread when an answer has ended before the engine knows (a stop string), or, with kAllSamples, when
  /// a listener threw.
  using CancelAnswer = std::function<void(RequestId request, int sample)>;

  explicit Delivery(CancelAnswer cancel);
  /// Stop().
  ~Delivery();
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  class OpenRequest;
  /// A request that counts as open from now on, until its last answer has ended or it is let go without an event.
  /// `streams`: one for each answer. `tokenizer` must outlive it.
  std::shared_ptr<OpenRequest> Open(const text::Tokenizer& tokenizer, std::vector<AnswerStream> streams, uint64_t seed,
                                    AnswerListener listener);

  /// By the engine's thread: takes a lock that is held for a few instructions, and copies what the event points to.
  void Push(const std::shared_ptr<OpenRequest>& request, const Event& event, const Ending* ending);

  /// By any thread but that of a listener that waits for it: `work` is done here, in its turn. It must not throw.
  void Post(std::function<void()> work);

  int open() const { return open_->load(std::memory_order_relaxed); }
  /// True in a listener.
  bool InThread() const { return std::this_thread::get_id() == thread_id_; }
  /// Delivers what is left and returns. Nothing may be pushed any more.
  void Stop();

 private:
  struct Arrival {
    std::shared_ptr<OpenRequest> request;
    Event event;
    std::unique_ptr<std::vector<TokenLogProbability>> likeliest;  // what event.likeliest was
    std::unique_ptr<std::pair<RequestStatistics, std::string>> ending;
    std::function<void()> work;  // instead of all others
  };

  void Put(Arrival arrival);

  void Main();
  void Deliver(Arrival& arrival);

  const CancelAnswer cancel_;
  const std::shared_ptr<std::atomic<int>> open_;  // requests outlive this at times
  std::mutex mutex_;                              // of the next three
  std::condition_variable arrived_;
  std::vector<Arrival> arrivals_;
  bool stopping_ = false;
  std::mutex joining_;
  std::thread thread_;
  std::thread::id thread_id_;
};

}  // namespace edgellm
