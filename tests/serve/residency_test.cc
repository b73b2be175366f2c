// Which models are loaded: fakes that count, threads that come and go, and a long run of random operations against the
// rules that must hold at every moment.
#include "serve/residency.h"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <future>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

/// Everything that fakes tell about themselves.
struct Counts {
  std::mutex mutex;
  std::map<std::string, int> loaded;  // now
  std::map<std::string, int> loads;   // ever
  uint64_t bytes = 0, most_bytes = 0;
  int stopped = 0;
  std::condition_variable changed;

  int Loads(const std::string& key) {
    const std::lock_guard lock(mutex);
    return loads[key];
  }
  int Loaded(const std::string& key) {
    const std::lock_guard lock(mutex);
    return loaded[key];
  }
  /// True when `key` is no longer loaded within a while.
  bool WaitGone(const std::string& key) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return loaded[key] == 0; });
  }
};

class Fake : public Resident {
 public:
  Fake(Counts& counts, std::string key, uint64_t bytes, int context, std::shared_ptr<std::atomic<bool>> current)
      : counts_(counts), key_(std::move(key)), bytes_(bytes), context_(context), current_(std::move(current)) {
    const std::lock_guard lock(counts_.mutex);
    ++counts_.loaded[key_];
    ++counts_.loads[key_];
    counts_.bytes += bytes_;
    counts_.most_bytes = std::max(counts_.most_bytes, counts_.bytes);
  }
  ~Fake() override {
    const std::lock_guard lock(counts_.mutex);
    --counts_.loaded[key_];
    counts_.bytes -= bytes_;
    counts_.changed.notify_all();
  }
  uint64_t bytes() const override { return bytes_; }
  int context() const override { return context_; }
  bool is_current() const override { return !current_ || *current_; }
  void Stop(nanoseconds) override {
    const std::lock_guard lock(counts_.mutex);
    ++counts_.stopped;
  }

 private:
  Counts& counts_;
  std::string key_;
  uint64_t bytes_;
  int context_;
  std::shared_ptr<std::atomic<bool>> current_;
};

struct Outcome {
  std::shared_ptr<Residency::Lease> lease;
  std::exception_ptr failure;

  ErrorCode code() const {
    try {
      std::rethrow_exception(failure);
    } catch (const Error& error) {
      return error.code();
    }
  }
};

class ResidencyTest : public ::testing::Test {
 protected:
  Residency::Request Request(const std::string& key, uint64_t bytes = 10) {
    Residency::Request request;
    request.key = key;
    request.prepare = [this, key, bytes] {
      return Residency::Prepared{
          bytes, [this, key, bytes] { return std::make_shared<Fake>(counts_, key, bytes, 100, current_); }};
    };
    return request;
  }
  Residency::Request WithContext(const std::string& key, int context) {
    Residency::Request request = Request(key);
    request.context = context;
    request.prepare = [this, key, context] {
      return Residency::Prepared{
          10, [this, key, context] { return std::make_shared<Fake>(counts_, key, 10, context, current_); }};
    };
    return request;
  }

  static std::future<Outcome> Ask(Residency& residency, Residency::Request request) {
    auto promise = std::make_shared<std::promise<Outcome>>();
    auto future = promise->get_future();
    residency.Acquire(std::move(request),
                      [promise](std::shared_ptr<Residency::Lease> lease, std::exception_ptr failure) {
                        promise->set_value({std::move(lease), failure});
                      });
    return future;
  }
  static Outcome Get(Residency& residency, Residency::Request request) {
    return Ask(residency, std::move(request)).get();
  }

  Counts counts_;
  std::shared_ptr<std::atomic<bool>> current_;
};

TEST_F(ResidencyTest, LoadsOnceForAll) {
  Residency residency({});
  std::promise<void> go;
  auto gate = go.get_future().share();
  auto slow = Request("a");
  slow.prepare = [&, prepare = slow.prepare] {
    gate.wait();
    return prepare();
  };
  std::vector<std::future<Outcome>> waiting;
  for (int i = 0; i < 5; ++i) waiting.push_back(Ask(residency, slow));
  EXPECT_EQ(waiting[0].wait_for(milliseconds(20)), std::future_status::timeout);
  go.set_value();
  for (auto& one : waiting) {
    const Outcome outcome = one.get();
    ASSERT_TRUE(outcome.lease);
    EXPECT_GT(outcome.lease->load_time().count(), 0);
  }
  const Outcome later = Get(residency, Request("a"));
  EXPECT_EQ(later.lease->load_time().count(), 0);
  EXPECT_EQ(counts_.Loads("a"), 1);
}

