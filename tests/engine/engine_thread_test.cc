// The thread around the engine: many who submit and cancel at once, listeners, stopping, a backend that fails.
#include "engine/engine_thread.h"

#include <condition_variable>
#include <mutex>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/engine/recorder.h"

namespace edgellm {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;

/// What one request's listener has heard.
class Heard {
 public:
  EngineThread::Listener Listener() {
    return [this](const Event& event, const Ending* ending) {
      const std::lock_guard lock(mutex_);
      if (event.token >= 0) tokens_.push_back(event.token);
      if (ending == nullptr) return;
      finish_ = event.finish;
      failure_ = ending->failure;
      statistics_ = ending->statistics;
      ended_.notify_all();
    };
  }
  FinishReason Wait() {
    std::unique_lock lock(mutex_);
    ended_.wait(lock, [this] { return finish_ != FinishReason::kNone; });
    return finish_;
  }
  std::vector<int32_t> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::string failure() {
    const std::lock_guard lock(mutex_);
    return failure_;
  }
  RequestStatistics statistics() {
    const std::lock_guard lock(mutex_);
    return statistics_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  std::vector<int32_t> tokens_;
  FinishReason finish_ = FinishReason::kNone;
  std::string failure_;
  RequestStatistics statistics_;
};

EngineOptions Options() {
  return {.vocab = kVocab, .context = 128, .max_sequences = 4, .batch_tokens = 32, .max_waiting = 64};
}

std::unique_ptr<Engine> MakeEngine(const EngineOptions& options, Recorder** recorder = nullptr) {
  auto backend = std::make_unique<Recorder>(EngineLimits(options, KvType::kF32));
  if (recorder != nullptr) *recorder = backend.get();
  return std::make_unique<Engine>(std::move(backend), options);
}

TEST(EngineThread, ManySubmitAndCancelAtOnce) {
  EngineThread thread(MakeEngine(Options()));
  constexpr int kClients = 6, kRequests = 30;
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&thread, c] {
      for (int i = 0; i < kRequests; ++i) {
        Heard heard;
        const auto prompt = Iota(3 + (c * 7 + i) % 50, c % 2);
        const RequestId id = thread.Submit(Ask(prompt, 12), heard.Listener());
        const bool cancels = i % 5 == 4;
        if (cancels) thread.Cancel(id);
        const FinishReason finish = heard.Wait();
        auto expected = Expected(prompt, 12);
        EXPECT_TRUE(cancels || finish == FinishReason::kLength);
        if (finish == FinishReason::kCancelled) expected.resize(heard.tokens().size());
        EXPECT_EQ(heard.tokens(), expected);
        EXPECT_EQ(heard.statistics().generated_tokens, static_cast<int>(expected.size()));
        EXPECT_GE(thread.Metrics().pages, 0);
      }
    });
  }
  for (std::thread& client : clients) client.join();
  thread.Stop(hours(1));
  EXPECT_EQ(thread.open_requests(), 0);
}

TEST(EngineThread, RefusesInTheCallersThread) {
  EngineOptions options = Options();
  options.max_waiting = 2;
  EngineThread thread(MakeEngine(options));
  const auto code = [&](const Request& request) {
    try {
      thread.Submit(request, nullptr);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::kIo;
  };
  EXPECT_EQ(code(Ask({}, 1)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(code(Ask(Iota(128, 0), 1)), ErrorCode::kLimit);
  // Two that keep the engine busy by holding their listeners up.
  std::mutex gate;
  std::unique_lock closed(gate);
  const auto block = [&](const Event&, const Ending*) { const std::lock_guard lock(gate); };
  thread.Submit(Ask(Iota(5, 0), 5), block);
  thread.Submit(Ask(Iota(5, 1), 5), block);
  EXPECT_EQ(code(Ask(Iota(5, 2), 5)), ErrorCode::kBusy);
  closed.unlock();
  thread.Stop(hours(1));
  EXPECT_EQ(code(Ask(Iota(5, 2), 5)), ErrorCode::kBusy);
}

TEST(EngineThread, StoppingWaitsForAnswersOrEndsThem) {
  Heard patient, impatient;
  {
    EngineThread thread(MakeEngine(Options()));
    thread.Submit(Ask(Iota(5, 0), 100), patient.Listener());
    thread.Stop(hours(1));
    EXPECT_EQ(patient.tokens().size(), 100u);
  }
  {
    EngineThread thread(MakeEngine(Options()));
    // Each event lets the thread sleep, so that stopping comes first.
    auto hear = impatient.Listener();
    thread.Submit(Ask(Iota(5, 0), 100), [&](const Event& event, const Ending* ending) {
      hear(event, ending);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    });
    thread.Stop(nanoseconds(0));
    EXPECT_EQ(impatient.Wait(), FinishReason::kCancelled);
  }
}

TEST(EngineThread, AFailingBackendIsSaidToThoseThatRan) {
  Recorder* recorder = nullptr;
  auto engine = MakeEngine(Options(), &recorder);
  recorder->fail_next = true;
  EngineThread thread(std::move(engine));
  Heard first, second;
  thread.Submit(Ask(Iota(5, 0), 5), first.Listener());
  EXPECT_EQ(first.Wait(), FinishReason::kFailed);
  EXPECT_EQ(first.failure(), "the device fell over");
  thread.Submit(Ask(Iota(5, 0), 5), second.Listener());
  EXPECT_EQ(second.Wait(), FinishReason::kLength);
}

TEST(EngineThread, AListenerThatThrowsEndsItsRequestOnly) {
  EngineThread thread(MakeEngine(Options()));
  Heard other;
  std::atomic<int> calls{0};
  thread.Submit(Ask(Iota(5, 1), 50), [&](const Event&, const Ending*) {
    ++calls;
    throw std::runtime_error("no longer there");
  });
  thread.Submit(Ask(Iota(5, 2), 50), other.Listener());
  EXPECT_EQ(other.Wait(), FinishReason::kLength);
  EXPECT_EQ(other.tokens(), Expected(Iota(5, 2), 50));
  thread.Stop(hours(1));
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(thread.open_requests(), 0);
}

TEST(EngineThread, AListenerMaySubmitAndCancel) {
  EngineThread thread(MakeEngine(Options()));
  Heard last;
  std::atomic<RequestId> id{0};
  id = thread.Submit(Ask(Iota(5, 1), 100), [&](const Event& event, const Ending* ending) {
    if (ending == nullptr) {
      thread.Cancel(event.request);
    } else {
      thread.Submit(Ask(Iota(5, 3), 4), last.Listener());
    }
  });
  EXPECT_EQ(last.Wait(), FinishReason::kLength);
}

}  // namespace
}  // namespace edgellm
