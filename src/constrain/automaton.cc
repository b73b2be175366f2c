// See automaton.h.
#include "constrain/automaton.h"

#include <algorithm>

#include "base/error.h"
#include "constrain/reachable_ends.h"
#include "constrain/rule_graph.h"

namespace edgellm::constrain {
namespace {

/// Rules are called, or stand in place of their reference when there is one reference only.
constexpr int kMaxInlineDepth = 40;

class Compiler {
 public:
  explicit Compiler(const Grammar& grammar)
      : grammar_(grammar),
        uses_(static_cast<size_t>(grammar.rule_count()), 0),
        index_(static_cast<size_t>(grammar.rule_count()), -1) {}

  Automaton Compile() {
    if (grammar_.rule_count() > Automaton::kMaxRules) {
      Fail(ErrorCode::kLimit, "the grammar has more than {} rules", Automaton::kMaxRules);
    }
    CountUses();
    const RuleReferences references = {[this](RuleId rule, int depth) {
      if (uses_[static_cast<size_t>(rule)] == 1 && depth < kMaxInlineDepth) return -1;
      return IndexOf(rule);
    }};
    automaton_.root = IndexOf(grammar_.root);
    for (size_t next = 0; next < order_of_discovery_.size(); ++next) {
      const ExpressionId body = grammar_.body(order_of_discovery_[next]);
      graphs_.push_back(Determinize(BuildRuleGraph(grammar_, body, references, &budget_), &budget_));
    }
    FindNullable();
    OrderRules();
    RemoveDeadEnds();
    Flatten();
    FindByteClasses();
    return std::move(automaton_);
  }

 private:
  int32_t IndexOf(RuleId rule) {
    int32_t& index = index_[static_cast<size_t>(rule)];
    if (index < 0) {
      index = static_cast<int32_t>(order_of_discovery_.size());
      order_of_discovery_.push_back(rule);
      automaton_.rules.push_back({grammar_.name(rule), -1, false, 0});
    }
    return index;
  }

  /// How often each rule that root reaches is referred to: 0, 1, or 2 for more.
  void CountUses() {
    struct Visit {
      ExpressionId id;
      bool copied;  // below a repetition that copies it
    };
    const auto use = [this](RuleId rule, bool copied) {
      if (!grammar_.defined(rule)) {
        Fail(ErrorCode::kInvalidArgument, "the rule '{}' is used but not defined", grammar_.name(rule));
      }
      int& uses = uses_[static_cast<size_t>(rule)];
      const bool first = uses == 0;
      uses = std::min(2, uses + (copied ? 2 : 1));
      return first;
    };
    std::vector<Visit> visits;
    use(grammar_.root, true);
    visits.push_back({grammar_.body(grammar_.root), false});
    while (!visits.empty()) {
      const Visit visit = visits.back();
      visits.pop_back();
      budget_.Work(1);
      const Expression& e = grammar_.at(visit.id);
      const bool repeats =
          e.kind == Expression::Kind::kRepeat && (e.maximum == Grammar::kUnlimited ? e.minimum > 0 : e.maximum > 1);
      for (ExpressionId child : e.children) {
        visits.push_back({child, visit.copied || repeats || e.kind == Expression::Kind::kJoin});
      }
      for (const JoinItem& item : e.items) visits.push_back({item.expression, visit.copied});
      if (e.kind == Expression::Kind::kRule && use(e.rule, visit.copied)) {
        visits.push_back({grammar_.body(e.rule), false});
      }
    }
  }

  bool Nullable(RuleId rule) const { return automaton_.rules[static_cast<size_t>(rule)].nullable; }

  /// Calls `visit` for every state of a rule that is reached without taking a byte.
  template <typename Visit>
  void ForEachLeftmost(size_t rule, const Visit& visit) {
    const RuleGraph& graph = graphs_[rule];
    std::vector<bool> seen(graph.states.size(), false);
    std::vector<int32_t> open = {0};
    seen[0] = true;
    while (!open.empty()) {
      const RuleGraph::State& state = graph.states[static_cast<size_t>(open.back())];
      open.pop_back();
      visit(state);
      for (const CallEdge& call : state.calls) {
        if (!Nullable(call.rule) || seen[static_cast<size_t>(call.target)]) continue;
        seen[static_cast<size_t>(call.target)] = true;
        open.push_back(call.target);
      }
    }
  }

  void FindNullable() {
    for (bool changed = true; changed;) {
      changed = false;
      for (size_t rule = 0; rule < graphs_.size(); ++rule) {
        if (automaton_.rules[rule].nullable) continue;
        ForEachLeftmost(rule, [&](const RuleGraph::State& state) {
          if (state.final) automaton_.rules[rule].nullable = changed = true;
        });
        budget_.Work(graphs_.size());
      }
    }
  }

