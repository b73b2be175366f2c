// What an engine consists of, and the parts of its Step (engine.cc). Not for others to include.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/batch_columns.h"
#include "engine/engine.h"
#include "engine/kv_cache.h"
#include "engine/sequence.h"
#include "engine/time_model.h"

namespace edgellm {

struct Engine::State {
  using Owned = std::unique_ptr<Sequence>;

  State(std::unique_ptr<Backend> made, const EngineOptions& given);

  // The parts of a Step, in their order.
  void Begin();      // forgets the last Step's events, reports cancellations
  void Admit();      // from the queue to the running ones, and back where room must be made
  void ShareWork();  // takes over what others have computed; who waits for whom
  bool Schedule();   // composes the batch; false when there is nothing to do
  bool Forward();    // false when the backend failed, and everything running with it
  void Commit();     // positions computed, pages published, tokens appended, what has ended

  void Queue(const std::shared_ptr<const Request>& request, RequestId id);
  void Cancel(RequestId id, int sample);

  Rank RankOf(const Sequence& sequence, int64_t now) const;
  void Start(size_t waiting_index, int64_t now);
  void Preempt(size_t running_index);
  void GatherRunning();
  const Sequence* LeaderOf(const Sequence& sequence) const;
  void TakeOver(Sequence& sequence, int computed);
  bool Claim(const Sequence& sequence);
  void FollowLeader(Sequence& sequence, const Sequence& leader);
  void AddToBatch(const Share& share);
  SamplingRow RowOf(Sequence& sequence) const;
  void CommitRow(size_t row, int64_t now);
  void CommitHidden(size_t row, int64_t now);
  FinishReason FinishOf(const Sequence& sequence, int32_t token) const;
  void Finish(Owned& owner, bool keep, int64_t now);
  void FailRunning(const char* what);
  const Sequence* FindSequence(RequestId id, int sample) const;

  std::unique_ptr<Backend> backend;
  EngineOptions options;
  KvCache cache;
  TimeModel time_model;
  EngineMetrics counts;  // only what is counted from the beginning
  std::string failure;

  RequestId last_id = 0;
  int waiting_requests = 0;      // that have not run yet, of several samples the first
  std::vector<Owned> waiting;    // in the order of arrival
  std::vector<Owned> running;    // in the order of rank
  std::vector<Owned> finished;   // of the last Step: their statistics can be asked for
  std::vector<Owned> cancelled;  // to be reported by the next Step
  std::vector<Event> events;

  // Of the current Step.
  struct Row {
    int index = 0;        // into running
    bool prompt = false;  // scores a token of the prompt
  };
  struct WantedPage {
    int32_t parent = -1;
    std::span<const int32_t> tokens;
  };
  std::vector<WaitingView> waiting_views;
  std::vector<RunningView> running_views;
  std::vector<WantedPage> claims;
  Composition composition;
  BatchColumns columns;
  std::vector<Row> rows;
  std::vector<int> hidden_rows;  // each an index into running
  StepLoad load;
};

}  // namespace edgellm
