// Several tokens at once by the integer dot product: a part of a few tiles is unpacked once and serves panel after panel of
// tokens. Included inside an instruction set's namespace, after linear.h; no includes here.

static constexpr int kPanelTokens = 8, kPanelChunk = 4;

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

static size_t PromptScratch(int64_t tokens) {
  return static_cast<size_t>(kPartFours) * kTileBlock * 64 +
         static_cast<size_t>((tokens + kPanelTokens - 1) / kPanelTokens) * sizeof(PanelSums);
}

/// The tiles [first, last) for several tokens; `scratch`: PromptScratch(tokens) bytes.
template <typename Lines, typename Meaning>
static void PromptLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
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
