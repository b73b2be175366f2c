// From which states of a grammar's rules an end can be reached: the others, and the edges to them, lead nowhere and are
// dropped. A step inside CompileGrammar (automaton.h).
#pragma once

#include <vector>

#include "constrain/rule_graph.h"

namespace edgellm::constrain {

/// [rule][state]: true when some text leads from the state to the end of its rule. Calls' rules are indices of
/// `graphs`.
std::vector<std::vector<bool>> ReachableEnds(const std::vector<RuleGraph>& graphs);

}  // namespace edgellm::constrain
