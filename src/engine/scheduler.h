// Who runs next, and how many tokens of each: pure functions of what they are given. Here is the whole policy of the
// engine; the engine only gathers the views and does what it is told. docs/engine.md has the reasons.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/time_model.h"

namespace edgellm {

/// What a request is for. A lower one waits while a higher one can use the room.
enum class Priority : uint8_t { kInteractive, kNormal, kBatch };

/// Times in nanoseconds.
struct SchedulingRules {
  // A running answer's forward may take this many times as long as it would without any prompt's slice beside it.
  double stretch = 1.3;
  int least_slice = 1;        // tokens of a prompt beside running answers, however long they take: it must go on
  double longest_step = 1.0;  // seconds of a forward that only reads prompts: so late is a cancellation, or a stream
  int least_batch = 32;       // tokens of such a forward, however long they take
  int64_t aging = 10'000'000'000;          // waiting this long lifts a request by one class
  int64_t patience = 1'000'000'000;        // a request without a deadline has this one, and …
  double patience_factor = 4;              // … that many times what reading its prompt should take
  int64_t most_patience = 60'000'000'000;  // no deadline is later: nobody is overtaken for longer than that
};

/// The order of service: the smaller goes first. Fixed while a request runs, so that it can finish.
struct Rank {
  int level = 0;         // its class, less what it was lifted by waiting
  int64_t deadline = 0;  // a point in time
  int64_t order = 0;     // of arrival
  auto operator<=>(const Rank&) const = default;
};

/// When a request ought to have its first token. `wanted`: seconds after `submitted`, 0 for none; `reading`: seconds
/// that its prompt should take. Short prompts so pass long ones of the same class, by a bounded time.
int64_t DeadlineOf(int64_t submitted, double wanted, double reading, const SchedulingRules& rules);

/// `waited`: nanoseconds in the queue, all stays together.
int LevelOf(Priority priority, int64_t waited, const SchedulingRules& rules);

/// A request in the queue.
struct WaitingView {
  Rank rank;
  int pages = 0;  // that it must take to begin: for all its tokens and one more
};

/// A running sequence.
struct RunningView {
  Rank rank;
  int tokens = 0;       // known so far: prompt and answer
  int computed = 0;     // of those, how many have keys and values; always < tokens
  int room = 0;         // positions that its pages can still take
  int pages = 0;        // that it holds
  bool paced = true;    // somebody watches its tokens come: prompts must not hold it up
  bool waits = false;   // another sequence is computing what this one can share
  bool scored = false;  // each of its tokens takes a row of logits

  bool decodes() const { return tokens - computed == 1; }
};

/// What there is to give out.
struct Capacity {
  int places = 0;      // sequences that may run together
  int pages = 0;       // that can be taken
  int tokens = 0;      // in one forward
  int spare_rows = 0;  // of logits, beyond one for each running sequence
};

struct Admission {
  int admit = -1;    // index of the one in the queue that begins now
  int preempt = -1;  // index of the running one that must make room
};

/// The next move at the door: at most one of the two, none when nothing can be done. The first in rank is admitted when
/// a place is free and its pages can be had beside what the running ones still need for their prompts, or nothing runs.
/// Else the last of a lower level makes room. Nobody passes the first, or large requests would wait for ever.
Admission NextAdmission(std::span<const WaitingView> waiting, std::span<const RunningView> running,
                        const Capacity& capacity);

/// `count` next tokens of the sequence at `index` join the batch.
struct Share {
  int index = 0, count = 0;
};

/// The next batch, or who must give way first: then preempt it and ask again.
struct Composition {
  std::vector<Share> shares;
  int preempt = -1;
};

/// `running` stands in the order of rank. One token of every answer; then prompts in that order, in a slice that the
/// time allows. A sequence that no page is left for preempts the last of all. `capacity.tokens` is at least the number
/// of sequences.
void Compose(std::span<const RunningView> running, const Capacity& capacity, const StepCosts& costs,
             const SchedulingRules& rules, Composition* composition);

}  // namespace edgellm
