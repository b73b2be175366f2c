// Which states of an automaton cannot be told apart by short texts: two states are alike to depth d when every text of
// at most d bytes does the same from both (bisimulation, cut off). The states of a bounded repetition are, far from its
// bounds; so what was worked out for one of them serves all, but for long tokens.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "constrain/automaton.h"
#include "constrain/vocabulary_trie.h"

namespace edgellm::constrain {

class StateLikeness {
 public:
  /// Bytes, deepest last.
  static constexpr auto kDepths = VocabularyTrie::kLengths;

  explicit StateLikeness(const Automaton& automaton);

  /// States with the same number are alike to kDepths[level]. Numbers are hashes of 64 bits: that two states which are
  /// not alike get the same one does not happen by chance.
  uint64_t Class(int32_t state, size_t level) const { return classes_[level][static_cast<size_t>(state)]; }
  size_t bytes() const;  // memory

 private:
  std::array<std::vector<uint64_t>, kDepths.size()> classes_;
};

}  // namespace edgellm::constrain
