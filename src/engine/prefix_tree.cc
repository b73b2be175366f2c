// See prefix_tree.h.
#include "engine/prefix_tree.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "base/error.h"

namespace edgellm {
namespace {

uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9E3779B97F4A7C15u;  // 2^64 over the golden ratio
  return hash ^ hash >> 29;
}

void Require(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string("prefix tree: ") + what);
}

int CommonTokens(std::span<const int32_t> a, std::span<const int32_t> b) {
  const size_t most = std::min(a.size(), b.size());
  size_t same = 0;
  while (same < most && a[same] == b[same]) ++same;
  return static_cast<int>(same);
}

}  // namespace

PrefixTree::PrefixTree(PagePool& pool, int pages, int holders)
    : pool_(pool),
      pages_(pages),
      nodes_(static_cast<size_t>(2 * pages + holders)),
      roots_(static_cast<size_t>(pages + holders)),  // each has a page below it or a holder
      buckets_(std::bit_ceil(static_cast<size_t>(2 * pages + holders)), -1) {
  free_roots_.reserve(roots_.size());
  for (auto id = static_cast<int32_t>(nodes_.size()) - 1; id >= pages; --id) free_roots_.push_back(id);
}

size_t PrefixTree::BucketOf(int32_t parent, std::span<const int32_t> tokens) const {
  uint64_t hash = Mix(0, static_cast<uint64_t>(parent));
  for (const int32_t token : tokens) hash = Mix(hash, static_cast<uint64_t>(token));
  return hash & (buckets_.size() - 1);
}

size_t PrefixTree::BucketOf(const NameSpace& name_space) const {
  return Mix(Mix(1, name_space.high), name_space.low) & (buckets_.size() - 1);
}

size_t PrefixTree::BucketOf(int32_t id) const {
  return IsRoot(id) ? BucketOf(RootAt(id).name_space) : BucketOf(At(id).parent, TokensOf(At(id)));
}

void PrefixTree::AddToBucket(int32_t id) {
  int32_t& first = buckets_[BucketOf(id)];
  At(id).next_in_bucket = first;
  first = id;
}

void PrefixTree::RemoveFromBucket(int32_t id) {
  int32_t* link = &buckets_[BucketOf(id)];
  while (*link != id) link = &At(*link).next_in_bucket;
  *link = At(id).next_in_bucket;
  At(id).next_in_bucket = -1;
}

int32_t PrefixTree::OpenRoot(const NameSpace& name_space) {
  int32_t root = buckets_[BucketOf(name_space)];
  while (root >= 0 && !(IsRoot(root) && RootAt(root).name_space == name_space)) root = At(root).next_in_bucket;
  if (root < 0) {
    EDGELLM_CHECK(!free_roots_.empty(), "more sequences hold roots than were announced");
    root = free_roots_.back();
    free_roots_.pop_back();
    RootAt(root) = {.name_space = name_space, .holders = 0, .used = true};
    AddToBucket(root);
  }
  ++RootAt(root).holders;
  return root;
}

void PrefixTree::CloseRoot(int32_t root) {
  EDGELLM_CHECK(RootAt(root).holders > 0, "a root was closed more often than it was opened");
  --RootAt(root).holders;
  CloseIfEmpty(root);
}

void PrefixTree::CloseIfEmpty(int32_t root) {
  if (RootAt(root).holders > 0 || At(root).first_child >= 0) return;
  RemoveFromBucket(root);
  RootAt(root) = {};
  free_roots_.push_back(root);
}

int32_t PrefixTree::Find(int32_t parent, std::span<const int32_t> tokens) const {
  int32_t id = buckets_[BucketOf(parent, tokens)];
  for (; id >= 0; id = At(id).next_in_bucket) {
    const Node& node = At(id);
    if (!IsRoot(id) && node.parent == parent && std::equal(tokens.begin(), tokens.end(), node.tokens.begin())) break;
  }
  return id;
}

