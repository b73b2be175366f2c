// The pages of sequences: taking them, sharing them, giving them back. It joins PagePool and PrefixTree: what one
// sequence has computed is in the tree as soon as its page is full, and any other that begins with the same tokens
// takes the page instead of computing it again. A page that is not full is never shared but copied (copy-on-write by
// the backend, see copies()). Knows tokens and page ids, no requests.
#pragma once

#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/page_pool.h"
#include "engine/prefix_tree.h"

namespace edgellm {

constexpr int PagesFor(int positions) {
  return (positions + kPageTokens - 1) / kPageTokens;
}

/// The pages of one sequence, in the order of its positions. The first `published` of them stand in the tree, each
/// the child of the one before.
struct PageTable {
  std::vector<int32_t> pages;
  int published = 0;
  int32_t root = -1;

  int positions() const { return static_cast<int>(pages.size()) * kPageTokens; }
};

class KvCache {
 public:
  /// `sequences`: how many tables may be open at once. Without `share_prefixes` nothing outlives its sequence.
  KvCache(int pages, int sequences, bool share_prefixes);

  bool shares_prefixes() const { return tree_.has_value(); }

  void Open(PageTable& table, const NameSpace& name_space);
  /// Gives the pages back. The first `computed` of `tokens` have keys and values: where `keep`, they stay for others
  /// until the room is needed.
  void Close(PageTable& table, std::span<const int32_t> tokens, int computed, bool keep);

  /// The node below which the table's next full page will stand.
  int32_t Tip(const PageTable& table) const;
  /// Takes full pages that others have computed, for as long as they lie within the first `usable` of `tokens`.
  /// Nothing unless the table ends at a border of pages, all published. Returns the positions that are computed now.
  int TakeShared(PageTable& table, std::span<const int32_t> tokens, int usable);
  /// Then: copies the page that shares the most of what follows. Returns the positions computed now.
  int CopyShared(PageTable& table, std::span<const int32_t> tokens, int usable);
  /// Makes `to`, which ends at a border of pages, hold the first `positions` positions of `from`: shares what is full,
  /// copies the rest if there is a page for it. Returns the positions computed now.
  int Fork(PageTable& to, const PageTable& from, int positions);
  /// Takes pages until the table holds `positions`; evicts what nobody holds. False when there are none left.
  bool Reserve(PageTable& table, int positions);
  /// Puts what is full into the tree. An equal page that stands there already takes the place of the table's own.
  void Publish(PageTable& table, std::span<const int32_t> tokens, int computed);

  /// Of the first pages of `tokens`, how many running sequences hold already: they cost nobody anything.
  int HeldPages(const NameSpace& name_space, std::span<const int32_t> tokens);

  /// Pages to be copied by the backend, in this order, before the next forward.
  std::span<const std::pair<int32_t, int32_t>> copies() const { return copies_; }
  void ClearCopies() { copies_.clear(); }

  /// Pages that can be taken: free ones and those that nobody holds.
  int available() const { return pool_.free() + cached(); }
  int cached() const { return tree_ ? tree_->evictable() : 0; }
  int held() const { return pool_.used() - cached(); }
  uint64_t evictions() const { return tree_ ? tree_->evictions() : 0; }
  /// Forgets everything that nobody holds.
  void DropCached();

  /// `open`: every open table. Throws std::logic_error when a page is lost or held too often.
  void CheckIntegrity(std::span<const PageTable* const> open) const;

 private:
  int32_t TakePage();
  void HoldPage(int32_t page);
  void ReleasePage(int32_t page);

  PagePool pool_;
  std::optional<PrefixTree> tree_;
  std::vector<std::pair<int32_t, int32_t>> copies_;
};

}  // namespace edgellm
