// See rule_graph.h.
#include "constrain/rule_graph.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/error.h"
#include "constrain/utf8_ranges.h"

namespace edgellm::constrain {

void CompileBudget::TakeState() {
  // Twice the limit of the result: the graphs with free moves are larger than what becomes of them.
  if (++states_ > 2 * Automaton::kMaxStates) {
    Fail(ErrorCode::kLimit, "the grammar needs more than {} states: repetitions multiply what they repeat",
         Automaton::kMaxStates);
  }
}

void CompileBudget::Work(size_t amount) {
  constexpr uint64_t kMaxWork = 100'000'000;  // about a second
  work_ += amount;
  if (work_ > kMaxWork) Fail(ErrorCode::kLimit, "the grammar takes too long to compile: it is too ambiguous");
}

namespace {

class Builder {
 public:
  Builder(const Grammar& grammar, const RuleReferences& references, CompileBudget* budget)
      : grammar_(grammar), references_(references), budget_(*budget) {}

  RuleGraph Build(ExpressionId body) {
    const int32_t end = Append(body, New(), 0);
    graph_.states[static_cast<size_t>(end)].final = true;
    return std::move(graph_);
  }

 private:
  int32_t New() {
    budget_.TakeState();
    graph_.states.emplace_back();
    return static_cast<int32_t>(graph_.states.size() - 1);
  }
  RuleGraph::State& At(int32_t state) { return graph_.states[static_cast<size_t>(state)]; }
  void Free(int32_t from, int32_t to) { At(from).free.push_back(to); }
  void Bytes(int32_t from, ByteRange range, int32_t to) { At(from).bytes.push_back({range.low, range.high, to}); }

  /// Adds what `id` matches after `from`, without an edge into `from`; returns where it ends.
  int32_t Append(ExpressionId id, int32_t from, int depth) {
    const Expression& e = grammar_.at(id);
    switch (e.kind) {
      case Expression::Kind::kText:
        for (char byte : e.text) {
          const int32_t next = New();
          Bytes(from, {static_cast<uint8_t>(byte), static_cast<uint8_t>(byte)}, next);
          from = next;
        }
        return from;
      case Expression::Kind::kClass:
        return AppendClass(e, from);
      case Expression::Kind::kSequence:
        for (ExpressionId child : e.children) from = Append(child, from, depth);
        return from;
      case Expression::Kind::kChoice: {
        const int32_t end = New();
        for (ExpressionId child : e.children) Free(Append(child, from, depth), end);
        return end;
      }
      case Expression::Kind::kRepeat:
        return AppendRepeat(e, from, depth);
      case Expression::Kind::kJoin:
        return AppendJoin(e, from, depth);
      case Expression::Kind::kRule:
        break;
    }
    const int32_t rule = references_.resolve(e.rule, depth);
    if (rule < 0) return Append(grammar_.body(e.rule), from, depth + 1);
    const int32_t next = New();
    At(from).calls.push_back({rule, next, false});
    return next;
  }

  int32_t AppendClass(const Expression& e, int32_t from) {
    const int32_t end = New();
    std::vector<ByteSequence> sequences;
    for (const CodePointRange& range : e.ranges) AppendUtf8Sequences(range, &sequences);
    budget_.Work(sequences.size());
    std::map<ByteSequence, int32_t> rests;  // the state before what is left of a sequence: endings are shared
    rests[{}] = end;
    for (const ByteSequence& sequence : sequences) {
      for (size_t place = sequence.size() - 1; place > 0; --place) {
        const ByteSequence rest(sequence.begin() + static_cast<std::ptrdiff_t>(place), sequence.end());
        if (rests.contains(rest)) continue;
        const int32_t state = New();
        Bytes(state, rest[0], rests.at({rest.begin() + 1, rest.end()}));
        rests[rest] = state;
      }
      Bytes(from, sequence[0], rests.at({sequence.begin() + 1, sequence.end()}));
    }
    return end;
  }

  int32_t AppendRepeat(const Expression& e, int32_t from, int depth) {
    for (int i = 0; i < e.minimum; ++i) from = Append(e.children[0], from, depth);
    if (e.maximum == Grammar::kUnlimited) {
      const int32_t loop = New(), out = New();
      Free(from, loop);
      Free(Append(e.children[0], loop, depth), loop);
      Free(loop, out);
      return out;
    }
    const int32_t out = New();
    for (int i = e.minimum; i < e.maximum; ++i) {
      Free(from, out);
      from = Append(e.children[0], from, depth);
    }
    Free(from, out);
    return out;
  }

  /// Two rows of states, before and after the first item that is there.
  int32_t AppendJoin(const Expression& e, int32_t from, int depth) {
    int32_t none = New(), some = New();
    Free(from, none);
    bool none_possible = true;
    for (const JoinItem& item : e.items) {
      const int32_t next_none = New(), next_some = New(), begin = New();
      if (none_possible) Free(Append(e.children[1], none, depth), begin);
      Free(Append(e.children[0], some, depth), begin);
      const int32_t end = Append(item.expression, begin, depth);
      Free(end, next_some);
      if (item.repeated) Free(Append(e.children[0], end, depth), begin);
      if (item.optional) {
        if (none_possible) Free(none, next_none);
        Free(some, next_some);
      }
      none_possible = none_possible && item.optional;
      none = next_none;
      some = next_some;
    }
    const int32_t out = New();
    if (none_possible) Free(none, out);
    Free(Append(e.children[2], some, depth), out);
    return out;
  }

