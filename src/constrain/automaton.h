// A compiled grammar: one automaton over bytes a rule, with edges that call other rules. It says what may follow a
// state, not where a text is: recognizer.h walks it, with a stack.
//
// A rule's states are made deterministic (subset construction over bytes and calls) unless that takes far more states
// than there were; then they stay as they are, and the recognizer carries several. What cannot be completed to a text
// of the language is removed, so that every state that is left leads to an end.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "constrain/grammar.h"

namespace edgellm::constrain {

/// Takes the bytes low … high, inclusive.
struct ByteEdge {
  uint8_t low, high;
  int32_t target;
};

/// Goes on at `target` once `rule` has matched.
struct CallEdge {
  RuleId rule;
  int32_t target;
  bool tail;  // nothing can follow in this rule: its own callers' states serve as well
};

struct AutomatonState {
  int32_t bytes_begin = 0, bytes_end = 0;  // into Automaton::byte_edges
  int32_t calls_begin = 0, calls_end = 0;  // into Automaton::call_edges
  bool final = false;                      // the rule may end here
};

struct AutomatonRule {
  std::string name;
  int32_t start = -1;
  bool nullable = false;
  int32_t order = 0;  // a rule comes before those that it can call before its first byte
};

/// Immutable once compiled.
struct Automaton {
  static constexpr size_t kMaxStates = 200'000;
  static constexpr size_t kMaxEdges = 2'000'000;
  static constexpr int kMaxRules = 20'000;

  std::vector<AutomatonState> states;
  std::vector<ByteEdge> byte_edges;
  std::vector<CallEdge> call_edges;
  std::vector<AutomatonRule> rules;
  RuleId root = -1;
  std::array<uint8_t, 256> byte_class{};  // bytes that no edge tells apart
  int byte_classes = 0;

  size_t bytes() const;  // memory
};

/// Throws Error: kInvalidArgument (a left-recursive rule, by name; no text matches; a rule without a body), kLimit (too
/// many states or edges).
Automaton CompileGrammar(const Grammar& grammar);

}  // namespace edgellm::constrain
