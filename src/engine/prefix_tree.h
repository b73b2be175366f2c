// Which pages hold the keys and values of which token prefix: a radix tree whose digits are whole pages. A node is a
// page, and its id is the page's, so the tree's memory is bounded by the pool and taken once. It knows tokens and page
// ids; what a sequence does with them is kv_cache's business.
//
// A full node stands for kPageTokens tokens and may have children; a partial one for fewer, and is a leaf that others
// copy from. Each node holds one reference of its page. A node that nobody else holds can be evicted; these stand in a
// list, least recently used first. Holders hold whole paths and let go of the deepest page first, so in that list a
// child always stands before its parent: the first one is a leaf.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/page_pool.h"
#include "plan/batch.h"

namespace edgellm {

/// Prefixes of different name spaces never meet, so that nobody learns from the time of an answer what others asked.
struct NameSpace {
  uint64_t high = 0, low = 0;  // both 0: the common one
  bool operator==(const NameSpace&) const = default;
};

class PrefixTree {
 public:
  /// Both last as long as the tree. `holders`: how many sequences may have a root open at once.
  PrefixTree(PagePool& pool, int pages, int holders);

  /// The node under which a name space's first pages stand. A holder keeps it open until CloseRoot.
  int32_t OpenRoot(const NameSpace& name_space);
  void CloseRoot(int32_t root);

  /// The child with exactly these kPageTokens tokens, or -1.
  int32_t Find(int32_t parent, std::span<const int32_t> tokens) const;

  struct Overlap {
    int32_t page = -1;
    int tokens = 0;
  };
  /// The child that begins with the most of `tokens`. Looks at the kMostSiblings latest children only.
  Overlap Longest(int32_t parent, std::span<const int32_t> tokens) const;

  /// A sequence begins to hold a node's page (whose parent it holds), or lets go of it (children first).
  void Hold(int32_t page);
  void Release(int32_t page);
  /// The node was of use without being held: it shall be evicted later. Its parent must be held.
  void Touch(int32_t page);

  /// Makes a full page that the caller holds a child of `parent`. Returns it, or the page that stood there already with
  /// the same tokens: the caller then holds that one, and its own is released.
  int32_t Insert(int32_t parent, std::span<const int32_t> tokens, int32_t page);
  /// The same for fewer than kPageTokens tokens; the caller's reference passes to the tree, which drops the page when
  /// another child begins with the same tokens.
  void InsertPartial(int32_t parent, std::span<const int32_t> tokens, int32_t page);

  /// Frees the page that was not used for the longest time; false when every one is held.
  bool EvictOne();
  void Clear();  // evicts everything that is not held

  int nodes() const { return nodes_in_use_; }
  int evictable() const { return evictable_; }
  uint64_t evictions() const { return evictions_; }

  std::vector<int32_t> Pages() const;  // of every node
  /// Throws std::logic_error unless links, table, list and reference counts agree.
  void CheckIntegrity() const;

  static constexpr int kMostSiblings = 256;

 private:
  struct Node {
    int32_t parent = -1;
    int32_t first_child = -1, next = -1, previous = -1;  // siblings, the latest first
    int32_t next_in_bucket = -1;                         // full nodes and roots
    int32_t later = -1, earlier = -1;                    // the list of evictable nodes
    int32_t count = 0;                                   // tokens; 0: not in the tree
    std::array<int32_t, kPageTokens> tokens{};
  };
  struct Root {
    NameSpace name_space;
    int holders = 0;
    bool used = false;
  };

  Node& At(int32_t id) { return nodes_[static_cast<size_t>(id)]; }
  const Node& At(int32_t id) const { return nodes_[static_cast<size_t>(id)]; }
  bool IsRoot(int32_t id) const { return id >= pages_; }
  Root& RootAt(int32_t id) { return roots_[static_cast<size_t>(id - pages_)]; }
  const Root& RootAt(int32_t id) const { return roots_[static_cast<size_t>(id - pages_)]; }
  std::span<const int32_t> TokensOf(const Node& node) const {
    return {node.tokens.data(), static_cast<size_t>(node.count)};
  }

  size_t BucketOf(int32_t parent, std::span<const int32_t> tokens) const;
  size_t BucketOf(const NameSpace& name_space) const;
  size_t BucketOf(int32_t id) const;
  void AddToBucket(int32_t id);
  void RemoveFromBucket(int32_t id);
  void Link(int32_t parent, std::span<const int32_t> tokens, int32_t page);
  void Unlink(int32_t page);
  void AddEvictable(int32_t page);  // as the latest used
  void RemoveEvictable(int32_t page);
  void Evict(int32_t page);
  void DropPartialsWithin(int32_t parent, std::span<const int32_t> tokens);
  void CloseIfEmpty(int32_t root);
  void CheckNode(int32_t id) const;

  PagePool& pool_;
  int32_t pages_;
  std::vector<Node> nodes_;  // pages, then roots
  std::vector<Root> roots_;
  std::vector<int32_t> free_roots_;
  std::vector<int32_t> buckets_;  // first node of each chain
  int32_t oldest_ = -1, latest_ = -1;
  int nodes_in_use_ = 0, evictable_ = 0;
  uint64_t evictions_ = 0;
};

}  // namespace edgellm
