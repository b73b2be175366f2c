// See page_pool.h.
#include "engine/page_pool.h"

#include <stdexcept>

#include "base/error.h"

namespace edgellm {

PagePool::PagePool(int pages) : references_(static_cast<size_t>(pages), 0) {
  free_.reserve(references_.size());
  for (int32_t page = pages - 1; page >= 0; --page) free_.push_back(page);
}

int32_t PagePool::Take() {
  if (free_.empty()) return -1;
  const int32_t page = free_.back();
  free_.pop_back();
  references_[static_cast<size_t>(page)] = 1;
  return page;
}

void PagePool::Share(int32_t page) {
  EDGELLM_CHECK(references_[static_cast<size_t>(page)] > 0, "a free page cannot be shared");
  ++references_[static_cast<size_t>(page)];
}

void PagePool::Release(int32_t page) {
  int32_t& count = references_[static_cast<size_t>(page)];
  EDGELLM_CHECK(count > 0, "a page was released more often than it was held");
  if (--count == 0) free_.push_back(page);
}

void PagePool::CheckIntegrity(std::span<const int32_t> held) const {
  std::vector<int32_t> counted(references_.size(), 0);
  for (int32_t page : held) ++counted.at(static_cast<size_t>(page));
  if (counted != references_) throw std::logic_error("reference counts differ from the holders");
  size_t unreferenced = 0;
  for (int32_t count : references_) unreferenced += count == 0;
  if (unreferenced != free_.size()) throw std::logic_error("the free list and the unreferenced pages differ in number");
  for (int32_t page : free_) {
    if (references_.at(static_cast<size_t>(page)) != 0) throw std::logic_error("a page in the free list is held");
  }
}

}  // namespace edgellm
