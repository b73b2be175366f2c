// See residency.h. One mutex guards all; loads, the end of residents and most calls of `ready` happen outside of it.
#include "serve/residency.h"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <string_view>
#include <thread>

#include "base/error.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

std::exception_ptr MakeFailure(ErrorCode code, const std::string& text) {
  return std::make_exception_ptr(Error(code, text));
}

}  // namespace

struct Residency::State : std::enable_shared_from_this<State> {
  struct Entry {
    std::shared_ptr<Resident> resident;
    uint64_t id = 0;  // tells this load from earlier ones of the key
    uint64_t bytes = 0;
    int leases = 0;
    nanoseconds keep_alive{};
    Clock::time_point last_used;
    bool unload = false;  // when idle
    bool stale = false;   // a request waits for another context, or its source has changed

    bool idle() const { return leases == 0; }
    bool Expired(Clock::time_point now) const {
      return idle() && (unload || (keep_alive.count() >= 0 && now - last_used >= keep_alive));
    }
  };
  struct Waiting {
    Request request;
    Ready ready;
  };
  /// What to call when the mutex is free.
  using Calls = std::vector<std::function<void()>>;

  ResidencyOptions options;
  mutable std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  std::map<std::string, Entry> entries;
  std::list<Waiting> queue;  // in the order of arrival
  std::string loading;       // the key that is being loaded, or empty
  bool unload_loading = false;
  uint64_t next_id = 1;
  bool stopping = false;

  // ---- with the mutex ----

  bool Suits(const Entry& entry, const Request& request) const {
    return !entry.stale && (!request.context || *request.context == entry.resident->context());
  }

  std::shared_ptr<Lease> Grant(const std::string& key, Entry* entry, const Request& request, nanoseconds load_time);

  void Release(const std::string& key, uint64_t id) {
    {
      const std::lock_guard lock(mutex);
      const auto found = entries.find(key);
      if (found == entries.end() || found->second.id != id) return;
      --found->second.leases;
      found->second.last_used = Clock::now();
    }
    changed.notify_all();
  }

  uint64_t BytesLoaded() const {
    uint64_t bytes = 0;
    for (const auto& [key, entry] : entries) bytes += entry.bytes;
    return bytes;
  }

  std::optional<Clock::time_point> NextExpiry() const {
    std::optional<Clock::time_point> next;
    for (const auto& [key, entry] : entries) {
      if (!entry.idle() || entry.keep_alive.count() < 0) continue;
      // So long that the clock ends before.
      if (entry.keep_alive > std::chrono::hours(24 * 365)) continue;
      const auto at = entry.last_used + entry.keep_alive;
      if (!next || at < *next) next = at;
    }
    return next;
  }

  /// Takes out whatever has to go now.
  std::vector<std::shared_ptr<Resident>> TakeExpired() {
    std::vector<std::shared_ptr<Resident>> gone;
    const auto now = Clock::now();
    for (auto next = entries.begin(); next != entries.end();) {
      if (next->second.Expired(now)) {
        gone.push_back(std::move(next->second.resident));
        next = entries.erase(next);
      } else {
        ++next;
      }
    }
    return gone;
  }

  /// The first in the queue that can be served now: its resident suits, or it can be loaded.
  std::list<Waiting>::iterator NextServable() {
    std::set<std::string_view> passed;  // keys for which somebody came before: the order of a key's requests stays
    return std::find_if(queue.begin(), queue.end(), [&](const Waiting& waiting) {
      if (!passed.insert(waiting.request.key).second) return false;
      const auto found = entries.find(waiting.request.key);
      return found == entries.end() || Suits(found->second, waiting.request) || found->second.idle();
    });
  }

  bool HasRoom(uint64_t bytes) const {
    const bool count = options.max_residents <= 0 || static_cast<int>(entries.size()) < options.max_residents;
    return count && (options.memory_limit == 0 || BytesLoaded() + bytes <= options.memory_limit);
  }

  /// The idle one that was used longest ago, taken out; null where all are in use.
  std::shared_ptr<Resident> TakeLeastRecent() {
    auto oldest = entries.end();
    for (auto next = entries.begin(); next != entries.end(); ++next) {
      if (!next->second.idle()) continue;
      if (oldest == entries.end() || next->second.last_used < oldest->second.last_used) oldest = next;
    }
    if (oldest == entries.end()) return nullptr;
    auto resident = std::move(oldest->second.resident);
    entries.erase(oldest);
    return resident;
  }

  // ---- the loading thread ----

