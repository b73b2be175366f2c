// What the connections of one server share. Private to src/http: it names Asio.
#pragma once

#include <algorithm>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "http/access.h"
#include "http/body_room.h"
#include "http/router.h"
#include "http/server.h"

namespace edgellm::http {

/// A connection, as far as the end of the server is concerned. From any thread.
class Stoppable {
 public:
  virtual ~Stoppable() = default;
  /// Ends when what it is at is done.
  virtual void Stop() = 0;
  /// Ends if it is at nothing.
  virtual void GiveWay() = 0;
  /// Ends now.
  virtual void Cut() = 0;
};

struct Shared {
  Shared(ServerOptions given, Router given_router, bool loopback, uint64_t seed)
      : options(std::move(given)),
        router(std::move(given_router)),
        access(loopback, options.hosts, options.origins, options.keys),
        bodies(std::make_shared<BodyBudget>(options.limits.bodies_bytes)),
        id_seed(seed) {}

  using Clock = std::chrono::steady_clock;

  const ServerOptions options;
  const Router router;
  const Access access;
  boost::asio::io_context io;
  boost::asio::thread_pool files{1};  // writes bodies to files, so that no disk holds up the streams of others

  const std::shared_ptr<BodyBudget> bodies;
  const uint64_t id_seed;
  std::atomic<uint64_t> next_id{0};

  std::mutex mutex;  // of what follows
  std::condition_variable changed;
  bool stopping = false;
  std::map<const void*, std::weak_ptr<Stoppable>> open;
  std::map<const void*, Clock::time_point>
      idle;  // without a request; from when on one may be closed for another's sake

  /// A request's, which no other has.
  std::string MakeId();

  /// False when the server is stopping.
  bool Join(const void* key, std::weak_ptr<Stoppable> connection) {
    const std::lock_guard lock(mutex);
    if (stopping) return false;
    open[key] = std::move(connection);
    return true;
  }
  void Leave(const void* key) {
    const std::lock_guard lock(mutex);
    open.erase(key);
    idle.erase(key);
    changed.notify_all();
  }
  void BecomeIdle(const void* key, Clock::time_point from) {
    const std::lock_guard lock(mutex);
    idle[key] = from;
  }
  void BecomeBusy(const void* key) {
    const std::lock_guard lock(mutex);
    idle.erase(key);
  }
  /// The connection that has been idle for longest, once; or null.
  std::shared_ptr<Stoppable> TakeLongestIdle() {
    const std::lock_guard lock(mutex);
    const auto longest =
        std::min_element(idle.begin(), idle.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    if (longest == idle.end() || longest->second > Clock::now()) return nullptr;
    const auto found = open.find(longest->first);
    idle.erase(longest);
    return found == open.end() ? nullptr : found->second.lock();
  }
  bool IsStopping() {
    const std::lock_guard lock(mutex);
    return stopping;
  }
  int CountOpen() {
    const std::lock_guard lock(mutex);
    return static_cast<int>(open.size());
  }
  std::vector<std::shared_ptr<Stoppable>> Open() {
    const std::lock_guard lock(mutex);
    std::vector<std::shared_ptr<Stoppable>> all;
    for (const auto& [key, connection] : open) {
      if (auto alive = connection.lock()) all.push_back(std::move(alive));
    }
    return all;
  }
  void Log(const AccessRecord& record) const {
    if (options.access_log) options.access_log(record);
  }
};

}  // namespace edgellm::http
