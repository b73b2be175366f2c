// Several tokens at once by products of whole tiles of bytes (AMX): 16 tokens by 16 rows by up to 64 values in one
// instruction. Sums of a group are exact, and the groups are added as everywhere else, so that the results are those of
// panels.h to the bit. Included inside an instruction set's namespace, after linear.h and a vocabulary with `Tiles`, which
// holds eight tiles of 16 rows of 64 bytes; no includes here.
//   Tiles(fours)                     tiles 6 and 7 have `fours` rows, tiles 4 and 5 rows of 4 * fours bytes
//   Zero<t>()  Load<t>(p, stride)  Store<t>(p, stride)   rows of a tile, `stride` bytes apart in memory
//   Dot<kSigned, c, a, b>()          c[i][j] += sum over k of a[i][k] * b[k / 4][4 * j + k % 4]; a is signed, b as said
//
// Tiles 0 to 3 hold sums of two times two tiles of tokens and rows, 4 and 5 activations, 6 and 7 weights.

static constexpr int kPanelTokens = 16, kPanelChunk = 64;
static constexpr int kPairTiles = 2, kPairPanels = 2;
static constexpr int64_t kPartFours = 128;

/// What two panels of tokens have summed so far for two tiles of rows.
struct PairSums {
  I32x16 dots[kPairPanels][kPairTiles][kPanelTokens];  // of a group that is not at its end yet
  F32x16 rows[kPairPanels][kPairTiles][kPanelTokens];
};

/// One part of a group for the tokens of one or two panels.
struct PairTask {
  const uint8_t* part;
  int64_t steps, step_bytes;            // tile products one after the other; bytes of the part for each
  const int8_t* x[kPairPanels];         // the panels' codes at the part's first k
  bool first, last;                     // part of its group
  F32x16 scales[kPairTiles], minus_zeros[kPairTiles];
  const int32_t* x_sums[kPairPanels];   // [token of the panel], of the group
  const float* x_scales[kPairPanels];
  int counts[kPairPanels];              // tokens of each panel
  PairSums* sums;
};

template <int kTiles, int kPanels>
static inline void LoadSums(Tiles& tiles, const PairSums& sums) {
  tiles.template Load<0>(sums.dots[0][0], 64);
  if constexpr (kTiles > 1) tiles.template Load<1>(sums.dots[0][1], 64);
  if constexpr (kPanels > 1) tiles.template Load<2>(sums.dots[1][0], 64);
  if constexpr (kTiles > 1 && kPanels > 1) tiles.template Load<3>(sums.dots[1][1], 64);
}

template <int kTiles, int kPanels>
static inline void StoreSums(Tiles& tiles, PairSums& sums) {
  tiles.template Store<0>(sums.dots[0][0], 64);
  if constexpr (kTiles > 1) tiles.template Store<1>(sums.dots[0][1], 64);
  if constexpr (kPanels > 1) tiles.template Store<2>(sums.dots[1][0], 64);
  if constexpr (kTiles > 1 && kPanels > 1) tiles.template Store<3>(sums.dots[1][1], 64);
}

/// The part times the activations; with the group's last part, the group is added to the rows.
template <bool kSigned, typename Meaning, int kTiles, int kPanels>
static inline void DotPair(Tiles& tiles, const PairTask& task) {
  PairSums& sums = *task.sums;
  if (task.first) {
    tiles.template Zero<0>();
    tiles.template Zero<1>();
    tiles.template Zero<2>();
    tiles.template Zero<3>();
  } else {
    LoadSums<kTiles, kPanels>(tiles, sums);
  }
  const uint8_t* part = task.part;
  for (int64_t step = 0; step < task.steps; ++step) {
    const int64_t x = step * kPanelChunk * kPanelTokens;
    tiles.template Load<6>(part, kTiles * 64);
    tiles.template Load<4>(task.x[0] + x, kPanelChunk);
    tiles.template Dot<kSigned, 0, 4, 6>();
    if constexpr (kTiles > 1) {
      tiles.template Load<7>(part + 64, kTiles * 64);
      tiles.template Dot<kSigned, 1, 4, 7>();
    }
    if constexpr (kPanels > 1) {
      tiles.template Load<5>(task.x[1] + x, kPanelChunk);
      tiles.template Dot<kSigned, 2, 5, 6>();
      if constexpr (kTiles > 1) tiles.template Dot<kSigned, 3, 5, 7>();
    }
    part += task.step_bytes;
  }
  StoreSums<kTiles, kPanels>(tiles, sums);
  if (!task.last) return;
  for (int p = 0; p < kPanels; ++p) {
    for (int i = 0; i < kTiles; ++i) {
      for (int t = 0; t < task.counts[p]; ++t) {
        F32x16& y = sums.rows[p][i][t];
        const int32_t x_sum = task.x_sums[p][t];
        y = AddGroup<Meaning>(y, AddI32(sums.dots[p][i][t], DotStart<Meaning>(x_sum)), task.scales[i],
                              task.minus_zeros[i], x_sum, task.x_scales[p][t]);
      }
    }
  }
}

