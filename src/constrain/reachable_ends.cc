// See reachable_ends.h.
#include "constrain/reachable_ends.h"

namespace edgellm::constrain {
namespace {

struct Place {
  size_t rule, state;
};

/// Walks backwards from the final states. A call leads on when the callee can end and the place after it leads on; it
/// is looked at whenever either becomes known.
class BackwardWalk {
 public:
  explicit BackwardWalk(const std::vector<RuleGraph>& graphs)
      : before_(graphs.size()), returning_(graphs.size()), callers_(graphs.size()), ends_(graphs.size()) {
    for (size_t rule = 0; rule < graphs.size(); ++rule) {
      const auto& states = graphs[rule].states;
      before_[rule].resize(states.size());
      returning_[rule].resize(states.size());
      ends_[rule].resize(states.size(), false);
      for (size_t state = 0; state < states.size(); ++state) {
        for (const ByteEdge& edge : states[state].bytes) {
          before_[rule][static_cast<size_t>(edge.target)].push_back(static_cast<int32_t>(state));
        }
        for (const CallEdge& call : states[state].calls) {
          returning_[rule][static_cast<size_t>(call.target)].push_back({static_cast<int32_t>(state), call.rule});
          callers_[static_cast<size_t>(call.rule)].push_back({{rule, state}, static_cast<size_t>(call.target)});
        }
      }
    }
    for (size_t rule = 0; rule < graphs.size(); ++rule) {
      for (size_t state = 0; state < graphs[rule].states.size(); ++state) {
        if (graphs[rule].states[state].final) Mark({rule, state});
      }
    }
  }

  std::vector<std::vector<bool>> Run() {
    while (!open_.empty()) {
      const auto [rule, state] = open_.back();
      open_.pop_back();
      for (int32_t previous : before_[rule][state]) Mark({rule, static_cast<size_t>(previous)});
      for (const auto& [source, callee] : returning_[rule][state]) {
        if (ends_[static_cast<size_t>(callee)][0]) Mark({rule, static_cast<size_t>(source)});
      }
      if (state != 0) continue;
      for (const auto& [place, target] : callers_[rule]) {
        if (ends_[place.rule][target]) Mark(place);
      }
    }
    return std::move(ends_);
  }

 private:
  struct Return {
    int32_t source;  // the state that calls
    RuleId callee;
  };
  struct Caller {
    Place place;
    size_t target;  // where it goes on
  };

  void Mark(Place place) {
    if (ends_[place.rule][place.state]) return;
    ends_[place.rule][place.state] = true;
    open_.push_back(place);
  }

  std::vector<std::vector<std::vector<int32_t>>> before_;    // [rule][state]: states with a byte to it
  std::vector<std::vector<std::vector<Return>>> returning_;  // [rule][state]: calls that go on there
  std::vector<std::vector<Caller>> callers_;                 // [callee]
  std::vector<std::vector<bool>> ends_;
  std::vector<Place> open_;
};

}  // namespace

std::vector<std::vector<bool>> ReachableEnds(const std::vector<RuleGraph>& graphs) {
  return BackwardWalk(graphs).Run();
}

}  // namespace edgellm::constrain
