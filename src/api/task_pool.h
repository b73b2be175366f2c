// Threads that work off a queue of tasks: where requests are read and prompts are made, away from the server's threads.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace edgellm::api {

class TaskPool {
 public:
  explicit TaskPool(int threads);
  /// Finishes what is queued.
  ~TaskPool();

  /// From any thread. A task must not throw.
  void Post(std::function<void()> task);

 private:
  void Run();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace edgellm::api
