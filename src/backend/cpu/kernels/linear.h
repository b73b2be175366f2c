// Linear layers over packed matrices: 16 rows are the 16 lanes, so no sum ever crosses lanes and each row's groups are added
// in their order, whatever the tiling. Included inside an instruction set's namespace; no includes here.

/// How the codes of one 64-byte line become unsigned or signed bytes, 4 consecutive k per row and plane. kOffset: what each
/// code exceeds its meaning by.
struct Int8Lines {
  static constexpr int kPlanes = 1;
  static constexpr int kOffset = kInt8Offset;
  static constexpr bool kSigned = true;
  template <int kPlane>
  static inline Line Codes(Line line) { return Int8Codes(line); }
};
struct Int4Lines {
  static constexpr int kPlanes = 2;
  static constexpr int kOffset = 8;
  static constexpr bool kSigned = false;
  template <int kPlane>
  static inline Line Codes(Line line) { return Bits<4 * kPlane, 15>(line); }
};
struct TernaryLines {
  static constexpr int kPlanes = 4;
  static constexpr int kOffset = 1;
  static constexpr bool kSigned = false;
  template <int kPlane>
  static inline Line Codes(Line line) { return Bits<2 * kPlane, 3>(line); }
};

/// How far ahead of its use a line of weights is asked for, in bytes: about what arrives while memory answers.
static constexpr int64_t kPrefetchAhead = 4096;

template <bool kSigned>
static inline I32x16 Dot(I32x16 sum, Line codes, Line x) {
  if constexpr (kSigned) return DotInt8(sum, codes, x);
  return DotCodes(sum, codes, x);
}

/// sum + one line against one token's codes, plane by plane.
template <typename Lines, int kPlane = 0>
static inline I32x16 DotLine(I32x16 sum, Line line, const int8_t* x) {
  if constexpr (kPlane == Lines::kPlanes) {
    return sum;
  } else {
    sum = Dot<Lines::kSigned>(sum, Lines::template Codes<kPlane>(line), Broadcast4(x + kPlane * 4));
    return DotLine<Lines, kPlane + 1>(sum, line, x);
  }
}

/// The planes of one line as lines of codes, `stride` bytes apart.
template <typename Lines, int kPlane = 0>
static inline void UnpackLine(Line line, uint8_t* to, int64_t stride) {
  if constexpr (kPlane < Lines::kPlanes) {
    StoreLine(to + kPlane * stride, Lines::template Codes<kPlane>(line));
    UnpackLine<Lines, kPlane + 1>(line, to, stride);
  }
}

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

