// See buffer.h.
#include "base/buffer.h"

#include <cstdlib>
#include <cstring>
#include <sys/mman.h>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
// Below this, rounding up to huge pages would waste more than fewer TLB misses bring.
constexpr size_t kMapFrom = 4 * kHugePage;

}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kMapFrom) {
    mapped_ = (bytes + kHugePage - 1) / kHugePage * kHugePage;
    void* pages = mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) Fail(ErrorCode::kLimit, "out of memory: {} MiB were asked for", bytes >> 20);
    madvise(pages, mapped_, MADV_HUGEPAGE);  // a hint: where it is refused, small pages do
    data_ = static_cast<std::byte*>(pages);
    return;
  }
  data_ = static_cast<std::byte*>(std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment));
  if (data_ == nullptr) Fail(ErrorCode::kLimit, "out of memory: {} bytes were asked for", bytes);
  std::memset(data_, 0, bytes);
}

Buffer::~Buffer() {
  if (mapped_ != 0) {
    munmap(data_, mapped_);
  } else {
    std::free(data_);
  }
}

}  // namespace edgellm