/// One part for all tokens, two panels at a time.
template <bool kSigned, typename Meaning, int kTiles>
static void DotPairs(Tiles& tiles, PairTask& task, const LinearInput& in, int64_t group, int64_t k, int64_t tokens,
                     PairSums* sums) {
  const int64_t panels = (tokens + kPanelTokens - 1) / kPanelTokens;
  for (int64_t panel = 0; panel < panels; panel += kPairPanels) {
    const int count = panels - panel > 1 ? 2 : 1;
    for (int p = 0; p < count; ++p) {
      const int64_t left = tokens - (panel + p) * kPanelTokens;
      const auto at = static_cast<size_t>(panel + p);
      task.counts[p] = left < kPanelTokens ? static_cast<int>(left) : kPanelTokens;
      task.x[p] = in.codes + at * in.code_stride + k / kPanelChunk * kPanelChunk * kPanelTokens + k % kPanelChunk;
      task.x_sums[p] = in.sums + at * in.group_stride + group * kPanelTokens;
      task.x_scales[p] = in.scales + at * in.group_stride + group * in.scale_step * kPanelTokens;
    }
    task.sums = sums + panel / kPairPanels;
    if (count == 2) {
      DotPair<kSigned, Meaning, kTiles, 2>(tiles, task);
    } else {
      DotPair<kSigned, Meaning, kTiles, 1>(tiles, task);
    }
  }
}

template <int kTiles>
static inline void StorePairs(const PairSums* sums, int64_t tile, int64_t tokens, const LinearOutput& to) {
  const LinearOutput out = to;  // a copy that no store can change, so that it stays in registers
  for (int64_t token = 0; token < tokens; ++token) {
    const int64_t panel = token / kPanelTokens;
    const PairSums& own = sums[panel / kPairPanels];
    for (int i = 0; i < kTiles; ++i) {
      StoreTile(own.rows[panel % kPairPanels][i][token % kPanelTokens], tile + i, token, out);
    }
  }
}

static inline int64_t PairsOf(int64_t tokens) {
  return (tokens + kPairPanels * kPanelTokens - 1) / (kPairPanels * kPanelTokens);
}

/// kTiles tiles for all tokens, group by group and part by part. A part's last step may reach past the group: there its
/// weights are zeros, and what stands among the activations counts nothing.
template <typename Lines, typename Meaning, int kTiles>
static void PairTiles(Tiles& tiles, int64_t step_fours, const PackedMatrix& m, int64_t tile, const LinearInput& in,
                      int64_t tokens, const LinearOutput& out, uint8_t* scratch) {
  // Parts begin at multiples of the chunk, whatever a line holds.
  constexpr int64_t kUnit = kPanelChunk / 4 * Lines::kPlanes, kFoursAtOnce = kPartFours / kUnit * kUnit;
  PairSums* sums = reinterpret_cast<PairSums*>(scratch + kPartFours * kPairTiles * 64);
  for (int64_t pair = 0; pair < PairsOf(tokens); ++pair) {
    F32x16* rows = &sums[pair].rows[0][0][0];
    for (int i = 0; i < kPairPanels * kPairTiles * kPanelTokens; ++i) rows[i] = Set1(0.0f);
  }
  PairTask task;
  task.part = scratch;
  task.step_bytes = step_fours * kTiles * 64;
  for (int64_t g = 0; g < m.groups; ++g) {
    const int64_t begin = g * m.group, end = g + 1 == m.groups ? m.cols : begin + m.group;
    const int64_t group_fours = (end - begin + 3) / 4;
    for (int i = 0; i < kTiles; ++i) {
      task.scales[i] = LoadScales<Meaning::kF16Scales>(m.scales, (tile + i) * m.groups + g);
      task.minus_zeros[i] = LoadMinusZeros<Meaning>(m, (tile + i) * m.groups + g);
    }
    for (int64_t from = 0; from < group_fours; from += kFoursAtOnce) {
      const int64_t left_fours = group_fours - from, fours = left_fours < kFoursAtOnce ? left_fours : kFoursAtOnce;
      UnpackPart<Lines, kTiles>(m, tile, g, from, fours, scratch);
      task.steps = (fours + step_fours - 1) / step_fours;
      __builtin_memset(scratch + fours * kTiles * 64, 0, static_cast<size_t>((task.steps * step_fours - fours) * kTiles * 64));
      task.first = from == 0;
      task.last = fours == left_fours;
      DotPairs<Lines::kSigned, Meaning, kTiles>(tiles, task, in, g, begin + 4 * from, tokens, sums);
    }
  }
  StorePairs<kTiles>(sums, tile, tokens, out);
}

static size_t PromptScratch(int64_t tokens) {
  return static_cast<size_t>(kPartFours) * kPairTiles * 64 + static_cast<size_t>(PairsOf(tokens)) * sizeof(PairSums);
}

/// The tiles [first, last) for several tokens; `scratch`: PromptScratch(tokens) bytes.
template <typename Lines, typename Meaning>
static void PromptLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out, uint8_t* scratch) {
  // Groups of 32 values are half a tile; all others are whole ones, but a row's last.
  const int64_t step_fours = m.group == 32 ? 8 : 16;
  Tiles tiles(static_cast<int>(step_fours));
  int64_t tile = first;
  for (; tile + kPairTiles <= last; tile += kPairTiles) {
    PairTiles<Lines, Meaning, kPairTiles>(tiles, step_fours, m, tile, in, tokens, out, scratch);
  }
  for (; tile < last; ++tile) PairTiles<Lines, Meaning, 1>(tiles, step_fours, m, tile, in, tokens, out, scratch);
}
