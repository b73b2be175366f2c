// Linear layers over packed matrices: 16 rows are the 16 lanes, so no sum ever crosses lanes and each row's groups are added
// in their order, whatever the tiling. Included inside an instruction set's namespace; no includes here.

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
  if (task.first) {
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      const I32x16 start = DotStart<Meaning>(task.x_sums[token + t]);
      EDGELLM_UNROLL
      for (int i = 0; i < kTiles; ++i) dots[i][t] = start;
    }
  } else {
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      EDGELLM_UNROLL
      for (int t = 0; t < kTokens; ++t) dots[i][t] = sums.dots[i][token + t];
    }
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
  if (!task.last) {
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      EDGELLM_UNROLL
      for (int t = 0; t < kTokens; ++t) sums.dots[i][token + t] = dots[i][t];
    }
    return;
  }
  EDGELLM_UNROLL
  for (int i = 0; i < kTiles; ++i) {
    EDGELLM_UNROLL
    for (int t = 0; t < kTokens; ++t) {
      F32x16& y = sums.rows[i][token + t];
      y = AddGroup<Meaning>(y, dots[i][t], task.scales[i], task.minus_zeros[i], task.x_sums[token + t],
                            task.x_scales[token + t]);
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

/// What the panels have summed for kTiles tiles to its place.
template <int kTiles>
static inline void StorePanels(const PanelSums* sums, int64_t tile, int64_t tokens, const LinearOutput& to) {
  const LinearOutput out = to;  // a copy that no store can change, so that it stays in registers
  for (int64_t token = 0; token < tokens; ++token) {
    const PanelSums& own = sums[token / kPanelTokens];
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) StoreTile(own.rows[i][token % kPanelTokens], tile + i, token, out);
  }
}

/// Asks for the lines [first, last) of a part of kTiles tiles.
template <typename Lines, int kTiles>
static inline void PrefetchPart(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from, int64_t first, int64_t last) {
  for (int64_t l = first; l < last; ++l) {
    for (int i = 0; i < kTiles; ++i) Prefetch(Lines::LineAt(m, tile + i, g, from + l * Lines::kPlanes));
  }
}

/// kTiles tiles for all tokens, group by group: a part of the group is unpacked once and serves every panel of tokens. What
/// the panels have summed waits in `scratch` meanwhile.
template <typename Lines, typename Meaning, int kTiles>
static void PanelTiles(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t tokens, const LinearOutput& out,
                       uint8_t* scratch) {
  constexpr int64_t kFoursAtOnce = kPartFours / Lines::kPlanes * Lines::kPlanes;
  uint8_t* part = scratch;
  PanelSums* sums = reinterpret_cast<PanelSums*>(scratch + kPartFours * kTileBlock * 64);
  const int64_t panels = (tokens + kPanelTokens - 1) / kPanelTokens;
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int i = 0; i < kTiles; ++i) {
      for (int t = 0; t < kPanelTokens; ++t) sums[panel].rows[i][t] = Set1(0.0f);
    }
  }
  PartTask task;
  task.part = part;
  for (int64_t g = 0; g < m.groups; ++g) {
    const int64_t begin = g * m.group, end = g + 1 == m.groups ? m.cols : begin + m.group;
    const int64_t group_fours = (end - begin + 3) / 4;
    for (int i = 0; i < kTiles; ++i) {
      task.scales[i] = LoadScales<Meaning::kF16Scales>(m.scales, (tile + i) * m.groups + g);
      task.minus_zeros[i] = LoadMinusZeros<Meaning>(m, (tile + i) * m.groups + g);
    }
    for (int64_t from = 0; from < group_fours; from += kFoursAtOnce) {
      const int64_t left_fours = group_fours - from;
      task.fours = left_fours < kFoursAtOnce ? left_fours : kFoursAtOnce;
      UnpackPart<Lines, kTiles>(m, tile, g, from, task.fours, part);
      task.first = from == 0;
      task.last = task.fours == left_fours;
      // The next part's lines are asked for a few at a time: all at once, they would wait for one another.
      const int64_t lines = (task.fours + Lines::kPlanes - 1) / Lines::kPlanes;
      const bool row_ends = task.last && g + 1 == m.groups;
      const int64_t next_tile = row_ends ? tile + kTiles : tile, next_group = row_ends ? 0 : task.last ? g + 1 : g;
      const int64_t next_from = task.last ? 0 : from + kFoursAtOnce;
      for (int64_t panel = 0; panel < panels; ++panel) {
        PrefetchPart<Lines, kTiles>(m, next_tile, next_group, next_from, panel * lines / panels, (panel + 1) * lines / panels);
        task.x = in.codes + static_cast<size_t>(panel) * in.code_stride + (begin + 4 * from) * kPanelTokens;
        task.x_sums = in.sums + static_cast<size_t>(panel) * in.group_stride + g * kPanelTokens;
        task.x_scales = in.scales + static_cast<size_t>(panel) * in.group_stride + g * in.scale_step * kPanelTokens;
        task.sums = sums + panel;
        const int64_t left = tokens - panel * kPanelTokens;
        DotPanel<Lines::kSigned, Meaning, kTiles>(task, left < kPanelTokens ? static_cast<int>(left) : kPanelTokens);
      }
    }
  }
  StorePanels<kTiles>(sums, tile, tokens, out);
}

/// The tiles [first, last) for several tokens; `scratch`: LinearScratch(tokens) bytes.
template <typename Lines, typename Meaning>
static void PanelLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out, uint8_t* scratch) {
  int64_t tile = first;
  if constexpr (kTileBlock > 2) {
    // The last four as two and two.
    for (; last - tile >= kTileBlock && last - tile != kTileBlock + 1; tile += kTileBlock) {
      PanelTiles<Lines, Meaning, kTileBlock>(m, tile, in, tokens, out, scratch);
    }
    for (; tile + 2 <= last; tile += 2) PanelTiles<Lines, Meaning, 2>(m, tile, in, tokens, out, scratch);
  }
  for (; tile < last; ++tile) PanelTiles<Lines, Meaning, 1>(m, tile, in, tokens, out, scratch);
}

template <typename Lines, typename Meaning>
static void IntegerLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                         const LinearOutput& out, uint8_t* scratch) {
  if (in.interleave != 1) return PanelLayer<Lines, Meaning>(m, first, last, in, tokens, out, scratch);
  for (int64_t tile = first; tile < last; ++tile) DecodeTile<Lines, Meaning>(m, tile, in, out);
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
