// See kv_cache.h.
#include "engine/kv_cache.h"

#include <algorithm>
#include <stdexcept>

#include "base/error.h"

namespace edgellm {
namespace {

std::span<const int32_t> PageOf(std::span<const int32_t> tokens, int page) {
  return tokens.subspan(static_cast<size_t>(page) * kPageTokens, kPageTokens);
}

bool AtPublishedBorder(const PageTable& table) {
  return table.published == static_cast<int>(table.pages.size());
}

}  // namespace

KvCache::KvCache(int pages, int sequences, bool share_prefixes) : pool_(pages) {
  if (share_prefixes) tree_.emplace(pool_, pages, sequences + 1);
  copies_.reserve(static_cast<size_t>(sequences) * 2);
}

int32_t KvCache::TakePage() {
  int32_t page = pool_.Take();
  if (page < 0 && tree_ && tree_->EvictOne()) page = pool_.Take();
  return page;
}

void KvCache::HoldPage(int32_t page) {
  if (tree_) {
    tree_->Hold(page);
  } else {
    pool_.Share(page);
  }
}

void KvCache::ReleasePage(int32_t page) {
  if (tree_) {
    tree_->Release(page);
  } else {
    pool_.Release(page);
  }
}

void KvCache::Open(PageTable& table, const NameSpace& name_space) {
  EDGELLM_CHECK(table.pages.empty() && table.root < 0, "the table is open");
  table.published = 0;
  table.root = tree_ ? tree_->OpenRoot(name_space) : -1;
}

void KvCache::Close(PageTable& table, std::span<const int32_t> tokens, int computed, bool keep) {
  if (tree_ && keep) {
    Publish(table, tokens, computed);
    const int rest = computed - table.published * kPageTokens;
    if (rest > 0) {
      const auto from = static_cast<size_t>(table.published);
      tree_->InsertPartial(Tip(table), tokens.subspan(from * kPageTokens, static_cast<size_t>(rest)),
                           table.pages[from]);
      table.pages.erase(table.pages.begin() + table.published);
    }
  }
  // The deepest first: so the tree evicts a conversation from its end. Unpublished pages have one holder, or several
  // after a fork without a tree.
  for (auto i = static_cast<int>(table.pages.size()) - 1; i >= 0; --i) {
    const int32_t page = table.pages[static_cast<size_t>(i)];
    if (i < table.published) {
      ReleasePage(page);
    } else {
      pool_.Release(page);
    }
  }
  if (tree_) tree_->CloseRoot(table.root);
  table.pages.clear();
  table.published = 0;
  table.root = -1;
}

int32_t KvCache::Tip(const PageTable& table) const {
  return table.published == 0 ? table.root : table.pages[static_cast<size_t>(table.published) - 1];
}

int KvCache::TakeShared(PageTable& table, std::span<const int32_t> tokens, int usable) {
  EDGELLM_CHECK(AtPublishedBorder(table), "pages can be taken over at the end of published ones only");
  while (tree_ && table.positions() + kPageTokens <= usable) {
    const int32_t page = tree_->Find(Tip(table), PageOf(tokens, table.published));
    if (page < 0) break;
    tree_->Hold(page);
    table.pages.push_back(page);
    ++table.published;
  }
  return table.positions();
}

int KvCache::CopyShared(PageTable& table, std::span<const int32_t> tokens, int usable) {
  const int border = table.positions();
  if (!tree_ || border >= usable) return border;
  const size_t most = std::min(static_cast<size_t>(usable - border), static_cast<size_t>(kPageTokens));
  const auto source = tree_->Longest(Tip(table), tokens.subspan(static_cast<size_t>(border), most));
  if (source.page < 0) return border;
  tree_->Hold(source.page);  // or it might be evicted for its own copy
  const int32_t copy = TakePage();
  tree_->Release(source.page);
  if (copy < 0) return border;
  copies_.emplace_back(source.page, copy);
  table.pages.push_back(copy);
  return border + source.tokens;
}

int KvCache::Fork(PageTable& to, const PageTable& from, int positions) {
  const int full = positions / kPageTokens;
  for (int i = static_cast<int>(to.pages.size()); i < full; ++i) {
    const int32_t page = from.pages[static_cast<size_t>(i)];
    if (tree_) {
      EDGELLM_CHECK(i < from.published, "what is full is published");
      ++to.published;
    }
    HoldPage(page);
    to.pages.push_back(page);
  }
  if (positions % kPageTokens == 0) return positions;
  const int32_t copy = TakePage();
  if (copy < 0) return full * kPageTokens;
  copies_.emplace_back(from.pages[static_cast<size_t>(full)], copy);
  to.pages.push_back(copy);
  return positions;
}

bool KvCache::Reserve(PageTable& table, int positions) {
  while (table.positions() < positions) {
    const int32_t page = TakePage();
    if (page < 0) return false;
    table.pages.push_back(page);
  }
  return true;
}

void KvCache::Publish(PageTable& table, std::span<const int32_t> tokens, int computed) {
  if (!tree_) return;
  while ((table.published + 1) * kPageTokens <= computed) {
    int32_t& page = table.pages[static_cast<size_t>(table.published)];
    page = tree_->Insert(Tip(table), PageOf(tokens, table.published), page);
    ++table.published;
  }
}

int KvCache::HeldPages(const NameSpace& name_space, std::span<const int32_t> tokens) {
  if (!tree_) return 0;
  const int32_t root = tree_->OpenRoot(name_space);
  int32_t tip = root;
  int held = 0;
  while (static_cast<size_t>(held + 1) * kPageTokens < tokens.size()) {
    tip = tree_->Find(tip, PageOf(tokens, held));
    if (tip < 0 || pool_.references(tip) == 1) break;
    ++held;
  }
  tree_->CloseRoot(root);
  return held;
}

void KvCache::DropCached() {
  if (tree_) tree_->Clear();
}

void KvCache::CheckIntegrity(std::span<const PageTable* const> open) const {
  std::vector<int32_t> held;
  for (const PageTable* table : open) {
    held.insert(held.end(), table->pages.begin(), table->pages.end());
    if (table->published > static_cast<int>(table->pages.size())) throw std::logic_error("published without pages");
  }
  if (tree_) {
    tree_->CheckIntegrity();
    const auto nodes = tree_->Pages();
    held.insert(held.end(), nodes.begin(), nodes.end());
  }
  pool_.CheckIntegrity(held);
}

}  // namespace edgellm
