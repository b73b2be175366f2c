// See state_likeness.h.
#include "constrain/state_likeness.h"

#include <bit>

namespace edgellm::constrain {
namespace {

/// A step of a keyed 64-bit mixer (the finaliser of SplitMix64).
uint64_t Mix(uint64_t hash, uint64_t value) {
  uint64_t x = (std::rotl(hash, 23) + 0x9E3779B97F4A7C15u) ^ (value * 0xD6E8FEB86659FD93u);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

StateLikeness::StateLikeness(const Automaton& automaton) {
  const size_t count = automaton.states.size();
  std::vector<uint64_t> now(count), next(count);
  for (size_t s = 0; s < count; ++s) now[s] = automaton.states[s].final ? 1 : 0;
  size_t level = 0;
  for (int depth = 1; level < kDepths.size(); ++depth) {
    for (size_t s = 0; s < count; ++s) {
      const AutomatonState& state = automaton.states[s];
      uint64_t hash = state.final ? 1 : 0;
      for (int32_t i = state.bytes_begin; i < state.bytes_end; ++i) {
        const ByteEdge& edge = automaton.byte_edges[static_cast<size_t>(i)];
        hash = Mix(hash, static_cast<uint64_t>(edge.low) << 8 | edge.high);
        hash = Mix(hash, now[static_cast<size_t>(edge.target)]);
      }
      for (int32_t i = state.calls_begin; i < state.calls_end; ++i) {
        // A rule that may be empty leads on without a byte: its target must be the same one, not one alike.
        const CallEdge& edge = automaton.call_edges[static_cast<size_t>(i)];
        const bool same = automaton.rules[static_cast<size_t>(edge.rule)].nullable;
        hash = Mix(hash, static_cast<uint64_t>(edge.rule) << 1 | (same ? 1 : 0));
        hash = Mix(hash, same ? static_cast<uint64_t>(edge.target) : now[static_cast<size_t>(edge.target)]);
      }
      next[s] = hash;
    }
    now.swap(next);
    if (depth == kDepths[level]) classes_[level++] = now;
  }
}

size_t StateLikeness::bytes() const {
  return classes_.size() * classes_[0].size() * sizeof(uint64_t);
}

}  // namespace edgellm::constrain