TEST_F(ResidencyTest, FailuresReachAllWhoWait) {
  Residency residency({});
  auto broken = Request("a");
  broken.prepare = []() -> Residency::Prepared { Fail(ErrorCode::kNotFound, "no such model"); };
  std::vector<std::future<Outcome>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(Ask(residency, broken));
  for (auto& one : waiting) EXPECT_EQ(one.get().code(), ErrorCode::kNotFound);
  auto half = Request("b");
  half.prepare = [] {
    return Residency::Prepared{1, []() -> std::shared_ptr<Resident> { Fail(ErrorCode::kLimit, "out of memory"); }};
  };
  EXPECT_EQ(Get(residency, half).code(), ErrorCode::kLimit);
  EXPECT_TRUE(Get(residency, Request("a")).lease);  // no failure is remembered
}

TEST_F(ResidencyTest, UnloadsWhatWasUsedLongestAgo) {
  Residency residency({.keep_alive = nanoseconds(-1), .memory_limit = 25});
  Get(residency, Request("a"));
  Get(residency, Request("b"));
  Get(residency, Request("a"));  // used again
  EXPECT_TRUE(Get(residency, Request("c")).lease);
  EXPECT_EQ(counts_.Loaded("a"), 1);
  EXPECT_EQ(counts_.Loaded("b"), 0);
  EXPECT_EQ(counts_.Loaded("c"), 1);
}

TEST_F(ResidencyTest, KeepsToItsBounds) {
  Residency residency({.keep_alive = nanoseconds(-1), .memory_limit = 25, .max_residents = 2});
  EXPECT_EQ(Get(residency, Request("large", 26)).code(), ErrorCode::kLimit);
  const Outcome a = Get(residency, Request("a")), b = Get(residency, Request("b"));
  EXPECT_EQ(Get(residency, Request("c")).code(), ErrorCode::kBusy);
  EXPECT_EQ(Get(residency, Request("d", 1)).code(), ErrorCode::kBusy);  // two are two
  EXPECT_EQ(counts_.Loaded("a"), 1);
  EXPECT_LE(counts_.most_bytes, 25u);
}

TEST_F(ResidencyTest, KeepAlive) {
  Residency residency({.keep_alive = milliseconds(50)});
  Get(residency, Request("a"));
  EXPECT_TRUE(counts_.WaitGone("a"));
  auto at_once = Request("b");
  at_once.keep_alive = nanoseconds(0);
  {
    const Outcome b = Get(residency, at_once);
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_EQ(counts_.Loaded("b"), 1);  // in use
    EXPECT_FALSE(residency.List().at(0).expires);
  }
  EXPECT_TRUE(counts_.WaitGone("b"));
  auto for_ever = Request("c");
  for_ever.keep_alive = nanoseconds(-1);
  Get(residency, for_ever);
  auto long_time = Request("d");
  long_time.keep_alive = nanoseconds::max();
  Get(residency, long_time);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(counts_.Loaded("c"), 1);
  EXPECT_EQ(counts_.Loaded("d"), 1);
  EXPECT_FALSE(residency.List().at(0).expires);
  // Who says nothing changes nothing about that; the last word counts.
  Get(residency, Request("c"));
  EXPECT_FALSE(residency.List().at(0).expires);
  auto soon = Request("c");
  soon.keep_alive = milliseconds(50);
  Get(residency, soon);
  EXPECT_TRUE(residency.List().at(0).expires);
  EXPECT_TRUE(counts_.WaitGone("c"));
}

TEST_F(ResidencyTest, UnloadWaitsForUsers) {
  Residency residency({.keep_alive = nanoseconds(-1)});
  EXPECT_FALSE(residency.Unload("a"));
  {
    const Outcome a = Get(residency, Request("a"));
    EXPECT_TRUE(residency.Unload("a"));
    std::this_thread::sleep_for(milliseconds(20));
    EXPECT_EQ(counts_.Loaded("a"), 1);
  }
  EXPECT_TRUE(counts_.WaitGone("a"));
  EXPECT_FALSE(residency.Unload("a"));
}

TEST_F(ResidencyTest, AnotherContextLoadsAnewOnceIdle) {
  Residency residency({.keep_alive = nanoseconds(-1)});
  Outcome first = Get(residency, WithContext("a", 100));
  auto second = Ask(residency, WithContext("a", 200));
  auto third = Ask(residency, WithContext("a", 100));  // must not overtake the second
  auto other = Get(residency, Request("b"));           // others go on meanwhile
  EXPECT_TRUE(other.lease);
  EXPECT_EQ(second.wait_for(milliseconds(30)), std::future_status::timeout);
  EXPECT_EQ(third.wait_for(milliseconds(1)), std::future_status::timeout);
  first.lease.reset();
  Outcome changed = second.get();
  ASSERT_TRUE(changed.lease);
  EXPECT_EQ(changed.lease->resident().context(), 200);
  EXPECT_EQ(third.wait_for(milliseconds(30)), std::future_status::timeout);
  changed.lease.reset();
  EXPECT_EQ(third.get().lease->resident().context(), 100);
  EXPECT_EQ(Get(residency, Request("a")).lease->resident().context(),
            100);  // whoever does not mind takes what is there
  EXPECT_EQ(counts_.Loads("a"), 3);
}

