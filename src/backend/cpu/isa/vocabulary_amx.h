// The processor's eight tile registers (see kernels/matrix_tiles.h). Written as assembly: the compiler keeps nothing in tiles,
// its intrinsics do not order themselves after stores to the memory that they read, and no -m flag is needed this way.
// No includes here.

class Tiles {
 public:
  explicit Tiles(int fours) {
    struct {
      uint8_t palette = 1, start_row = 0, reserved[14] = {};
      uint16_t row_bytes[16] = {};
      uint8_t rows[16] = {};
    } shape;
    static_assert(sizeof(shape) == 64);
    for (int t = 0; t < 8; ++t) {
      shape.rows[t] = static_cast<uint8_t>(t >= 6 ? fours : 16);
      shape.row_bytes[t] = static_cast<uint16_t>(t == 4 || t == 5 ? 4 * fours : 64);
    }
    asm volatile("ldtilecfg %0" : : "m"(shape));
  }
  ~Tiles() { asm volatile("tilerelease"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int kTile>
  void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  void Store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <bool kSigned, int kSum, int kA, int kB>
  void Dot() {
    if constexpr (kSigned && kInt8Offset == 0) {
      asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
    } else {
      asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB));
    }
  }
};
