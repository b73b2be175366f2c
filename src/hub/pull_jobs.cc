// See pull_jobs.h.
#include "hub/pull_jobs.h"

#include <condition_variable>
#include <map>
#include <thread>
#include <vector>

namespace edgellm {

/// One pull and who listens to it. `telling` is held while listeners are called: leaving waits for it.
struct PullJobs::Job {
  struct Heard {
    Listener listener;
    bool gone = false;
  };

  std::mutex mutex;  // guards what follows
  std::map<int, std::shared_ptr<Heard>> listeners;
  int next = 0;
  bool stop = false, over = false;
  std::thread::id teller;        // who is calling listeners now
  std::condition_variable told;  // nobody is any more
  std::thread thread;

  /// Calls `call` for each listener, without the lock.
  template <typename Call>
  void Tell(const Call& call) {
    std::vector<std::shared_ptr<Heard>> now;
    {
      const std::lock_guard lock(mutex);
      for (const auto& [id, heard] : listeners) now.push_back(heard);
      teller = std::this_thread::get_id();
    }
    for (const auto& heard : now) {
      bool gone = false;
      {
        const std::lock_guard lock(mutex);
        gone = heard->gone;
      }
      if (!gone) call(heard->listener);
    }
    {
      const std::lock_guard lock(mutex);
      teller = {};
    }
    told.notify_all();
  }

  int Add(Listener listener) {
    listeners.emplace(next, std::make_shared<Heard>(Heard{std::move(listener)}));
    return next++;
  }

  void Leave(int id) {
    std::unique_lock lock(mutex);
    const auto found = listeners.find(id);
    if (found == listeners.end()) return;
    found->second->gone = true;
    listeners.erase(found);
    if (listeners.empty()) stop = true;
    if (teller != std::this_thread::get_id()) told.wait(lock, [this] { return teller == std::thread::id(); });
  }
};

struct PullJobs::State {
  std::mutex mutex;  // guards what follows; taken before a job's
  std::map<std::string, std::shared_ptr<Job>> jobs;
  std::vector<std::pair<std::shared_ptr<Job>, std::thread>> leaving;  // no longer in `jobs`
  bool stopped = false;

  void Run(const std::string& key, const std::shared_ptr<Job>& job, const Work& work) {
    std::exception_ptr failure;
    try {
      work([&](const PullStatus& status) {
        {
          const std::lock_guard lock(job->mutex);
          if (job->stop) throw PullStopped();
        }
        job->Tell([&](const Listener& listener) {
          if (listener.status) listener.status(status);
        });
      });
    } catch (...) {
      failure = std::current_exception();
    }
    {
      // From here on nobody can join: who asks again begins anew.
      const std::lock_guard lock(mutex);
      const std::lock_guard job_lock(job->mutex);
      if (const auto found = jobs.find(key); found != jobs.end() && found->second == job) jobs.erase(found);
      if (!stopped && job->thread.joinable()) leaving.emplace_back(job, std::move(job->thread));
    }
    job->Tell([&](const Listener& listener) {
      if (listener.ended) listener.ended(failure);
    });
    const std::lock_guard lock(job->mutex);
    job->over = true;
  }

  /// Joins threads that have nothing left to do but to end. With the lock.
  void Sweep() {
    std::erase_if(leaving, [](auto& entry) {
      {
        const std::lock_guard lock(entry.first->mutex);
        if (!entry.first->over) return false;
      }
      entry.second.join();
      return true;
    });
  }
};

class PullJobs::JobTicket : public PullJobs::Ticket {
 public:
  JobTicket(std::shared_ptr<Job> job, int id) : job_(std::move(job)), id_(id) {}
  ~JobTicket() override { job_->Leave(id_); }

 private:
  std::shared_ptr<Job> job_;
  int id_;
};

PullJobs::PullJobs() : state_(std::make_shared<State>()) {}

PullJobs::~PullJobs() {
  std::vector<std::thread> threads;
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopped = true;
    for (const auto& [key, job] : state_->jobs) {
      const std::lock_guard job_lock(job->mutex);
      job->stop = true;
      threads.push_back(std::move(job->thread));
    }
    for (auto& [job, thread] : state_->leaving) threads.push_back(std::move(thread));
    state_->leaving.clear();
  }
  for (auto& thread : threads) {
    if (thread.joinable()) thread.join();
  }
}

std::unique_ptr<PullJobs::Ticket> PullJobs::Join(const std::string& key, Work work, Listener listener) {
  const std::lock_guard lock(state_->mutex);
  state_->Sweep();
  if (const auto found = state_->jobs.find(key); found != state_->jobs.end()) {
    const auto job = found->second;
    const std::lock_guard job_lock(job->mutex);
    if (!job->stop) return std::make_unique<JobTicket>(job, job->Add(std::move(listener)));
    // It is stopping: the new one waits for its lock on the folder.
  }
  const auto job = std::make_shared<Job>();
  const std::lock_guard job_lock(job->mutex);
  auto ticket = std::make_unique<JobTicket>(job, job->Add(std::move(listener)));
  const auto before = state_->jobs.find(key);
  if (before != state_->jobs.end()) {
    const std::lock_guard before_lock(before->second->mutex);
    state_->leaving.emplace_back(before->second, std::move(before->second->thread));
    state_->jobs.erase(before);
  }
  state_->jobs.emplace(key, job);
  job->thread = std::thread([state = state_, key, job, work = std::move(work)] { state->Run(key, job, work); });
  return ticket;
}

size_t PullJobs::running() const {
  const std::lock_guard lock(state_->mutex);
  return state_->jobs.size();
}

}  // namespace edgellm
