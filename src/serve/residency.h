// What is loaded, and the rules of that: on demand, on one thread of its own, within a bound of memory; idle for a
// while before it goes; the one used longest ago goes first where room is needed. Over anything that can be loaded:
// what a model is, ModelHost says.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace edgellm {

/// Something that has been loaded. Asked from any thread; let go on any.
class Resident {
 public:
  virtual ~Resident() = default;
  virtual uint64_t bytes() const = 0;
  virtual int context() const = 0;
  /// False when what it was loaded from has changed since: it is loaded anew once it is idle.
  virtual bool is_current() const { return true; }
  /// No more work; what is open ends within `grace`.
  virtual void Stop(std::chrono::nanoseconds /*grace*/) {}
};

struct ResidencyOptions {
  std::chrono::nanoseconds keep_alive = std::chrono::minutes(5);  // negative: for ever
  uint64_t memory_limit = 0;                                      // bytes, of all together; 0: none
  int max_residents = 0;                                          // 0: any number
};

class Residency {
 public:
  /// Two steps of a load, on the loading thread: first what it will need, then, when there is room, the rest. Both may
  /// throw; the load fails with that.
  struct Prepared {
    uint64_t bytes = 0;
    std::function<std::shared_ptr<Resident>()> finish;
  };

  struct Request {
    std::string key;
    std::optional<std::chrono::nanoseconds> keep_alive;  // absent: that of the options; for ever if it was so before
    std::optional<int> context;                          // absent: any
    std::function<Prepared()> prepare;
  };

  /// In use as long as somebody holds one; it may outlive the Residency.
  class Lease {
   public:
    virtual ~Lease() = default;
    virtual Resident& resident() = 0;
    virtual std::chrono::nanoseconds load_time() const = 0;  // 0 where it was loaded already
  };
  using Ready = std::function<void(std::shared_ptr<Lease> lease, std::exception_ptr failure)>;

  struct Facts {
    std::string key;
    std::shared_ptr<Resident> resident;
    int leases = 0;
    std::optional<std::chrono::system_clock::time_point> expires;  // absent: never, or in use
  };

  explicit Residency(const ResidencyOptions& options);
  /// Stop(0).
  ~Residency();
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  /// From any thread; does not block. `ready` is called once, at once or on the loading thread: with a lease, or with
  /// what went wrong. Error: kLimit (more than the limit by itself), kBusy (all room is in use; or stopped).
  void Acquire(Request request, Ready ready);

  /// Lets it go once nobody uses it any more. False when it is not there.
  bool Unload(const std::string& key);
  std::vector<Facts> List() const;

  /// Fails what waits, stops every resident, lets all go, ends the thread.
  void Stop(std::chrono::nanoseconds grace);

 private:
  struct State;
  class StateLease;
  std::shared_ptr<State> state_;
};

}  // namespace edgellm
