// Random operations on page tables over one KvCache (pool and prefix tree), held to a model that is simple because it
// keeps everything: what each page's slots contain, and which prefixes somebody has published since the last eviction.
#pragma once

#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "engine/kv_cache.h"
#include "tests/engine/recorder.h"

namespace edgellm {

class CacheModel {
 public:
  CacheModel(uint32_t seed, bool share_prefixes)
      : random_(seed), cache_(kPages, kTables, share_prefixes), slots_(kPages * kPageTokens, 0) {}

  void Run(int operations) {
    for (int i = 0; i < operations; ++i) {
      Operate();
      Check();
    }
    for (size_t t = 0; t < users_.size(); ++t) {
      if (users_[t].open) Close(t, Below(2) == 0);
    }
    Check();
    cache_.DropCached();
    Require(cache_.held() == 0 && cache_.cached() == 0 && cache_.available() == kPages, "pages are lost");
  }

 private:
  static constexpr int kPages = 40, kTables = 6, kLongest = 150, kSpaces = 2;

  struct User {
    bool open = false;
    uint64_t space = 0;
    std::vector<int32_t> tokens;
    PageTable table;
    int computed = 0;
  };
  using Prefix = std::pair<uint64_t, std::vector<int32_t>>;

  static void Require(bool holds, const char* what) {
    if (!holds) throw std::logic_error(what);
  }
  int Below(int bound) { return std::uniform_int_distribution<int>(0, bound - 1)(random_); }

  void Operate() {
    const auto t = static_cast<size_t>(Below(kTables));
    User& user = users_[t];
    if (!user.open) return Open(user);
    switch (Below(8)) {
      case 0:
        return Close(t, Below(4) != 0);
      case 1:
        return Share(user);
      case 2:
        return Fork(user, users_[static_cast<size_t>(Below(kTables))]);
      case 3:
        if (Below(50) == 0) {
          cache_.DropCached();
          published_.clear();
        }
        return;
      default:
        return Compute(user, 1 + Below(40));
    }
  }

  /// Few different beginnings and turns, so that prefixes are often the same for a while.
  void Open(User& user) {
    user = {};
    user.open = true;
    user.space = static_cast<uint64_t>(Below(kSpaces));
    const int length = 2 + Below(kLongest - 2);
    int32_t mode = Below(2);
    for (int i = 0; i < length; ++i) {
      if (Below(40) == 0) mode = Below(3);
      user.tokens.push_back(mode);
    }
    cache_.Open(user.table, {user.space, 0});
    Share(user);
  }

  void Close(size_t t, bool keep) {
    User& user = users_[t];
    cache_.Close(user.table, user.tokens, user.computed, keep);
    if (keep) Remember(user);
    user.open = false;
  }

  void Share(User& user) {
    const bool border =
        user.table.published == static_cast<int>(user.table.pages.size()) && user.computed == user.table.positions();
    if (!border || !cache_.shares_prefixes()) return;
    const int usable = static_cast<int>(user.tokens.size()) - 1;
    user.computed = cache_.TakeShared(user.table, user.tokens, usable);
    // What is published and was not evicted must be found.
    const int next = user.computed + kPageTokens;
    if (next <= usable) Require(published_.count(PrefixOf(user, next)) == 0, "a published page was not found");
    if (Below(2) == 0) {
      user.computed = cache_.CopyShared(user.table, user.tokens, usable);
      ForgetEvicted();
    }
    ApplyCopies();
  }

  void Fork(User& to, const User& from) {
    if (!from.open || &to == &from || to.space != from.space) return;
    const bool border =
        to.table.published == static_cast<int>(to.table.pages.size()) && to.computed == to.table.positions();
    int common = 0;
    while (common < std::min(from.computed, static_cast<int>(to.tokens.size()) - 1) &&
           from.tokens[static_cast<size_t>(common)] == to.tokens[static_cast<size_t>(common)]) {
      ++common;
    }
    if (!border || common <= to.computed) return;
    to.computed = cache_.Fork(to.table, from.table, common);
    ForgetEvicted();
    ApplyCopies();
  }

