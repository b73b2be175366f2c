// See recognizer.h.
#include "constrain/recognizer.h"

#include <algorithm>

#include "base/error.h"

namespace edgellm::constrain {
namespace {

constexpr size_t kTable = 8192;  // slots of the table of seen items: a power of two well above kMaxItems

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;
  return hash ^ (hash >> 29);
}

uint64_t HashOf(Item item) {
  return Mix(static_cast<uint32_t>(item.state), static_cast<uint32_t>(item.node));
}

}  // namespace

Recognizer::Recognizer(const Automaton& automaton)
    : automaton_(automaton), seen_(kTable), seen_stamp_(kTable, 0), callers_(automaton.rules.size()) {
  std::vector<Item> bottom = {kEnd};
  InternNode(&bottom);
}

std::span<const Item> Recognizer::Items(PositionId position) const {
  const Slice& slice = positions_[static_cast<size_t>(position)];
  return {pool_.data() + slice.begin, static_cast<size_t>(slice.count)};
}

std::span<const Item> Recognizer::NodeItems(int32_t node) const {
  const Slice& slice = nodes_[static_cast<size_t>(node)];
  return {pool_.data() + slice.begin, static_cast<size_t>(slice.count)};
}

int32_t Recognizer::Intern(std::vector<Slice>* slices, std::unordered_map<uint64_t, int32_t>* heads, bool ends,
                           std::vector<Item>* items) {
  std::sort(items->begin(), items->end());
  items->erase(std::unique(items->begin(), items->end()), items->end());
  uint64_t hash = Mix(items->size(), ends);
  for (const Item& item : *items) hash = Mix(hash, HashOf(item));
  const auto [head, added] = heads->try_emplace(hash, -1);
  for (int32_t id = head->second; id >= 0; id = (*slices)[static_cast<size_t>(id)].next) {
    const Slice& slice = (*slices)[static_cast<size_t>(id)];
    if (slice.ends == ends && slice.count == static_cast<int32_t>(items->size()) &&
        std::equal(items->begin(), items->end(), pool_.begin() + slice.begin)) {
      return id;
    }
  }
  const auto id = static_cast<int32_t>(slices->size());
  slices->push_back({static_cast<int32_t>(pool_.size()), static_cast<int32_t>(items->size()), ends, head->second});
  head->second = id;
  pool_.insert(pool_.end(), items->begin(), items->end());
  return id;
}

int32_t Recognizer::InternNode(std::vector<Item>* callers) {
  const int32_t node = Intern(&nodes_, &node_heads_, false, callers);
  after_.resize(nodes_.size(), kUnknown);
  return node;
}

void Recognizer::Add(Item item) {
  for (size_t slot = HashOf(item) % kTable;; slot = (slot + 1) % kTable) {
    if (seen_stamp_[slot] == stamp_) {
      if (seen_[slot] == item) return;
      continue;
    }
    if (++seen_count_ > kMaxItems) {
      Fail(ErrorCode::kLimit, "the grammar is too ambiguous: more than {} ways to read the text so far", kMaxItems);
    }
    seen_stamp_[slot] = stamp_;
    seen_[slot] = item;
    open_.push_back(item);
    return;
  }
}

void Recognizer::Call(const CallEdge& call, int32_t node) {
  auto& callers = callers_[static_cast<size_t>(call.rule)];
  if (callers.empty()) {
    called_.push_back(call.rule);
    std::push_heap(called_.begin(), called_.end(), [this](int32_t a, int32_t b) {
      return automaton_.rules[static_cast<size_t>(a)].order > automaton_.rules[static_cast<size_t>(b)].order;
    });
  }
  if (call.tail) {
    const auto items = NodeItems(node);
    callers.insert(callers.end(), items.begin(), items.end());
  } else {
    callers.push_back({call.target, node});
  }
  if (automaton_.rules[static_cast<size_t>(call.rule)].nullable) Add({call.target, node});
}

void Recognizer::Visit(Item item) {
  const AutomatonState& state = automaton_.states[static_cast<size_t>(item.state)];
  if (state.bytes_begin < state.bytes_end) taking_.push_back(item);
  if (state.final) {
    // By index: Add may not, but interning does move the pool.
    const Slice callers = nodes_[static_cast<size_t>(item.node)];
    for (int32_t i = callers.begin; i < callers.begin + callers.count; ++i) {
      const Item caller = pool_[static_cast<size_t>(i)];
      if (caller == kEnd) {
        ends_ = true;
      } else {
        Add(caller);
      }
    }
  }
  for (int32_t i = state.calls_begin; i < state.calls_end; ++i) {
    Call(automaton_.call_edges[static_cast<size_t>(i)], item.node);
  }
}

