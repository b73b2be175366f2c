// The kernels for processors with tile registers, over plain C++ and tiles that are arrays: how they walk matrices is tested on
// every machine.
#include "backend/cpu/kernel_table.h"

namespace edgellm::cpu::emulated_tiles {
namespace {

constexpr const char* kName = "emulated-tiles";

#include "backend/cpu/isa/vocabulary_scalar.h"

/// See kernels/matrix_tiles.h. Bytes outside a tile's shape stay as they are, so that using them shows.
class Tiles {
 public:
  explicit Tiles(int fours) : fours_(fours) {
    for (auto& tile : bytes_) {
      for (uint8_t& byte : tile) byte = 0x55;
    }
  }
  template <int kTile>
  void Zero() {
    for (uint8_t& byte : bytes_[kTile]) byte = 0;
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    for (int row = 0; row < RowsOf(kTile); ++row) {
      __builtin_memcpy(bytes_[kTile] + row * 64, static_cast<const uint8_t*>(from) + row * stride, RowBytesOf(kTile));
    }
  }
  template <int kTile>
  void Store(void* to, int64_t stride) {
    for (int row = 0; row < RowsOf(kTile); ++row) {
      __builtin_memcpy(static_cast<uint8_t*>(to) + row * stride, bytes_[kTile] + row * 64, RowBytesOf(kTile));
    }
  }
  template <bool kSigned, int kSum, int kA, int kB>
  void Dot() {
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 16; ++j) {
        int32_t sum;
        __builtin_memcpy(&sum, bytes_[kSum] + i * 64 + j * 4, 4);
        for (int k = 0; k < 4 * fours_; ++k) {
          const uint8_t b = bytes_[kB][k / 4 * 64 + 4 * j + k % 4];
          sum += static_cast<int8_t>(bytes_[kA][i * 64 + k]) * (kSigned ? static_cast<int8_t>(b) : b);
        }
        __builtin_memcpy(bytes_[kSum] + i * 64 + j * 4, &sum, 4);
      }
    }
  }

 private:
  int RowsOf(int tile) const { return tile >= 6 ? fours_ : 16; }
  size_t RowBytesOf(int tile) const { return static_cast<size_t>(tile == 4 || tile == 5 ? 4 * fours_ : 64); }

  int fours_;
  uint8_t bytes_[8][16 * 64];
};

#include "backend/cpu/kernels/linear.h"
#include "backend/cpu/kernels/matrix_tiles.h"
#include "backend/cpu/kernels/ternary.h"
#include "backend/cpu/kernels/ternary_tables.h"
#include "backend/cpu/kernels/linear_layer.h"
#include "backend/cpu/kernels/elementwise.h"
#include "backend/cpu/kernels/attention.h"
#include "backend/cpu/kernels/table.h"

}  // namespace

const KernelTable& Kernels() { return kTable; }

}  // namespace edgellm::cpu::emulated_tiles
