// Pulls that run in this process, each on a thread of its own: whoever asks for one that runs already listens to it.
// Knows nothing of hubs: what a job does is handed in.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "hub/pull.h"

namespace edgellm {

class PullJobs {
 public:
  /// Calls come from the job's thread, one after the other; `ended` once, last, with what went wrong or nothing.
  struct Listener {
    std::function<void(const PullStatus&)> status;
    std::function<void(std::exception_ptr)> ended;
  };
  /// Does the pull; throws what its listener throws.
  using Work = std::function<void(const PullListener&)>;

  /// Somebody who listens. Letting it go ends that: when it returns no call runs or comes (but when it is let go from
  /// within one). A job to which nobody listens stops; what it has downloaded stays for the next.
  class Ticket {
   public:
    virtual ~Ticket() = default;
  };

  PullJobs();
  /// Stops all jobs; their listeners are told.
  ~PullJobs();
  PullJobs(const PullJobs&) = delete;
  PullJobs& operator=(const PullJobs&) = delete;

  /// Joins the job of that key, or starts it with `work`.
  [[nodiscard]] std::unique_ptr<Ticket> Join(const std::string& key, Work work, Listener listener);

  /// Jobs that run.
  size_t running() const;

 private:
  struct Job;
  struct State;
  class JobTicket;
  std::shared_ptr<State> state_;
};

/// What a job that was stopped ends with.
class PullStopped : public std::exception {
 public:
  const char* what() const noexcept override { return "the pull was stopped"; }
};

}  // namespace edgellm
