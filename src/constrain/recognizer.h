// Walks a compiled grammar byte by byte. It knows bytes only; tokens are token_matcher.h's.
//
// A position in a text is a set of items (automaton state, stack). Stacks are shared: a stack node is a *set* of the
// places where callers go on (an item each), so that callers of one rule at one position become one node, and an
// ambiguous grammar costs what its different places cost, not its different histories (a graph-structured stack;
// Tomita 1985, Scott and Johnstone 2010). Nodes and positions are interned: equal ones have equal numbers, a position
// is one number, and stepping from it by a byte is remembered. Numbers only grow; the owner starts a new recognizer
// when this one has become too large.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "constrain/automaton.h"

namespace edgellm::constrain {

/// An automaton state and the stack node below it. As a member of a node: where a caller goes on.
struct Item {
  int32_t state;
  int32_t node;
  auto operator<=>(const Item&) const = default;
};

using PositionId = int32_t;

class Recognizer {
 public:
  static constexpr PositionId kDead = -1;
  static constexpr int32_t kBottom = 0;      // the node below which there is nothing: its rule's end ends the text
  static constexpr size_t kMaxItems = 2000;  // of one position
  static constexpr size_t kMaxBytes = size_t{256} << 20;

  /// `automaton` must outlive it.
  explicit Recognizer(const Automaton& automaton);

  /// Before the first byte of the root rule.
  PositionId Start();
  /// Inside `state`, with the bottom below it, as if its rule were the whole grammar.
  PositionId StartAt(int32_t state);
  /// Where what lies in `node` goes on. kDead where nothing does.
  PositionId After(int32_t node);

  /// kDead when no text of the language goes on so. Throws Error(kLimit) past kMaxItems or kMaxBytes.
  PositionId Step(PositionId position, uint8_t byte) {
    const int32_t row = rows_[static_cast<size_t>(position)];
    if (row >= 0) {
      const PositionId known = next_[static_cast<size_t>(row) + automaton_.byte_class[byte]];
      if (known != kUnknown) return known;
    }
    return ComputeStep(position, byte);
  }
  /// True when the text may end here.
  bool MayEnd(PositionId position) const { return positions_[static_cast<size_t>(position)].ends; }
  /// Items from which a byte can be taken; none where the text can only end.
  std::span<const Item> Items(PositionId position) const;

  /// The same positions of another recognizer over the same automaton.
  std::vector<PositionId> Import(const Recognizer& other, std::span<const PositionId> positions);

  size_t bytes() const;  // memory

 private:
  static constexpr PositionId kUnknown = -2;
  static constexpr Item kEnd = {-1, -1};  // in the bottom's place: nobody goes on, the text ends

  struct Slice {
    int32_t begin, count;
    bool ends;     // of positions
    int32_t next;  // with the same hash
  };

  PositionId ComputeStep(PositionId position, uint8_t byte);
  void BeginClose();
  void Add(Item item);
  void Visit(Item item);
  void Call(const CallEdge& call, int32_t node);
  /// Completes the items in open_ to a position.
  PositionId Close();
  int32_t Intern(std::vector<Slice>* slices, std::unordered_map<uint64_t, int32_t>* heads, bool ends,
                 std::vector<Item>* items);
  int32_t InternNode(std::vector<Item>* callers);
  std::span<const Item> NodeItems(int32_t node) const;
  int32_t ImportNode(const Recognizer& other, int32_t node, std::unordered_map<int32_t, int32_t>* known);

  const Automaton& automaton_;
  std::vector<Item> pool_;  // what slices look at
  std::vector<Slice> nodes_, positions_;
  std::unordered_map<uint64_t, int32_t> node_heads_, position_heads_;
  std::vector<PositionId> after_;  // [node]
  std::vector<int32_t> rows_;      // [position]: begin of its row in next_; -1: none yet
  std::vector<PositionId> next_;   // rows of one entry a byte class

  // Scratch of Close.
  std::vector<Item> open_, taking_;
  std::vector<Item> seen_;  // open addressing
  std::vector<uint32_t> seen_stamp_;
  uint32_t stamp_ = 0;
  size_t seen_count_ = 0;
  bool ends_ = false;
  std::vector<std::vector<Item>> callers_;  // [rule]
  std::vector<int32_t> called_;             // rules with callers, a heap by order
};

}  // namespace edgellm::constrain