PrefixTree::Overlap PrefixTree::Longest(int32_t parent, std::span<const int32_t> tokens) const {
  Overlap best;
  int seen = 0;
  for (int32_t id = At(parent).first_child; id >= 0 && seen < kMostSiblings; id = At(id).next, ++seen) {
    const int common = CommonTokens(TokensOf(At(id)), tokens);
    if (common > best.tokens) best = {id, common};
  }
  return best;
}

void PrefixTree::AddEvictable(int32_t page) {
  Node& node = At(page);
  node.earlier = latest_;
  node.later = -1;
  (latest_ >= 0 ? At(latest_).later : oldest_) = page;
  latest_ = page;
  ++evictable_;
}

void PrefixTree::RemoveEvictable(int32_t page) {
  Node& node = At(page);
  (node.earlier >= 0 ? At(node.earlier).later : oldest_) = node.later;
  (node.later >= 0 ? At(node.later).earlier : latest_) = node.earlier;
  node.earlier = node.later = -1;
  --evictable_;
}

void PrefixTree::Hold(int32_t page) {
  if (pool_.references(page) == 1) RemoveEvictable(page);
  pool_.Share(page);
}

void PrefixTree::Release(int32_t page) {
  pool_.Release(page);
  if (pool_.references(page) == 1) AddEvictable(page);
}

void PrefixTree::Touch(int32_t page) {
  if (pool_.references(page) != 1) return;
  RemoveEvictable(page);
  AddEvictable(page);
}

void PrefixTree::Link(int32_t parent, std::span<const int32_t> tokens, int32_t page) {
  Node& node = At(page);
  EDGELLM_CHECK(node.count == 0, "a page can stand in one place only");
  node = {};
  node.parent = parent;
  node.count = static_cast<int32_t>(tokens.size());
  std::copy(tokens.begin(), tokens.end(), node.tokens.begin());
  node.next = At(parent).first_child;
  if (node.next >= 0) At(node.next).previous = page;
  At(parent).first_child = page;
  ++nodes_in_use_;
}

void PrefixTree::Unlink(int32_t page) {
  Node& node = At(page);
  (node.previous >= 0 ? At(node.previous).next : At(node.parent).first_child) = node.next;
  if (node.next >= 0) At(node.next).previous = node.previous;
  if (node.count == kPageTokens) RemoveFromBucket(page);
  const int32_t parent = node.parent;
  node = {};
  --nodes_in_use_;
  if (IsRoot(parent)) CloseIfEmpty(parent);
}

void PrefixTree::DropPartialsWithin(int32_t parent, std::span<const int32_t> tokens) {
  int seen = 0;
  for (int32_t id = At(parent).first_child; id >= 0 && seen < kMostSiblings; ++seen) {
    const int32_t next = At(id).next;
    const int32_t count = At(id).count;
    const bool within = count < static_cast<int32_t>(tokens.size()) && CommonTokens(TokensOf(At(id)), tokens) == count;
    if (within && pool_.references(id) == 1) Evict(id);
    id = next;
  }
}

int32_t PrefixTree::Insert(int32_t parent, std::span<const int32_t> tokens, int32_t page) {
  EDGELLM_CHECK(tokens.size() == kPageTokens, "a full page has kPageTokens tokens");
  if (const int32_t existing = Find(parent, tokens); existing >= 0) {
    Hold(existing);
    pool_.Release(page);
    return existing;
  }
  Link(parent, tokens, page);
  AddToBucket(page);
  pool_.Share(page);
  DropPartialsWithin(parent, tokens);
  return page;
}

void PrefixTree::InsertPartial(int32_t parent, std::span<const int32_t> tokens, int32_t page) {
  EDGELLM_CHECK(!tokens.empty() && tokens.size() < kPageTokens, "a partial page has some tokens, but not all");
  if (const Overlap overlap = Longest(parent, tokens); overlap.tokens == static_cast<int>(tokens.size())) {
    Touch(overlap.page);
    pool_.Release(page);
    return;
  }
  Link(parent, tokens, page);
  AddEvictable(page);
  DropPartialsWithin(parent, tokens);
}