  void Compute(User& user, int count) {
    const int end = std::min(user.computed + count, static_cast<int>(user.tokens.size()));
    const bool room = cache_.Reserve(user.table, end);
    ForgetEvicted();
    if (!room) {
      Require(cache_.available() == 0, "a page was refused although one is there");
      return;
    }
    for (; user.computed < end; ++user.computed) {
      slots_[Slot(user, user.computed)] = Chain(user.computed == 0 ? 0 : slots_[Slot(user, user.computed - 1)],
                                                user.tokens[static_cast<size_t>(user.computed)]);
    }
    cache_.Publish(user.table, user.tokens, user.computed);
    Remember(user);
  }

  void Remember(const User& user) {
    if (!cache_.shares_prefixes()) return;
    for (int end = kPageTokens; end <= user.computed; end += kPageTokens) published_.insert(PrefixOf(user, end));
  }
  void ForgetEvicted() {
    if (cache_.evictions() != evictions_) published_.clear();
    evictions_ = cache_.evictions();
    // What is held cannot have been evicted.
    for (const User& user : users_) {
      for (int end = kPageTokens; user.open && end <= user.table.published * kPageTokens; end += kPageTokens) {
        published_.insert(PrefixOf(user, end));
      }
    }
  }
  void ApplyCopies() {
    for (const auto& [from, to] : cache_.copies()) {
      std::copy_n(slots_.begin() + from * kPageTokens, kPageTokens, slots_.begin() + to * kPageTokens);
    }
    cache_.ClearCopies();
  }

  static Prefix PrefixOf(const User& user, int end) {
    return {user.space, std::vector<int32_t>(user.tokens.begin(), user.tokens.begin() + end)};
  }
  static size_t Slot(const User& user, int position) {
    return static_cast<size_t>(user.table.pages[static_cast<size_t>(position / kPageTokens)]) * kPageTokens +
           static_cast<size_t>(position % kPageTokens);
  }

  void Check() const {
    std::vector<const PageTable*> open;
    std::set<int32_t> held;
    for (const User& user : users_) {
      if (!user.open) continue;
      open.push_back(&user.table);
      held.insert(user.table.pages.begin(), user.table.pages.end());
      uint64_t chain = 0;
      for (int p = 0; p < user.computed; ++p) {
        chain = Chain(chain, user.tokens[static_cast<size_t>(p)]);
        Require(slots_[Slot(user, p)] == chain, "a page holds what its sequence did not compute");
      }
    }
    cache_.CheckIntegrity(open);
    Require(cache_.held() == static_cast<int>(held.size()), "the count of held pages is wrong");
    Require(cache_.held() + cache_.available() == kPages, "pages are lost");
  }

  std::mt19937 random_;
  KvCache cache_;
  std::vector<uint64_t> slots_;
  std::vector<User> users_ = std::vector<User>(kTables);
  std::set<Prefix> published_;
  uint64_t evictions_ = 0;
};

/// The pool alone, against a map of counts.
inline void RunPoolOperations(uint32_t seed, int operations) {
  std::mt19937 random(seed);
  const auto below = [&](int bound) { return std::uniform_int_distribution<int>(0, bound - 1)(random); };
  constexpr int kPages = 12;
  PagePool pool(kPages);
  std::vector<int32_t> held;
  for (int i = 0; i < operations; ++i) {
    const int what = held.empty() ? 0 : below(3);
    const auto which = held.empty() ? 0 : static_cast<size_t>(below(static_cast<int>(held.size())));
    const std::set<int32_t> different(held.begin(), held.end());
    if (what == 0) {
      const int32_t page = pool.Take();
      if ((page < 0) != (different.size() == kPages)) throw std::logic_error("a page was refused, or given twice");
      if (page >= 0 && different.count(page) > 0) throw std::logic_error("a held page was given out");
      if (page >= 0) held.push_back(page);
    } else if (what == 1) {
      pool.Share(held[which]);
      held.push_back(held[which]);
    } else {
      pool.Release(held[which]);
      held.erase(held.begin() + static_cast<std::ptrdiff_t>(which));
    }
    pool.CheckIntegrity(held);
  }
}

}  // namespace edgellm