  const Grammar& grammar_;
  const RuleReferences& references_;
  CompileBudget& budget_;
  RuleGraph graph_;
};

struct SetHash {
  size_t operator()(const std::vector<int32_t>& set) const {
    size_t hash = set.size();
    for (int32_t member : set) hash = (hash ^ static_cast<size_t>(member)) * 0x9E3779B97F4A7C15u;
    return hash;
  }
};

class Determinizer {
 public:
  Determinizer(const RuleGraph& graph, CompileBudget* budget)
      : graph_(graph), budget_(*budget), seen_(graph.states.size(), 0) {}

  /// False when there are too many sets.
  bool Run(RuleGraph* result) {
    const size_t limit = 4 * graph_.states.size() + 256;
    Intern({0});
    for (size_t next = 0; next < sets_.size(); ++next) {
      if (sets_.size() > limit) return false;
      Expand(next);
    }
    result->states = std::move(made_);
    return true;
  }

  /// The same states, each with the edges of all that it can freely reach.
  RuleGraph WithoutFreeMoves() {
    RuleGraph result;
    result.states.resize(graph_.states.size());
    for (size_t state = 0; state < graph_.states.size(); ++state) {
      for (int32_t member : Closure({static_cast<int32_t>(state)})) AddEdges(member, &result.states[state]);
    }
    return result;
  }

 private:
  std::vector<int32_t> Closure(std::vector<int32_t> set) {
    ++stamp_;
    std::vector<int32_t> reached;
    while (!set.empty()) {
      const int32_t state = set.back();
      set.pop_back();
      if (seen_[static_cast<size_t>(state)] == stamp_) continue;
      seen_[static_cast<size_t>(state)] = stamp_;
      const RuleGraph::State& s = graph_.states[static_cast<size_t>(state)];
      budget_.Work(1 + s.free.size());
      if (s.final || !s.bytes.empty() || !s.calls.empty()) reached.push_back(state);
      set.insert(set.end(), s.free.begin(), s.free.end());
    }
    std::sort(reached.begin(), reached.end());
    return reached;
  }

  int32_t Intern(std::vector<int32_t> targets) {
    std::vector<int32_t> set = Closure(std::move(targets));
    const auto [found, added] = ids_.try_emplace(std::move(set), static_cast<int32_t>(sets_.size()));
    if (added) {
      budget_.TakeState();
      sets_.push_back(&found->first);
      made_.emplace_back();
    }
    return found->second;
  }

  void AddEdges(int32_t member, RuleGraph::State* state) {
    const RuleGraph::State& from = graph_.states[static_cast<size_t>(member)];
    state->bytes.insert(state->bytes.end(), from.bytes.begin(), from.bytes.end());
    state->calls.insert(state->calls.end(), from.calls.begin(), from.calls.end());
    state->final = state->final || from.final;
    budget_.Work(from.bytes.size() + from.calls.size());
  }

  void Expand(size_t index) {
    RuleGraph::State all;
    for (int32_t member : *sets_[index]) AddEdges(member, &all);
    RuleGraph::State made;
    made.final = all.final;
    // Bytes by segments between the places where some edge begins or ends.
    std::vector<int> cuts;
    for (const ByteEdge& edge : all.bytes) {
      cuts.push_back(edge.low);
      cuts.push_back(edge.high + 1);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    for (size_t c = 0; c + 1 < cuts.size(); ++c) {
      std::vector<int32_t> targets;
      budget_.Work(all.bytes.size());
      for (const ByteEdge& edge : all.bytes) {
        if (edge.low <= cuts[c] && cuts[c] <= edge.high) targets.push_back(edge.target);
      }
      if (targets.empty()) continue;
      const int32_t target = Intern(std::move(targets));
      const auto low = static_cast<uint8_t>(cuts[c]), high = static_cast<uint8_t>(cuts[c + 1] - 1);
      if (!made.bytes.empty() && made.bytes.back().target == target && made.bytes.back().high + 1 == low) {
        made.bytes.back().high = high;
      } else {
        made.bytes.push_back({low, high, target});
      }
    }
    std::map<RuleId, std::vector<int32_t>> calls;
    for (const CallEdge& edge : all.calls) calls[edge.rule].push_back(edge.target);
    for (auto& [rule, targets] : calls) made.calls.push_back({rule, Intern(std::move(targets)), false});
    made_[index] = std::move(made);
  }

  const RuleGraph& graph_;
  CompileBudget& budget_;
  std::vector<uint32_t> seen_;
  uint32_t stamp_ = 0;
  std::unordered_map<std::vector<int32_t>, int32_t, SetHash> ids_;
  std::vector<const std::vector<int32_t>*> sets_;
  std::vector<RuleGraph::State> made_;
};

}  // namespace

RuleGraph BuildRuleGraph(const Grammar& grammar, ExpressionId body, const RuleReferences& references,
                         CompileBudget* budget) {
  return Builder(grammar, references, budget).Build(body);
}

RuleGraph Determinize(const RuleGraph& graph, CompileBudget* budget) {
  RuleGraph result;
  Determinizer determinizer(graph, budget);
  if (determinizer.Run(&result)) return result;
  return determinizer.WithoutFreeMoves();
}

}  // namespace edgellm::constrain