TEST_F(ResidencyTest, ChangedSourcesAreLoadedAnew) {
  current_ = std::make_shared<std::atomic<bool>>(true);
  Residency residency({.keep_alive = nanoseconds(-1)});
  Get(residency, Request("a"));
  Get(residency, Request("a"));
  EXPECT_EQ(counts_.Loads("a"), 1);
  *current_ = false;
  auto next = Ask(residency, Request("a"));
  next.wait();
  EXPECT_EQ(counts_.Loads("a"), 2);
}

TEST_F(ResidencyTest, StopEndsAll) {
  auto residency = std::make_unique<Residency>(ResidencyOptions{.keep_alive = nanoseconds(-1)});
  Outcome used = Get(*residency, WithContext("a", 1));
  Get(*residency, Request("b"));
  auto waiting = Ask(*residency, WithContext("a", 2));
  residency->Stop(milliseconds(5));
  EXPECT_EQ(waiting.get().code(), ErrorCode::kBusy);
  EXPECT_EQ(counts_.stopped, 2);
  EXPECT_EQ(counts_.Loaded("b"), 0);
  EXPECT_EQ(counts_.Loaded("a"), 1);  // somebody holds it
  EXPECT_EQ(Get(*residency, Request("c")).code(), ErrorCode::kBusy);
  residency.reset();
  used.lease.reset();
  EXPECT_EQ(counts_.Loaded("a"), 0);
}

TEST_F(ResidencyTest, RandomOperations) {
  // Many threads; every request is answered once, the bound holds, nobody loses what he uses, and at the end all goes.
  constexpr uint64_t kLimit = 40;
  Residency residency({.keep_alive = milliseconds(1), .memory_limit = kLimit, .max_residents = 4});
  std::atomic<int> asked = 0, answered = 0, leases = 0, busy = 0, wrong = 0;
  const auto work = [&](unsigned seed) {
    std::mt19937 random(seed);
    const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    std::deque<std::shared_ptr<Residency::Lease>> held;
    std::mutex mutex;
    for (int step = 0; step < 400; ++step) {
      const std::string key(1, static_cast<char>('a' + pick(6)));
      switch (pick(6)) {
        case 0:
          residency.Unload(key);
          break;
        case 1:
          for (const auto& facts : residency.List()) {
            if (facts.leases < 0 || !facts.resident) ++wrong;
          }
          break;
        case 2: {
          const std::lock_guard lock(mutex);
          if (!held.empty()) held.pop_front();
          break;
        }
        default: {
          auto request = Request(key, static_cast<uint64_t>(5 + (key[0] - 'a') * 3));
          const int context = pick(8) == 0 ? 200 : 100;
          request.context = context;
          request.prepare = [this, key, context, fails = pick(20) == 0]() -> Residency::Prepared {
            if (fails) Fail(ErrorCode::kCorrupt, "damaged");
            const auto bytes = static_cast<uint64_t>(5 + (key[0] - 'a') * 3);
            return {bytes, [this, key, bytes, context] {
                      return std::make_shared<Fake>(counts_, key, bytes, context, current_);
                    }};
          };
          if (pick(3) == 0) request.keep_alive = nanoseconds(pick(3) - 1);
          ++asked;
          residency.Acquire(std::move(request),
                            [&, context](std::shared_ptr<Residency::Lease> lease, std::exception_ptr failure) {
                              if (!lease == !failure) ++wrong;
                              if (lease) {
                                ++leases;
                                if (lease->resident().context() != context) ++wrong;
                                const std::lock_guard lock(mutex);
                                held.push_back(std::move(lease));
                              } else if (Outcome{nullptr, failure}.code() == ErrorCode::kBusy) {
                                ++busy;
                              }
                              ++answered;
                            });
          // Somebody has to let go, or those who want another context wait for ever.
          const std::lock_guard lock(mutex);
          while (held.size() > 3) held.pop_front();
        }
      }
    }
    // What is still open is answered as soon as nobody holds anything.
    while (answered < asked) {
      {
        const std::lock_guard lock(mutex);
        held.clear();
      }
      std::this_thread::sleep_for(milliseconds(1));
    }
    const std::lock_guard lock(mutex);
    held.clear();
  };
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < 4; ++i) threads.emplace_back(work, i + 1);
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(answered, asked);
  EXPECT_EQ(wrong, 0);
  EXPECT_GT(leases, 100);
  EXPECT_GT(busy, 0);
  {
    const std::lock_guard lock(counts_.mutex);
    EXPECT_LE(counts_.most_bytes, kLimit);
  }
  for (char key = 'a'; key < 'g'; ++key) residency.Unload(std::string(1, key));
  for (char key = 'a'; key < 'g'; ++key) EXPECT_TRUE(counts_.WaitGone(std::string(1, key)));
}

}  // namespace
}  // namespace edgellm
