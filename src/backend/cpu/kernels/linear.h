// Linear layers over packed matrices: 16 rows are the 16 lanes, so no sum ever crosses lanes and each row's groups are added
// in their order, whatever the tiling. Here: what the codes of a line mean, and one token. Many tokens are in panels.h, or
// matrix_tiles.h, and linear_layer.h chooses. Included inside an instruction set's namespace; no includes here.

/// How far ahead of its use a line of weights is asked for, in bytes: about what arrives while memory answers.
static constexpr int64_t kPrefetchAhead = 4096;

template <bool kSigned>
static inline I32x16 Dot(I32x16 sum, Line codes, Line x) {
  if constexpr (kSigned) return DotInt8(sum, codes, x);
  return DotCodes(sum, codes, x);
}

/// What packings by planes have in common (see PackedMatrix): a line holds 4 * kPlanes consecutive k of 16 rows, and
/// Lines::Planes takes it apart into lines of signed or unsigned bytes, 4 k per row each.
template <typename Lines, int kPlaneCount>
struct PlaneLines {
  static constexpr int kPlanes = kPlaneCount;
  static constexpr int kPerLine = 4 * kPlanes;
  static inline int64_t LinesOfGroup(const PackedMatrix& m) { return (m.group + kPerLine - 1) / kPerLine; }
  /// sum + one line against one token's codes.
  static inline I32x16 DotLine(I32x16 sum, Line line, const int8_t* x) {
    Line codes[kPlanes];
    Lines::Planes(line, codes);
    EDGELLM_UNROLL
    for (int p = 0; p < kPlanes; ++p) sum = Dot<Lines::kSigned>(sum, codes[p], Broadcast4(x + 4 * p));
    return sum;
  }
  /// The line of a tile that holds 4 k from the (4 * from)-th of group g on.
  static inline const uint8_t* LineAt(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from) {
    return m.codes + (tile * m.blocks + g * LinesOfGroup(m) + from / kPlanes) * 64;
  }
  /// `fours` times 4 k of a tile, from the (4 * from)-th of group g on, a multiple of kPlanes: a line of bytes for each,
  /// `stride` bytes apart. What is left of the last line is written too.
  static inline void Unpack(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from, int64_t fours, uint8_t* to,
                            int64_t stride) {
    const uint8_t* line = LineAt(m, tile, g, from);
    for (; fours > 0; fours -= kPlanes) {
      Line codes[kPlanes];
      Lines::Planes(LoadLine(line), codes);
      EDGELLM_UNROLL
      for (int p = 0; p < kPlanes; ++p) StoreLine(to + p * stride, codes[p]);
      line += 64;
      to += kPlanes * stride;
    }
  }
};

/// kOffset: what each code exceeds its meaning by.
struct Int8Lines : PlaneLines<Int8Lines, 1> {
  static constexpr int kOffset = kInt8Offset;
  static constexpr bool kSigned = true;
  static inline void Planes(Line line, Line* codes) { codes[0] = Int8Codes(line); }
};
struct Int4Lines : PlaneLines<Int4Lines, 2> {
  static constexpr int kOffset = 8;
  static constexpr bool kSigned = false;
  static inline void Planes(Line line, Line* codes) {
    codes[0] = Bits<0, 15>(line);
    codes[1] = Bits<4, 15>(line);
  }
};

template <bool kF16Scales>
static inline F32x16 LoadScales(const uint8_t* scales, int64_t index) {
  if constexpr (kF16Scales) return LoadAs(reinterpret_cast<const uint16_t*>(scales) + index * kLanes);
  return LoadAs(reinterpret_cast<const float*>(scales) + index * kLanes);
}

/// How the codes of a matrix become numbers, as far as kernels differ by it.
template <int kCodeOffset, bool kHasZeros, bool kHasF16Scales>
struct Meaning {
  static constexpr int kOffset = kCodeOffset;
  static constexpr bool kZeros = kHasZeros, kF16Scales = kHasF16Scales;
};

/// What a group's dot product begins with: minus that by which the codes' offset would raise it.
template <typename Meaning>
static inline I32x16 DotStart(int32_t x_sum) {
  if constexpr (Meaning::kOffset != 0) return Set1I32(-Meaning::kOffset * x_sum);
  return ZeroI32();
}

/// y + what one group adds to it (quant/activation.h).
template <typename Meaning>
static inline F32x16 AddGroup(F32x16 y, I32x16 dot, F32x16 scale, F32x16 minus_zero, int32_t x_sum, float x_scale) {
  F32x16 value = ToFloat(dot);
  if constexpr (Meaning::kZeros) value = Fma(minus_zero, Set1(static_cast<float>(x_sum)), value);
  return Fma(value, Mul(scale, Set1(x_scale)), y);
}

template <typename Meaning>
static inline F32x16 LoadMinusZeros(const PackedMatrix& m, int64_t index) {
  if constexpr (Meaning::kZeros) return Sub(Set1(0.0f), LoadScales<true>(m.zeros, index));
  return Set1(0.0f);
}

/// One tile's rows for one token to their place.
static inline void StoreTile(F32x16 value, int64_t tile, int64_t token, const LinearOutput& out) {
  float* y = out.values + static_cast<size_t>(token) * out.stride + tile * kLanes;
  if (out.bias != nullptr) value = Add(value, Load(out.bias + tile * kLanes));
  if (out.add) value = Add(Load(y), value);
  Store(y, value);
}

/// A part of group g of kTiles tiles, from its (4 * from)-th k on, becomes codes[k / 4][tile][row 16][4].
template <typename Lines, int kTiles>
static inline void UnpackPart(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from, int64_t fours, uint8_t* part) {
  for (int i = 0; i < kTiles; ++i) Lines::Unpack(m, tile + i, g, from, fours, part + i * 64, kTiles * 64);
}

/// One tile, one token: one stream of weights from end to end. Four chains of integer sums (which are exact, so that their
/// number changes nothing) hide the dot product's latency.
template <typename Lines, typename Meaning>
static inline void DecodeTile(const PackedMatrix& m, int64_t tile, const LinearInput& in, const LinearOutput& out) {
  constexpr int kChains = 4;
  const uint8_t* line = m.codes + tile * m.blocks * 64;
  const int64_t group_lines = Lines::LinesOfGroup(m);
  F32x16 y = Set1(0.0f);
  for (int64_t g = 0; g < m.groups; ++g) {
    I32x16 sums[kChains];
    EDGELLM_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = c == 0 ? DotStart<Meaning>(in.sums[g]) : ZeroI32();
    const int8_t* x = in.codes + g * m.group;
    int64_t left = g + 1 == m.groups ? m.blocks - g * group_lines : group_lines;
    for (; left >= kChains; left -= kChains) {
      EDGELLM_UNROLL
      for (int c = 0; c < kChains; ++c) {
        Prefetch(line + kPrefetchAhead);
        sums[c] = Lines::DotLine(sums[c], LoadLine(line), x);
        line += 64;
        x += Lines::kPerLine;
      }
    }
    for (; left > 0; --left) {
      sums[0] = Lines::DotLine(sums[0], LoadLine(line), x);
      line += 64;
      x += Lines::kPerLine;
    }
    const int64_t index = tile * m.groups + g;
    y = AddGroup<Meaning>(y, AddI32(AddI32(sums[0], sums[1]), AddI32(sums[2], sums[3])),
                          LoadScales<Meaning::kF16Scales>(m.scales, index), LoadMinusZeros<Meaning>(m, index), in.sums[g],
                          in.scales[g * in.scale_step]);
  }
  StoreTile(y, tile, 0, out);
}