/// y + what one group adds to it (quant/activation.h).
template <typename Meaning>
static inline F32x16 AddGroup(F32x16 y, I32x16 dot, F32x16 scale, F32x16 minus_zero, int32_t x_sum, float x_scale) {
  F32x16 value;
  if constexpr (Meaning::kZeros) {
    value = Fma(minus_zero, Set1(static_cast<float>(x_sum)), ToFloat(dot));
  } else if constexpr (Meaning::kOffset != 0) {
    value = ToFloat(SubI32(dot, Set1I32(Meaning::kOffset * x_sum)));
  } else {
    value = ToFloat(dot);
  }
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

/// One tile, one token: one stream of weights from end to end. Four chains of integer sums (which are exact, so that their
/// number changes nothing) hide the dot product's latency.
template <typename Lines, typename Meaning>
static inline void DecodeTile(const PackedMatrix& m, int64_t tile, const LinearInput& in, const LinearOutput& out) {
  constexpr int kChains = 4;
  constexpr int64_t kPerLine = 4 * Lines::kPlanes;
  const int8_t* x = in.codes;
  const uint8_t* line = m.codes + tile * m.blocks * 64;
  const int64_t group_lines = m.group / kPerLine > 0 ? m.group / kPerLine : 1;
  F32x16 y = Set1(0.0f);
  for (int64_t g = 0; g < m.groups; ++g) {
    I32x16 sums[kChains];
    EDGELLM_UNROLL
    for (int c = 0; c < kChains; ++c) sums[c] = ZeroI32();
    int64_t left = g + 1 == m.groups ? m.blocks - g * group_lines : group_lines;
    for (; left >= kChains; left -= kChains) {
      EDGELLM_UNROLL
      for (int c = 0; c < kChains; ++c) {
        Prefetch(line + kPrefetchAhead);
        sums[c] = DotLine<Lines>(sums[c], LoadLine(line), x);
        line += 64;
        x += kPerLine;
      }
    }
    for (; left > 0; --left) {
      sums[0] = DotLine<Lines>(sums[0], LoadLine(line), x);
      line += 64;
      x += kPerLine;
    }
    const int64_t index = tile * m.groups + g;
    y = AddGroup<Meaning>(y, AddI32(AddI32(sums[0], sums[1]), AddI32(sums[2], sums[3])),
                          LoadScales<Meaning::kF16Scales>(m.scales, index), LoadMinusZeros<Meaning>(m, index), in.sums[g],
                          in.scales[g * in.scale_step]);
  }
  StoreTile(y, tile, 0, out);
}

/// A part of a group of a few tiles, unpacked into the first-level cache for all tokens: codes[k / 4][tile][row 16][4].
constexpr int64_t kPartFours = 64;  // at most so many times four k

/// What the tokens of one panel have summed so far for kTileBlock tiles: [tile][token of the panel][row 16].
struct PanelSums {
  I32x16 dots[kTileBlock][kPanelTokens];  // of a group that is not at its end yet
  F32x16 rows[kTileBlock][kPanelTokens];
};

/// One part of a group for one panel of tokens.
struct PartTask {
  const uint8_t* part;
  int64_t fours;
  const int8_t* x;       // the panel's codes at the part's first k
  bool first, last;      // part of its group
  bool first_group;
  F32x16 scales[kTileBlock], minus_zeros[kTileBlock];
  const int32_t* x_sums;  // [token of the panel], of the group
  const float* x_scales;
  PanelSums* sums;
};

/// A part times the activations of kTokens tokens of a panel from `token` on; with the group's last part, the group is added
/// to the rows. A function of its own: whatever else a caller keeps in registers would push the sums out.
template <bool kSigned, typename Meaning, int kTiles, int kTokens>
[[gnu::noinline]] static void DotPart(const PartTask& task, int token) {
  PanelSums& sums = *task.sums;
  I32x16 dots[kTiles][kTokens];
  EDGELLM_UNROLL
  for (int i = 0; i < kTiles; ++i) {
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) dots[i][t] = task.first ? ZeroI32() : sums.dots[i][token + t];
  }
  const uint8_t* part = task.part;
  const int8_t* x = task.x + 4 * token;
  for (int64_t f = task.fours; f > 0; --f) {
    Line codes[kTiles];
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) codes[i] = LoadLine(part + i * 64);
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const Line four = Broadcast4(x + 4 * t);
      EDGELLM_UNROLL
      for (int i = 0; i < kTiles; ++i) dots[i][t] = Dot<kSigned>(dots[i][t], codes[i], four);
    }
    part += kTiles * 64;
    x += 4 * kPanelTokens;
  }
  EDGELLM_UNROLL
  for (int i = 0; i < kTiles; ++i) {
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      if (!task.last) {
        sums.dots[i][token + t] = dots[i][t];
        continue;
      }
      const F32x16 y = task.first_group ? Set1(0.0f) : sums.rows[i][token + t];
      sums.rows[i][token + t] = AddGroup<Meaning>(y, dots[i][t], task.scales[i], task.minus_zeros[i],
                                                  task.x_sums[token + t], task.x_scales[token + t]);
    }
  }
}

/// DotPart for the first `count` tokens of a panel.
template <bool kSigned, typename Meaning, int kTiles>
static inline void DotPanel(const PartTask& task, int count) {
  int token = 0;
  for (; token + kTokenBlock <= count; token += kTokenBlock) DotPart<kSigned, Meaning, kTiles, kTokenBlock>(task, token);
  if constexpr (kTokenBlock > 4) {
    for (; token + 4 <= count; token += 4) DotPart<kSigned, Meaning, kTiles, 4>(task, token);
  }
  for (; token + 2 <= count; token += 2) DotPart<kSigned, Meaning, kTiles, 2>(task, token);
  for (; token < count; ++token) DotPart<kSigned, Meaning, kTiles, 1>(task, token);
}

