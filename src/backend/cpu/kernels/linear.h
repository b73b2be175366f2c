// Linear layers over packed matrices: 16 rows are the 16 lanes, so no sum ever crosses lanes and each row's groups are added
// in their order, whatever the tiling. Included inside an instruction set's namespace; no includes here.

/// How the codes of one 64-byte line become unsigned or signed bytes, 4 consecutive k per row and plane.
struct Int8Lines {
  static constexpr int kPlanes = 1;
  static constexpr int kOffset = kInt8Offset;  // what the vocabulary's signed dot adds to each code
  template <int kPlane>
  static inline I32x16 Dot(I32x16 sum, Line line, Line x) { return DotInt8(sum, line, x); }
};
struct Int4Lines {
  static constexpr int kPlanes = 2;
  static constexpr int kOffset = 8;
  template <int kPlane>
  static inline I32x16 Dot(I32x16 sum, Line line, Line x) { return DotCodes(sum, Bits<4 * kPlane, 15>(line), x); }
};
struct TernaryLines {
  static constexpr int kPlanes = 4;
  static constexpr int kOffset = 1;
  template <int kPlane>
  static inline I32x16 Dot(I32x16 sum, Line line, Line x) { return DotCodes(sum, Bits<2 * kPlane, 3>(line), x); }
};

/// One plane of one line against kTokens activation rows, then the next plane.
template <typename Lines, int kPlane, int kTokens>
static inline void DotPlanes(I32x16* sums, Line line, const int8_t* const* x, int64_t k) {
  if constexpr (kPlane < Lines::kPlanes) {
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = Lines::template Dot<kPlane>(sums[t], line, Broadcast4(x[t] + k + 4 * kPlane));
    }
    DotPlanes<Lines, kPlane + 1, kTokens>(sums, line, x, k);
  }
}

template <bool kF16Scales>
static inline F32x16 LoadScales(const uint8_t* scales, int64_t index) {
  if constexpr (kF16Scales) return LoadAs(reinterpret_cast<const uint16_t*>(scales) + index * kLanes);
  return LoadAs(reinterpret_cast<const float*>(scales) + index * kLanes);
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
    for (int i = 0; i < kTiles; ++i) {
      for (int t = 0; t < kTokens; ++t) sums[i][t] = ZeroI32();
    }
    const int64_t last = g + 1 == m.groups ? m.blocks : (g + 1) * group_blocks;
    for (int64_t block = g * group_blocks; block < last; ++block) {
      for (int i = 0; i < kTiles; ++i) {
        DotPlanes<Lines, 0, kTokens>(sums[i], LoadLine(lines + (i * m.blocks + block) * 64), x, block * kPerLine);
      }
    }
    for (int i = 0; i < kTiles; ++i) {
      const int64_t index = (tile + i) * m.groups + g;
      const F32x16 scale = LoadScales<kF16Scales>(m.scales, index);
      for (int t = 0; t < kTokens; ++t) {
        const int32_t x_sum = in.sums[static_cast<size_t>(token + t) * in.sum_stride + static_cast<size_t>(g)];
        const float x_scale =
            in.scales[static_cast<size_t>(token + t) * in.scale_stride + static_cast<size_t>(g) * in.scale_step];
        F32x16 value;
        if constexpr (kZeroPoint) {
          const F32x16 zero = LoadScales<true>(m.zeros, index);
          value = Fma(Sub(Set1(0.0f), zero), Set1(static_cast<float>(x_sum)), ToFloat(sums[i][t]));
        } else {
          value = ToFloat(SubI32(sums[i][t], Set1I32(Lines::kOffset * x_sum)));
        }
        y[i][t] = Fma(value, Mul(scale, Set1(x_scale)), y[i][t]);
      }
    }
  }
  for (int i = 0; i < kTiles; ++i) StoreRows<kTokens>(y[i], tile + i, token, out);
}

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
    for (int i = 0; i < kTiles; ++i) {
      const F32x16 weight = LoadAs(w + (i * m.cols + k) * kLanes);
      for (int t = 0; t < kTokens; ++t) y[i][t] = Fma(weight, Set1(x[t][k]), y[i][t]);
    }
  }
  for (int i = 0; i < kTiles; ++i) StoreRows<kTokens>(y[i], tile + i, token, out);
}

/// Walks tiles and tokens in blocks. One token: four tiles at once keep four independent sums going. More tokens: each line
/// that was loaded and unpacked serves four of them.
template <template <int, int> typename Body>
static void WalkTiles(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                      const LinearOutput& out) {
  const int64_t blocked = tokens / 4 * 4;
  int64_t tile = first;
  for (; tile + 2 <= last && blocked > 0; tile += 2) {
    for (int64_t t = 0; t < blocked; t += 4) Body<2, 4>::Run(m, tile, in, t, out);
  }
  for (; tile < last && blocked > 0; ++tile) {
    for (int64_t t = 0; t < blocked; t += 4) Body<1, 4>::Run(m, tile, in, t, out);
  }
  if (blocked == tokens) return;
  for (tile = first; tile + 4 <= last; tile += 4) {
    for (int64_t t = blocked; t < tokens; ++t) Body<4, 1>::Run(m, tile, in, t, out);
  }
  for (; tile < last; ++tile) {
    for (int64_t t = blocked; t < tokens; ++t) Body<1, 1>::Run(m, tile, in, t, out);
  }
}

template <typename Lines, bool kZeroPoint, bool kF16Scales>
struct IntegerBody {
  template <int kTiles, int kTokens>
  struct Body {
    static void Run(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
      IntegerTiles<Lines, kZeroPoint, kF16Scales, kTiles, kTokens>(m, tile, in, token, out);
    }
  };
};

template <typename Element>
struct FloatBody {
  template <int kTiles, int kTokens>
  struct Body {
    static void Run(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token, const LinearOutput& out) {
      FloatTiles<Element, kTiles, kTokens>(m, tile, in, token, out);
    }
  };
};

static void LinearLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out) {
  switch (m.packing) {
    case Packing::kF32: return WalkTiles<FloatBody<float>::Body>(m, first, last, in, tokens, out);
    case Packing::kF16: return WalkTiles<FloatBody<uint16_t>::Body>(m, first, last, in, tokens, out);
    case Packing::kBf16: return WalkTiles<FloatBody<Bf16>::Body>(m, first, last, in, tokens, out);
    case Packing::kInt8: return WalkTiles<IntegerBody<Int8Lines, false, true>::Body>(m, first, last, in, tokens, out);
    case Packing::kInt4: return WalkTiles<IntegerBody<Int4Lines, false, true>::Body>(m, first, last, in, tokens, out);
    case Packing::kInt4Zero: return WalkTiles<IntegerBody<Int4Lines, true, true>::Body>(m, first, last, in, tokens, out);
    case Packing::kTernary: return WalkTiles<IntegerBody<TernaryLines, false, false>::Body>(m, first, last, in, tokens, out);
  }
}
