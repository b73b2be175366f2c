// Linear layers over packed matrices: 16 rows are the 16 lanes, so no sum ever crosses lanes and each row's groups are added
// in their order, whatever the tiling. Included inside an instruction set's namespace; no includes here.

/// How the codes of one 64-byte line become unsigned or signed bytes, 4 consecutive k per row and plane. kOffset: what each
/// code exceeds its meaning by.
struct Int8Lines {
  static constexpr int kPlanes = 1;
  static constexpr int kOffset = kInt8Offset;
  template <int kPlane>
  static inline Line Codes(Line line) { return line; }
  static inline I32x16 Dot(I32x16 sum, Line codes, Line x) { return DotInt8(sum, codes, x); }
};
struct Int4Lines {
  static constexpr int kPlanes = 2;
  static constexpr int kOffset = 8;
  template <int kPlane>
  static inline Line Codes(Line line) { return Bits<4 * kPlane, 15>(line); }
  static inline I32x16 Dot(I32x16 sum, Line codes, Line x) { return DotCodes(sum, codes, x); }
};
struct TernaryLines {
  static constexpr int kPlanes = 4;
  static constexpr int kOffset = 1;
  template <int kPlane>
  static inline Line Codes(Line line) { return Bits<2 * kPlane, 3>(line); }
  static inline I32x16 Dot(I32x16 sum, Line codes, Line x) { return DotCodes(sum, codes, x); }
};

/// How far ahead of its use a line of weights is asked for, in bytes: about what arrives while memory answers.
static constexpr int64_t kPrefetchAhead = 4096;

/// One line of each of kTiles tiles against kTokens activation rows at k, plane by plane.
template <typename Lines, int kPlane, int kTiles, int kTokens>
static inline void DotPlanes(I32x16 (*sums)[kTokens], const Line* lines, const int8_t* const* x, int64_t k) {
  if constexpr (kPlane < Lines::kPlanes) {
    Line codes[kTiles];
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) codes[i] = Lines::template Codes<kPlane>(lines[i]);
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const Line four = Broadcast4(x[t] + k + 4 * kPlane);
      EDGELLM_UNROLL
      for (int i = 0; i < kTiles; ++i) sums[i][t] = Lines::Dot(sums[i][t], codes[i], four);
    }
    DotPlanes<Lines, kPlane + 1, kTiles, kTokens>(sums, lines, x, k);
  }
}

template <bool kF16Scales>
static inline F32x16 LoadScales(const uint8_t* scales, int64_t index) {
  if constexpr (kF16Scales) return LoadAs(reinterpret_cast<const uint16_t*>(scales) + index * kLanes);
  return LoadAs(reinterpret_cast<const float*>(scales) + index * kLanes);
}

/// y + what one group adds to it (quant/activation.h); `index` counts groups of tiles.
template <typename Lines, bool kZeroPoint, bool kF16Scales>
static inline F32x16 AddGroup(F32x16 y, I32x16 dot, const PackedMatrix& m, int64_t index, F32x16 scale, int32_t x_sum,
                              float x_scale) {
  F32x16 value;
  if constexpr (kZeroPoint) {
    const F32x16 zero = LoadScales<true>(m.zeros, index);
    value = Fma(Sub(Set1(0.0f), zero), Set1(static_cast<float>(x_sum)), ToFloat(dot));
  } else if constexpr (Lines::kOffset != 0) {
    value = ToFloat(SubI32(dot, Set1I32(Lines::kOffset * x_sum)));
  } else {
    value = ToFloat(dot);
  }
  return Fma(value, Mul(scale, Set1(x_scale)), y);
}

template <int kTokens>
static inline void StoreRows(const F32x16* rows, int64_t tile, int64_t token, const LinearOutput& out) {
  for (int t = 0; t < kTokens; ++t) {
    float* y = out.values + static_cast<size_t>(token + t) * out.stride + tile * kLanes;
    F32x16 value = rows[t];
    if (out.bias != nullptr) value = Add(value, Load(out.bias + tile * kLanes));
    if (out.add) value = Add(Load(y), value);
    Store(y, value);
  }
}