void PrefixTree::Evict(int32_t page) {
  RemoveEvictable(page);
  Unlink(page);
  pool_.Release(page);
}

bool PrefixTree::EvictOne() {
  if (oldest_ < 0) return false;
  Evict(oldest_);
  ++evictions_;
  return true;
}

void PrefixTree::Clear() {
  while (oldest_ >= 0) Evict(oldest_);
}

std::vector<int32_t> PrefixTree::Pages() const {
  std::vector<int32_t> pages;
  for (int32_t id = 0; id < pages_; ++id) {
    if (At(id).count > 0) pages.push_back(id);
  }
  return pages;
}

void PrefixTree::CheckNode(int32_t id) const {
  const Node& node = At(id);
  int32_t previous = -1;
  for (int32_t child = node.first_child; child >= 0; child = At(child).next) {
    Require(!IsRoot(child) && At(child).count > 0 && At(child).parent == id, "a child that is none");
    Require(At(child).previous == previous, "siblings that do not know each other");
    previous = child;
  }
  if (IsRoot(id)) return;
  Require(node.count > 0 && node.count <= kPageTokens, "tokens out of range");
  Require(node.count == kPageTokens || node.first_child < 0, "a partial page with children");
  const Node& parent = At(node.parent);
  Require(IsRoot(node.parent) ? RootAt(node.parent).used : parent.count == kPageTokens, "a parent that is none");
  Require((node.count == kPageTokens) == (Find(node.parent, TokensOf(node)) == id), "the table misses a page");
  Require(pool_.references(id) >= 1, "a page that the pool thinks free");
  if (!IsRoot(node.parent) && pool_.references(id) > 1) {
    Require(pool_.references(node.parent) > 1, "a page is held, its parent is not");
  }
}

void PrefixTree::CheckIntegrity() const {
  int in_use = 0, hashed = 0, used_roots = 0, reachable = 0;
  std::vector<int> place(nodes_.size(), -1);
  int listed = 0;
  int32_t before = -1;
  for (int32_t id = oldest_; id >= 0; id = At(id).later) {
    Require(listed <= evictable_ && At(id).earlier == before, "the list of evictable pages is broken");
    Require(At(id).count > 0 && pool_.references(id) == 1, "a held page among the evictable ones");
    place[static_cast<size_t>(id)] = listed++;
    before = id;
  }
  Require(listed == evictable_ && latest_ == before, "the count of evictable pages is wrong");
  for (auto id = int32_t{0}; id < static_cast<int32_t>(nodes_.size()); ++id) {
    const bool used = IsRoot(id) ? RootAt(id).used : At(id).count > 0;
    if (!used) continue;
    CheckNode(id);
    for (int32_t child = At(id).first_child; child >= 0; child = At(child).next) ++reachable;
    if (IsRoot(id)) {
      ++used_roots;
      ++hashed;
      Require(RootAt(id).holders > 0 || At(id).first_child >= 0, "a root without use");
      continue;
    }
    ++in_use;
    hashed += At(id).count == kPageTokens ? 1 : 0;
    const int own = place[static_cast<size_t>(id)];
    Require((own >= 0) == (pool_.references(id) == 1), "a page that nobody holds cannot be evicted");
    const int32_t parent = At(id).parent;
    const int parents = IsRoot(parent) ? -1 : place[static_cast<size_t>(parent)];
    Require(parents < 0 || (own >= 0 && own < parents), "a page would be evicted before its child");
  }
  Require(in_use == nodes_in_use_ && reachable == in_use, "nodes are lost");
  Require(used_roots + free_roots_.size() == roots_.size(), "roots are lost");
  for (const int32_t first : buckets_) {
    for (int32_t id = first; id >= 0; id = At(id).next_in_bucket) --hashed;
  }
  Require(hashed == 0, "the table holds other nodes than the tree");
}

}  // namespace edgellm
