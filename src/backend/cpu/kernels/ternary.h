// Ternary weights for the integer dot product: two bits a code, or five codes a byte. Tables are another way
// (ternary_tables.h); all give the same sums. Inlined by force: with four registers a line GCC would call instead, by way of
// memory. Included inside an instruction set's namespace, after linear.h; no includes here.

struct TernaryLines : PlaneLines<TernaryLines, 4> {
  static constexpr int kOffset = 1;
  static constexpr bool kSigned = false;
  [[gnu::always_inline]] static inline void Planes(Line line, Line* codes) {
    codes[0] = Bits<0, 3>(line);
    codes[1] = Bits<2, 3>(line);
    codes[2] = Bits<4, 3>(line);
    codes[3] = Bits<6, 3>(line);
  }
  [[gnu::always_inline]] static inline I32x16 DotLine(I32x16 sum, Line line, const int8_t* x) {
    Line codes[kPlanes];
    Planes(line, codes);
    return DotTernary<kPlanes>(sum, codes, x);
  }
};

/// A byte is t0 + 3 * t1 + 9 * t2 + 29 * t3 + 85 * t4 (at most 254). The rest below each of 9, 29 and 85 is less than it, so
/// that the digits come off one by one; and all three are 1 modulo 4, so that what comes off has the digit in its low bits.
struct DenseLines : PlaneLines<DenseLines, 5> {
  static constexpr int kOffset = 1;
  static constexpr bool kSigned = false;
  /// Takes kPlace * digit off `bytes` (digit 0, 1 or 2) and gives the digit: a subtraction that goes below 0 wraps to more
  /// than there was.
  template <int kPlace>
  [[gnu::always_inline]] static inline Line TakeDigit(Line& bytes) {
    const Line place = SplatU8(kPlace);
    const Line whole = bytes;
    bytes = MinU8(bytes, SubU8(bytes, place));
    bytes = MinU8(bytes, SubU8(bytes, place));
    return Bits<0, 3>(SubU8(whole, bytes));
  }
  /// The four lower digits. A template, so that LookUpDigit need not be there.
  template <typename Bytes>
  [[gnu::always_inline]] static inline void LowPlanes(Bytes bytes, Line* codes) {
    if constexpr (kHasLookUpDigit) {
      codes[3] = LookUpDigit<3>(bytes);
      codes[2] = LookUpDigit<2>(bytes);
      codes[1] = LookUpDigit<1>(bytes);
      codes[0] = LookUpDigit<0>(bytes);
    } else {
      static constexpr uint8_t kDigit0[16] = {0, 1, 2, 0, 1, 2, 0, 1, 2}, kDigit1[16] = {0, 0, 0, 1, 1, 1, 2, 2, 2};
      codes[3] = TakeDigit<29>(bytes);
      codes[2] = TakeDigit<9>(bytes);
      codes[1] = LookUp(BroadcastTable(kDigit1), bytes);
      codes[0] = LookUp(BroadcastTable(kDigit0), bytes);
    }
  }
  [[gnu::always_inline]] static inline void Planes(Line line, Line* codes) {
    codes[4] = TakeDigit<85>(line);
    LowPlanes(line, codes);
  }
  [[gnu::always_inline]] static inline I32x16 DotLine(I32x16 sum, Line line, const int8_t* x) {
    Line codes[kPlanes];
    Planes(line, codes);
    return DotTernary<kPlanes>(sum, codes, x);
  }
};