  /// Orders rules by who calls whom before the first byte. A circle there is left recursion.
  void OrderRules() {
    const size_t count = graphs_.size();
    std::vector<std::vector<int32_t>> callees(count), callers(count);
    std::vector<int> waiting(count, 0);
    for (size_t rule = 0; rule < count; ++rule) {
      auto& list = callees[rule];
      ForEachLeftmost(rule, [&](const RuleGraph::State& state) {
        for (const CallEdge& call : state.calls) list.push_back(call.rule);
      });
      std::sort(list.begin(), list.end());
      list.erase(std::unique(list.begin(), list.end()), list.end());
      for (int32_t callee : list) {
        callers[static_cast<size_t>(callee)].push_back(static_cast<int32_t>(rule));
        ++waiting[static_cast<size_t>(callee)];
      }
    }
    std::vector<int32_t> ready;
    for (size_t rule = 0; rule < count; ++rule) {
      if (waiting[rule] == 0) ready.push_back(static_cast<int32_t>(rule));
    }
    int32_t placed = 0;
    while (!ready.empty()) {
      const auto rule = static_cast<size_t>(ready.back());
      ready.pop_back();
      automaton_.rules[rule].order = placed++;
      for (int32_t callee : callees[rule]) {
        if (--waiting[static_cast<size_t>(callee)] == 0) ready.push_back(callee);
      }
    }
    if (static_cast<size_t>(placed) == count) return;
    // Callers of a rule that waits wait too, somewhere: going back along them ends in a circle.
    size_t rule = static_cast<size_t>(std::find_if(waiting.begin(), waiting.end(), [](int n) { return n > 0; }) -
                                      waiting.begin());
    for (std::vector<bool> seen(count, false); !seen[rule];) {
      seen[rule] = true;
      rule = static_cast<size_t>(*std::find_if(callers[rule].begin(), callers[rule].end(), [&](int32_t caller) {
        return waiting[static_cast<size_t>(caller)] > 0;
      }));
    }
    Fail(ErrorCode::kInvalidArgument, "the rule '{}' is left-recursive: it can call itself before it takes a byte",
         automaton_.rules[rule].name);
  }

  void RemoveDeadEnds() {
    const auto ends = ReachableEnds(graphs_);
    const auto can_end = [&](RuleId rule, int32_t state) {
      return ends[static_cast<size_t>(rule)][static_cast<size_t>(state)];
    };
    if (!can_end(automaton_.root, 0)) Fail(ErrorCode::kInvalidArgument, "no finite text matches the grammar");
    for (size_t rule = 0; rule < graphs_.size(); ++rule) {
      const auto own = static_cast<RuleId>(rule);
      for (auto& state : graphs_[rule].states) {
        std::erase_if(state.bytes, [&](const ByteEdge& edge) { return !can_end(own, edge.target); });
        std::erase_if(state.calls,
                      [&](const CallEdge& edge) { return !can_end(own, edge.target) || !can_end(edge.rule, 0); });
      }
    }
  }

  void Flatten() {
    std::vector<int32_t> first;
    size_t count = 0;
    for (const RuleGraph& graph : graphs_) {
      first.push_back(static_cast<int32_t>(count));
      count += graph.states.size();
    }
    if (count > Automaton::kMaxStates) {
      Fail(ErrorCode::kLimit, "the grammar needs more than {} states", Automaton::kMaxStates);
    }
    for (size_t rule = 0; rule < graphs_.size(); ++rule) {
      automaton_.rules[rule].start = first[rule];
      for (const RuleGraph::State& state : graphs_[rule].states) {
        AutomatonState flat;
        flat.final = state.final;
        flat.bytes_begin = static_cast<int32_t>(automaton_.byte_edges.size());
        for (ByteEdge edge : state.bytes) {
          edge.target += first[rule];
          automaton_.byte_edges.push_back(edge);
        }
        flat.bytes_end = static_cast<int32_t>(automaton_.byte_edges.size());
        flat.calls_begin = static_cast<int32_t>(automaton_.call_edges.size());
        for (CallEdge edge : state.calls) {
          const RuleGraph::State& target = graphs_[rule].states[static_cast<size_t>(edge.target)];
          edge.tail = target.final && target.bytes.empty() && target.calls.empty();
          edge.target += first[rule];
          automaton_.call_edges.push_back(edge);
        }
        flat.calls_end = static_cast<int32_t>(automaton_.call_edges.size());
        automaton_.states.push_back(flat);
      }
      if (automaton_.byte_edges.size() + automaton_.call_edges.size() > Automaton::kMaxEdges) {
        Fail(ErrorCode::kLimit, "the grammar needs more than {} edges", Automaton::kMaxEdges);
      }
    }
  }

  void FindByteClasses() {
    std::array<bool, 257> cuts{};
    for (const ByteEdge& edge : automaton_.byte_edges) {
      cuts[edge.low] = true;
      cuts[edge.high + 1u] = true;
    }
    int current = 0;
    for (size_t byte = 0; byte < 256; ++byte) {
      if (byte > 0 && cuts[byte]) ++current;
      automaton_.byte_class[byte] = static_cast<uint8_t>(current);
    }
    automaton_.byte_classes = current + 1;
  }

  const Grammar& grammar_;
  CompileBudget budget_;
  std::vector<int> uses_;
  std::vector<int32_t> index_;  // of grammar rules in the automaton
  std::vector<RuleId> order_of_discovery_;
  std::vector<RuleGraph> graphs_;
  Automaton automaton_;
};

}  // namespace

size_t Automaton::bytes() const {
  return states.size() * sizeof(AutomatonState) + byte_edges.size() * sizeof(ByteEdge) +
         call_edges.size() * sizeof(CallEdge) + rules.size() * sizeof(AutomatonRule);
}

Automaton CompileGrammar(const Grammar& grammar) {
  EDGELLM_CHECK(grammar.root >= 0, "a grammar needs a root rule");
  return Compiler(grammar).Compile();
}

}  // namespace edgellm::constrain
