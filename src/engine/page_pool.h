// KV pages as ids: a free list and reference counts. Knows no memory; the backend owns that.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace edgellm {

class PagePool {
 public:
  explicit PagePool(int pages);

  /// A page with one reference, or -1 when none is free.
  int32_t Take();
  /// One more holder of the page.
  void Share(int32_t page);
  /// One holder fewer; the last one frees it.
  void Release(int32_t page);

  int references(int32_t page) const { return references_[static_cast<size_t>(page)]; }
  int used() const { return static_cast<int>(references_.size() - free_.size()); }
  int free() const { return static_cast<int>(free_.size()); }

  /// `held`: every page as often as somebody holds it. Throws std::logic_error unless it matches the counts and the
  /// free list.
  void CheckIntegrity(std::span<const int32_t> held) const;

 private:
  std::vector<int32_t> free_;
  std::vector<int32_t> references_;
};

}  // namespace edgellm