/// One tile, one token: one stream of weights from end to end. Four chains of integer sums (which are exact, so that their
/// number changes nothing) hide the dot product's latency.
template <typename Lines, bool kZeroPoint, bool kF16Scales>
static inline void IntegerRow(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token,
                              const LinearOutput& out) {
  constexpr int kChains = 4;
  constexpr int64_t kPerLine = 4 * Lines::kPlanes;
  const int8_t* x = in.codes + static_cast<size_t>(token) * in.code_stride;
  const float* x_scales = in.scales + static_cast<size_t>(token) * in.scale_stride;
  const int32_t* x_sums = in.sums + static_cast<size_t>(token) * in.sum_stride;
  const uint8_t* line = m.codes + tile * m.blocks * 64;
  const int64_t group_blocks = m.group / kPerLine > 0 ? m.group / kPerLine : 1;
  F32x16 y = Set1(0.0f);
  for (int64_t g = 0; g < m.groups; ++g) {
    I32x16 sums[kChains][1];
    EDGELLM_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c][0] = ZeroI32();
    int64_t left = g + 1 == m.groups ? m.blocks - g * group_blocks : group_blocks;
    for (; left >= kChains; left -= kChains) {
      EDGELLM_UNROLL
      for (int c = 0; c < kChains; ++c) {
        Prefetch(line + kPrefetchAhead);
        const Line codes = LoadLine(line);
        DotPlanes<Lines, 0, 1, 1>(&sums[c], &codes, &x, 0);
        line += 64;
        x += kPerLine;
      }
    }
    for (; left > 0; --left) {
      const Line codes = LoadLine(line);
      DotPlanes<Lines, 0, 1, 1>(&sums[0], &codes, &x, 0);
      line += 64;
      x += kPerLine;
    }
    const I32x16 dot = AddI32(AddI32(sums[0][0], sums[1][0]), AddI32(sums[2][0], sums[3][0]));
    const int64_t index = tile * m.groups + g;
    y = AddGroup<Lines, kZeroPoint, kF16Scales>(y, dot, m, index, LoadScales<kF16Scales>(m.scales, index), x_sums[g],
                                                x_scales[static_cast<size_t>(g) * in.scale_step]);
  }
  StoreRows<1>(&y, tile, token, out);
}

/// kTiles tiles from `tile` on, kTokens tokens from `token` on.
template <typename Lines, bool kZeroPoint, bool kF16Scales, int kTiles, int kTokens>
static inline void IntegerTiles(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token,
                                const LinearOutput& out) {
  constexpr int64_t kPerLine = 4 * Lines::kPlanes;
  const int8_t* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = in.codes + static_cast<size_t>(token + t) * in.code_stride;
  F32x16 y[kTiles][kTokens];
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) y[i][t] = Set1(0.0f);
  }
  const int64_t group_blocks = m.group / kPerLine > 0 ? m.group / kPerLine : 1;
  const uint8_t* lines = m.codes + tile * m.blocks * 64;
  for (int64_t g = 0; g < m.groups; ++g) {
    I32x16 sums[kTiles][kTokens];
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      EDGELLM_UNROLL
      for (int t = 0; t < kTokens; ++t) sums[i][t] = ZeroI32();
    }
    const int64_t last = g + 1 == m.groups ? m.blocks : (g + 1) * group_blocks;
    for (int64_t block = g * group_blocks; block < last; ++block) {
      Line codes[kTiles];
      EDGELLM_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        const uint8_t* line = lines + (i * m.blocks + block) * 64;
        Prefetch(line + kPrefetchAhead);
        codes[i] = LoadLine(line);
      }
      DotPlanes<Lines, 0, kTiles, kTokens>(sums, codes, x, block * kPerLine);
    }
    F32x16 scales[kTiles];
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) scales[i] = LoadScales<kF16Scales>(m.scales, (tile + i) * m.groups + g);
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const int32_t x_sum = in.sums[static_cast<size_t>(token + t) * in.sum_stride + static_cast<size_t>(g)];
      const float x_scale =
          in.scales[static_cast<size_t>(token + t) * in.scale_stride + static_cast<size_t>(g) * in.scale_step];
      EDGELLM_UNROLL
      for (int i = 0; i < kTiles; ++i) {
        y[i][t] = AddGroup<Lines, kZeroPoint, kF16Scales>(y[i][t], sums[i][t], m, (tile + i) * m.groups + g, scales[i],
                                                          x_sum, x_scale);
      }
    }
  }
  for (int i = 0; i < kTiles; ++i) StoreRows<kTokens>(y[i], tile + i, token, out);
}