  void Run() {
    std::unique_lock lock(mutex);
    while (!stopping) {
      if (auto gone = TakeExpired(); !gone.empty()) {
        lock.unlock();
        gone.clear();  // takes its time: memory is given back, threads end
        lock.lock();
        continue;
      }
      if (const auto next = NextServable(); next != queue.end()) {
        Serve(next, &lock);
        continue;
      }
      if (const auto expiry = NextExpiry()) {
        changed.wait_until(lock, *expiry);
      } else {
        changed.wait(lock);
      }
    }
  }

  void Serve(std::list<Waiting>::iterator next, std::unique_lock<std::mutex>* lock) {
    Waiting waiting = std::move(*next);
    queue.erase(next);
    const std::string key = waiting.request.key;
    if (const auto found = entries.find(key); found != entries.end()) {
      if (Suits(found->second, waiting.request)) {
        auto lease = Grant(key, &found->second, waiting.request, nanoseconds(0));
        lock->unlock();
        waiting.ready(std::move(lease), nullptr);
        waiting = {};
        lock->lock();
        return;
      }
      // Another context: the one that is there goes first.
      auto gone = std::move(found->second.resident);
      entries.erase(found);
      lock->unlock();
      gone.reset();
      lock->lock();
    }
    loading = key;
    unload_loading = false;
    const auto begin = Clock::now();
    std::shared_ptr<Resident> resident;
    std::exception_ptr failure;
    try {
      resident = Load(waiting.request, lock);
    } catch (...) {
      failure = std::current_exception();
    }
    if (!lock->owns_lock()) lock->lock();
    loading.clear();
    Deliver(std::move(waiting), std::move(resident), failure, Clock::now() - begin, lock);
  }

  std::shared_ptr<Resident> Load(const Request& request, std::unique_lock<std::mutex>* lock) {
    lock->unlock();
    const Prepared prepared = request.prepare();
    if (options.memory_limit != 0 && prepared.bytes > options.memory_limit) {
      Fail(ErrorCode::kLimit, "model '{}' needs {:.1f} MB of memory, the limit is {:.1f} MB", request.key,
           static_cast<double>(prepared.bytes) / 1e6, static_cast<double>(options.memory_limit) / 1e6);
    }
    lock->lock();
    while (!HasRoom(prepared.bytes)) {
      auto gone = TakeLeastRecent();
      if (!gone)
        Fail(ErrorCode::kBusy, "no room for model '{}': all loaded models are in use, try again later", request.key);
      lock->unlock();
      gone.reset();
      lock->lock();
    }
    lock->unlock();
    return prepared.finish();
  }

  /// Hands what was loaded, or the failure, to the one it was loaded for and to all who wait for the same.
  void Deliver(Waiting first, std::shared_ptr<Resident> resident, std::exception_ptr failure, nanoseconds took,
               std::unique_lock<std::mutex>* lock) {
    const std::string key = first.request.key;
    std::vector<Waiting> served;
    served.push_back(std::move(first));
    if (stopping && resident) {
      failure = MakeFailure(ErrorCode::kBusy, "the server is shutting down");
    }
    std::vector<std::shared_ptr<Lease>> leases;
    if (!failure) {
      Entry& entry = entries[key];
      entry.resident = resident;
      entry.id = next_id++;
      entry.bytes = resident->bytes();
      leases.push_back(Grant(key, &entry, served[0].request, took));
    }
    for (auto next = queue.begin(); next != queue.end();) {
      if (next->request.key != key) {
        ++next;
        continue;
      }
      // From the first on that wants another context, they wait.
      if (failure ? next->request.context != served[0].request.context : !Suits(entries[key], next->request)) break;
      if (!failure) leases.push_back(Grant(key, &entries[key], next->request, took));
      served.push_back(std::move(*next));
      next = queue.erase(next);
    }
    if (!failure && unload_loading) entries[key].unload = true;
    lock->unlock();
    for (size_t i = 0; i < served.size(); ++i) {
      served[i].ready(failure ? nullptr : std::move(leases[i]), failure);
    }
    served.clear();
    leases.clear();
    resident.reset();
    lock->lock();
  }

  std::thread thread;  // joined by Stop
};

class Residency::StateLease : public Residency::Lease {
 public:
  StateLease(std::shared_ptr<State> state, std::string key, uint64_t id, std::shared_ptr<Resident> resident,
             nanoseconds load_time)
      : state_(std::move(state)),
        key_(std::move(key)),
        id_(id),
        resident_(std::move(resident)),
        load_time_(load_time) {}
  ~StateLease() override {
    // Before the entry may go: the last owner of a resident is to be the loading thread where that lives.
    resident_.reset();
    state_->Release(key_, id_);
  }
  Resident& resident() override { return *resident_; }
  nanoseconds load_time() const override { return load_time_; }