/// kTiles tiles for all tokens, group by group: a part of the group is unpacked once and serves every panel of tokens. What
/// the panels have summed waits in `scratch` meanwhile.
template <typename Lines, typename Meaning, int kTiles>
static void PanelTiles(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t tokens, const LinearOutput& out,
                       uint8_t* scratch) {
  constexpr int64_t kPerLine = 4 * Lines::kPlanes, kPartLines = kPartFours / Lines::kPlanes;
  uint8_t* part = scratch;
  PanelSums* sums = reinterpret_cast<PanelSums*>(scratch + kPartFours * kTileBlock * 64);
  const int64_t group_lines = m.group / kPerLine > 0 ? m.group / kPerLine : 1;
  const uint8_t* line = m.codes + tile * m.blocks * 64;
  PartTask task;
  task.part = part;
  for (int64_t g = 0; g < m.groups; ++g) {
    const int64_t begin = g * group_lines, end = g + 1 == m.groups ? m.blocks : begin + group_lines;
    for (int i = 0; i < kTiles; ++i) {
      task.scales[i] = LoadScales<Meaning::kF16Scales>(m.scales, (tile + i) * m.groups + g);
      task.minus_zeros[i] = LoadMinusZeros<Meaning>(m, (tile + i) * m.groups + g);
    }
    task.first_group = g == 0;
    for (int64_t at = begin; at < end; at += kPartLines) {
      const int64_t lines = end - at < kPartLines ? end - at : kPartLines;
      for (int i = 0; i < kTiles; ++i) {
        for (int64_t l = 0; l < lines; ++l) {
          const uint8_t* from = line + (i * m.blocks + at + l) * 64;
          Prefetch(from + kPrefetchAhead);
          UnpackLine<Lines>(LoadLine(from), part + (l * Lines::kPlanes * kTiles + i) * 64, kTiles * 64);
        }
      }
      task.fours = lines * Lines::kPlanes;
      task.first = at == begin;
      task.last = at + lines == end;
      for (int64_t token = 0; token < tokens; token += kPanelTokens) {
        const auto panel = static_cast<size_t>(token / kPanelTokens);
        task.x = in.codes + panel * in.code_stride + at * kPerLine * kPanelTokens;
        task.x_sums = in.sums + panel * in.group_stride + g * kPanelTokens;
        task.x_scales = in.scales + panel * in.group_stride + g * in.scale_step * kPanelTokens;
        task.sums = sums + panel;
        const int64_t left = tokens - token;
        DotPanel<Lines::kSigned, Meaning, kTiles>(task, left < kPanelTokens ? static_cast<int>(left) : kPanelTokens);
      }
    }
  }
  for (int64_t token = 0; token < tokens; ++token) {
    const PanelSums& own = sums[token / kPanelTokens];
    for (int i = 0; i < kTiles; ++i) StoreTile(own.rows[i][token % kPanelTokens], tile + i, token, out);
  }
}

template <typename Lines, typename Meaning>
static void IntegerLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                         const LinearOutput& out, uint8_t* scratch) {
  int64_t tile = first;
  if (in.interleave == 1) {
    for (; tile < last; ++tile) DecodeTile<Lines, Meaning>(m, tile, in, out);
    return;
  }
  if constexpr (kTileBlock > 1) {
    for (; tile + kTileBlock <= last; tile += kTileBlock) {
      PanelTiles<Lines, Meaning, kTileBlock>(m, tile, in, tokens, out, scratch);
    }
  }
  for (; tile < last; ++tile) PanelTiles<Lines, Meaning, 1>(m, tile, in, tokens, out, scratch);
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
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) StoreTile(y[i][t], tile + i, token + t, out);
  }
}

/// Tiles by four, since sums that run in the order of k are slow one by one; tokens by kTokenBlock.
template <typename Element>
static void FloatLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                       const LinearOutput& out) {
  constexpr int kTiles = 4, kTokens = 4;
  int64_t tile = first;
  for (; tile + kTiles <= last; tile += kTiles) {
    int64_t token = 0;
    for (; token + kTokens <= tokens; token += kTokens) FloatTiles<Element, kTiles, kTokens>(m, tile, in, token, out);
    for (; token < tokens; ++token) FloatTiles<Element, kTiles, 1>(m, tile, in, token, out);
  }
  for (; tile < last; ++tile) {
    int64_t token = 0;
    for (; token + kTokens <= tokens; token += kTokens) FloatTiles<Element, 1, kTokens>(m, tile, in, token, out);
    for (; token < tokens; ++token) FloatTiles<Element, 1, 1>(m, tile, in, token, out);
  }
}

static size_t LinearScratch(int64_t tokens) {
  return static_cast<size_t>(kPartFours) * kTileBlock * 64 +
         static_cast<size_t>((tokens + kPanelTokens - 1) / kPanelTokens) * sizeof(PanelSums);
}

static void LinearLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out, uint8_t* scratch) {
  switch (m.packing) {
    case Packing::kF32: return FloatLayer<float>(m, first, last, in, tokens, out);
    case Packing::kF16: return FloatLayer<uint16_t>(m, first, last, in, tokens, out);
    case Packing::kBf16: return FloatLayer<Bf16>(m, first, last, in, tokens, out);
    case Packing::kInt8:
      return IntegerLayer<Int8Lines, Meaning<Int8Lines::kOffset, false, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kInt4:
      return IntegerLayer<Int4Lines, Meaning<Int4Lines::kOffset, false, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kInt4Zero:
      return IntegerLayer<Int4Lines, Meaning<0, true, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kTernary:
      return IntegerLayer<TernaryLines, Meaning<TernaryLines::kOffset, false, false>>(m, first, last, in, tokens, out,
                                                                                      scratch);
  }
}
