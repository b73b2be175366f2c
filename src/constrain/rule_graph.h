// One rule's body as a graph: from expressions to states with free moves (Thompson's construction), and from those to
// deterministic ones. A step inside CompileGrammar (automaton.h), of no use to others.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "constrain/automaton.h"
#include "constrain/grammar.h"

namespace edgellm::constrain {

/// States of one rule, numbered from 0, the start.
struct RuleGraph {
  struct State {
    std::vector<int32_t> free;  // moves that take nothing; none in what Determinize returns
    std::vector<ByteEdge> bytes;
    std::vector<CallEdge> calls;
    bool final = false;
  };
  std::vector<State> states;
};

/// What compiling may still spend, over all rules together: time is bounded whatever the grammar.
class CompileBudget {
 public:
  /// Throws Error(kLimit) once `states` or `work` are used up.
  void TakeState();
  void Work(size_t amount);

 private:
  size_t states_ = 0;
  uint64_t work_ = 0;
};

/// `resolve` gives the index in the automaton of a rule that is to be called, or -1 for one whose body is to stand in
/// the place of the reference; `depth` says how many bodies stand in one another there.
struct RuleReferences {
  std::function<int32_t(RuleId, int depth)> resolve;
};

/// The body of one rule, with free moves.
RuleGraph BuildRuleGraph(const Grammar& grammar, ExpressionId body, const RuleReferences& references,
                         CompileBudget* budget);

/// Without free moves, and deterministic where that does not cost too many states.
RuleGraph Determinize(const RuleGraph& graph, CompileBudget* budget);

}  // namespace edgellm::constrain