 private:
  std::shared_ptr<State> state_;
  std::string key_;
  uint64_t id_;
  std::shared_ptr<Resident> resident_;
  nanoseconds load_time_;
};

std::shared_ptr<Residency::Lease> Residency::State::Grant(const std::string& key, Entry* entry, const Request& request,
                                                          nanoseconds load_time) {
  ++entry->leases;
  entry->last_used = Clock::now();
  // What was asked to stay for ever does so until somebody says otherwise.
  if (request.keep_alive || entry->keep_alive.count() >= 0) entry->keep_alive = request.keep_alive.value_or(options.keep_alive);
  entry->unload = false;  // it is wanted again
  return std::make_shared<StateLease>(shared_from_this(), key, entry->id, entry->resident, load_time);
}

Residency::Residency(const ResidencyOptions& options) : state_(std::make_shared<State>()) {
  state_->options = options;
  state_->thread = std::thread([state = state_.get()] { state->Run(); });
}

Residency::~Residency() {
  Stop(nanoseconds(0));
}

void Residency::Acquire(Request request, Ready ready) {
  std::shared_ptr<Lease> lease;
  std::exception_ptr failure;
  {
    const std::lock_guard lock(state_->mutex);
    State& s = *state_;
    const auto found = s.entries.find(request.key);
    // Who waits for another context of it must not wait for ever because others keep coming.
    const bool queued = std::any_of(s.queue.begin(), s.queue.end(),
                                    [&](const auto& waiting) { return waiting.request.key == request.key; });
    if (found != s.entries.end() && !found->second.stale && !found->second.resident->is_current()) {
      found->second.stale = true;
    }
    if (s.stopping) {
      failure = MakeFailure(ErrorCode::kBusy, "the server is shutting down");
    } else if (found != s.entries.end() && !queued && s.Suits(found->second, request)) {
      lease = s.Grant(request.key, &found->second, request, nanoseconds(0));
    } else {
      s.queue.push_back({std::move(request), std::move(ready)});
    }
  }
  if (lease || failure) return ready(std::move(lease), failure);
  state_->changed.notify_all();
}

bool Residency::Unload(const std::string& key) {
  bool there = false;
  {
    const std::lock_guard lock(state_->mutex);
    if (const auto found = state_->entries.find(key); found != state_->entries.end()) {
      found->second.unload = true;
      there = true;
    } else if (state_->loading == key) {
      state_->unload_loading = true;
      there = true;
    }
  }
  state_->changed.notify_all();
  return there;
}

std::vector<Residency::Facts> Residency::List() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<Facts> list;
  for (const auto& [key, entry] : state_->entries) {
    Facts facts{key, entry.resident, entry.leases, std::nullopt};
    if (entry.idle() && entry.keep_alive.count() >= 0 && entry.keep_alive < std::chrono::hours(24 * 365 * 100)) {
      facts.expires =
          std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::system_clock::duration>(
                                                 entry.last_used + entry.keep_alive - Clock::now());
    }
    list.push_back(std::move(facts));
  }
  return list;
}

void Residency::Stop(nanoseconds grace) {
  std::list<State::Waiting> failed;
  std::vector<std::shared_ptr<Resident>> residents;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    failed.swap(state_->queue);
    for (const auto& [key, entry] : state_->entries) residents.push_back(entry.resident);
  }
  state_->changed.notify_all();
  const auto failure = MakeFailure(ErrorCode::kBusy, "the server is shutting down");
  for (auto& waiting : failed) waiting.ready(nullptr, failure);
  const auto deadline = Clock::now() + std::min<nanoseconds>(grace, std::chrono::hours(24));
  // Side by side: all of them have the same grace.
  std::vector<std::thread> stops;
  for (const auto& resident : residents) {
    stops.emplace_back(
        [&resident, deadline] { resident->Stop(std::max<nanoseconds>(deadline - Clock::now(), nanoseconds(0))); });
  }
  for (auto& stop : stops) stop.join();
  if (state_->thread.joinable()) state_->thread.join();
  std::map<std::string, State::Entry> entries;
  {
    const std::lock_guard lock(state_->mutex);
    entries.swap(state_->entries);
  }
}

}  // namespace edgellm