// A rule is started once all its callers at this position are known. They are: callers are reached without taking a
// byte, so they come before the rule in the order of rules; and where one comes after a rule that may be empty, it was
// added when that rule was called.
PositionId Recognizer::Close() {
  const auto later = [this](int32_t a, int32_t b) {
    return automaton_.rules[static_cast<size_t>(a)].order > automaton_.rules[static_cast<size_t>(b)].order;
  };
  while (true) {
    while (!open_.empty()) {
      const Item item = open_.back();
      open_.pop_back();
      Visit(item);
    }
    if (called_.empty()) break;
    std::pop_heap(called_.begin(), called_.end(), later);
    const int32_t rule = called_.back();
    called_.pop_back();
    const int32_t node = InternNode(&callers_[static_cast<size_t>(rule)]);
    callers_[static_cast<size_t>(rule)].clear();
    Add({automaton_.rules[static_cast<size_t>(rule)].start, node});
  }
  if (taking_.empty() && !ends_) return kDead;
  const PositionId position = Intern(&positions_, &position_heads_, ends_, &taking_);
  rows_.resize(positions_.size(), -1);
  return position;
}

PositionId Recognizer::Start() {
  return StartAt(automaton_.rules[static_cast<size_t>(automaton_.root)].start);
}

PositionId Recognizer::StartAt(int32_t state) {
  BeginClose();
  Add({state, kBottom});
  return Close();
}

PositionId Recognizer::After(int32_t node) {
  if (after_[static_cast<size_t>(node)] != kUnknown) return after_[static_cast<size_t>(node)];
  BeginClose();
  for (const Item& caller : NodeItems(node)) {
    if (caller == kEnd) {
      ends_ = true;
    } else {
      Add(caller);
    }
  }
  const PositionId position = Close();
  after_[static_cast<size_t>(node)] = position;
  return position;
}

PositionId Recognizer::ComputeStep(PositionId position, uint8_t byte) {
  BeginClose();
  int low = 0, high = 255;  // bytes that all edges treat alike: what is learnt holds for them too
  for (const Item& item : Items(position)) {
    const AutomatonState& state = automaton_.states[static_cast<size_t>(item.state)];
    for (int32_t i = state.bytes_begin; i < state.bytes_end; ++i) {
      const ByteEdge& edge = automaton_.byte_edges[static_cast<size_t>(i)];
      if (edge.high < byte) {
        low = std::max<int>(low, edge.high + 1);
      } else if (edge.low > byte) {
        high = std::min<int>(high, edge.low - 1);
      } else {
        low = std::max<int>(low, edge.low);
        high = std::min<int>(high, edge.high);
        Add({edge.target, item.node});
      }
    }
  }
  const PositionId next = seen_count_ == 0 ? kDead : Close();
  if (pool_.size() * sizeof(Item) + next_.size() * sizeof(PositionId) > kMaxBytes) {
    Fail(ErrorCode::kLimit, "the grammar is too ambiguous: reading takes more than {} MiB", kMaxBytes >> 20);
  }
  int32_t& row = rows_[static_cast<size_t>(position)];
  if (row < 0) {
    row = static_cast<int32_t>(next_.size());
    next_.resize(next_.size() + static_cast<size_t>(automaton_.byte_classes), kUnknown);
  }
  const auto begin = next_.begin() + row;
  std::fill(begin + automaton_.byte_class[static_cast<size_t>(low)],
            begin + automaton_.byte_class[static_cast<size_t>(high)] + 1, next);
  return next;
}

void Recognizer::BeginClose() {
  // An earlier one may have ended by an exception.
  for (int32_t rule : called_) callers_[static_cast<size_t>(rule)].clear();
  called_.clear();
  open_.clear();
  taking_.clear();
  ends_ = false;
  seen_count_ = 0;
  if (++stamp_ == 0) {
    std::fill(seen_stamp_.begin(), seen_stamp_.end(), 0);
    stamp_ = 1;
  }
}

int32_t Recognizer::ImportNode(const Recognizer& other, int32_t node, std::unordered_map<int32_t, int32_t>* known) {
  // Depth first with a stack of its own: nodes can lie as deep as a text nests.
  std::vector<int32_t> open = {node};
  (*known)[kBottom] = kBottom;
  while (!open.empty()) {
    const int32_t current = open.back();
    if (known->contains(current)) {
      open.pop_back();
      continue;
    }
    bool ready = true;
    for (const Item& item : other.NodeItems(current)) {
      if (item == kEnd || known->contains(item.node)) continue;
      open.push_back(item.node);
      ready = false;
    }
    if (!ready) continue;
    std::vector<Item> items;
    for (const Item& item : other.NodeItems(current)) {
      items.push_back(item == kEnd ? kEnd : Item{item.state, known->at(item.node)});
    }
    (*known)[current] = InternNode(&items);
    open.pop_back();
  }
  return known->at(node);
}

std::vector<PositionId> Recognizer::Import(const Recognizer& other, std::span<const PositionId> positions) {
  std::unordered_map<int32_t, int32_t> known;
  std::vector<PositionId> imported;
  for (PositionId position : positions) {
    std::vector<Item> items;
    for (const Item& item : other.Items(position)) items.push_back({item.state, ImportNode(other, item.node, &known)});
    imported.push_back(Intern(&positions_, &position_heads_, other.MayEnd(position), &items));
  }
  rows_.resize(positions_.size(), -1);
  return imported;
}

size_t Recognizer::bytes() const {
  return pool_.capacity() * sizeof(Item) + (nodes_.capacity() + positions_.capacity()) * sizeof(Slice) +
         (node_heads_.size() + position_heads_.size()) * 32 +
         (after_.capacity() + rows_.capacity() + next_.capacity()) * sizeof(int32_t);
}

}  // namespace edgellm::constrain