/// Sums of floats over k in its order.
template <typename Element, int kTiles, int kTokens>
static inline void FloatTiles(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token,
                              const LinearOutput& out) {
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = in.values + static_cast<size_t>(token + t) * in.value_stride;
  F32x16 y[kTiles][kTokens];
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) y[i][t] = Set1(0.0f);
  }
  const Element* w = reinterpret_cast<const Element*>(m.codes) + tile * m.cols * kLanes;
  for (int64_t k = 0; k < m.cols; ++k) {
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      const F32x16 weight = LoadAs(w + (i * m.cols + k) * kLanes);
      EDGELLM_UNROLL
      for (int t = 0; t < kTokens; ++t) y[i][t] = Fma(weight, Set1(x[t][k]), y[i][t]);
    }
  }
  for (int i = 0; i < kTiles; ++i) StoreRows<kTokens>(y[i], tile + i, token, out);
}

/// The tokens that are no whole block of kTokens, in blocks of half that size and so on; the last one alone.
template <typename Body, int kTiles, int kTokens>
static inline void WalkTokens(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, int64_t tokens,
                              const LinearOutput& out) {
  if constexpr (kTokens > 1) {
    for (; token + kTokens <= tokens; token += kTokens) Body::template Run<kTiles, kTokens>(m, tile, in, token, out);
    if (token < tokens) WalkTokens<Body, kTiles, kTokens / 2>(m, tile, in, token, tokens, out);
  } else {
    for (; token < tokens; ++token) Body::template RunOne<kTiles>(m, tile, in, token, out);
  }
}

/// Walks tiles and tokens in blocks: a line that has been loaded and unpacked serves kTokenBlock tokens, and a tile stays in
/// the cache until all tokens have had it.
template <typename Body>
static void WalkTiles(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                      const LinearOutput& out) {
  int64_t tile = first;
  constexpr int kTiles = Body::kTiles;
  for (; tile + kTiles <= last; tile += kTiles) WalkTokens<Body, kTiles, kTokenBlock>(m, tile, in, 0, tokens, out);
  for (; tile < last; ++tile) WalkTokens<Body, 1, kTokenBlock>(m, tile, in, 0, tokens, out);
}

template <typename Lines, bool kZeroPoint, bool kF16Scales>
struct IntegerBody {
  static constexpr int kTiles = kTileBlock;
  template <int kTiles, int kTokens>
  static void Run(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
    IntegerTiles<Lines, kZeroPoint, kF16Scales, kTiles, kTokens>(m, tile, in, token, out);
  }
  template <int kTiles>
  static void RunOne(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
    for (int i = 0; i < kTiles; ++i) IntegerRow<Lines, kZeroPoint, kF16Scales>(m, tile + i, in, token, out);
  }
};

template <typename Element>
struct FloatBody {
  static constexpr int kTiles = 4;  // sums run in the order of k: only several tiles keep several going
  template <int kTiles, int kTokens>
  static void Run(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
    constexpr int kAtOnce = kTiles < kTileBlock ? kTiles : kTileBlock;
    for (int i = 0; i < kTiles; i += kAtOnce) FloatTiles<Element, kAtOnce, kTokens>(m, tile + i, in, token, out);
  }
  template <int kTiles>
  static void RunOne(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
    FloatTiles<Element, kTiles, 1>(m, tile, in, token, out);
  }
};

static void LinearLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out) {
  switch (m.packing) {
    case Packing::kF32: return WalkTiles<FloatBody<float>>(m, first, last, in, tokens, out);
    case Packing::kF16: return WalkTiles<FloatBody<uint16_t>>(m, first, last, in, tokens, out);
    case Packing::kBf16: return WalkTiles<FloatBody<Bf16>>(m, first, last, in, tokens, out);
    case Packing::kInt8: return WalkTiles<IntegerBody<Int8Lines, false, true>>(m, first, last, in, tokens, out);
    case Packing::kInt4: return WalkTiles<IntegerBody<Int4Lines, false, true>>(m, first, last, in, tokens, out);
    case Packing::kInt4Zero: return WalkTiles<IntegerBody<Int4Lines, true, true>>(m, first, last, in, tokens, out);
    case Packing::kTernary: return WalkTiles<IntegerBody<TernaryLines, false, false>>(m, first, last, in, tokens, out);
  }
}
