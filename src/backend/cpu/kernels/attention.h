// Attention over pages: the queries that share a key/value head, block by block of positions with a running softmax
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). Blocks begin at multiples of
// kAttendPositions and the order of sums is that of positions, so a row's result depends on nothing but its sequence: not on
// the rows beside it. Included inside an instruction set's namespace; no includes here.

static constexpr float kNoScore = -3.0e38f;
static constexpr int kBlockPages = kAttendPositions / kLanes;

/// Keys and values of one page.
template <typename Element>
static inline const Element* PageAt(const AttendTask& task, int64_t position) {
  return reinterpret_cast<const Element*>(task.cache +
                                          static_cast<size_t>(task.pages[position / kLanes]) * task.page_stride);
}

/// How many of up to four sums a row are kept in registers beside those of the other rows.
template <int kRows>
static constexpr int kSumsPerRow = kSumRegisters / kRows >= 4 ? 4 : kSumRegisters / kRows >= 2 ? 2 : 1;

/// Rows that are taken at once of `kLeft`.
template <int kLeft>
static constexpr int kRowsAtOnce = kLeft < kSumRegisters ? kLeft : kSumRegisters;

/// scores[row][kAttendPositions] = scale * q . k for kRows rows from kRow on and kPages pages: lanes are positions.
template <int kRow, int kRows, int kPages, typename Element>
static inline void ScorePages(const AttendTask& task, const Element* const* pages, float* scores) {
  F32x16 sums[kPages][kRows];
  EDGELLM_UNROLL
  for (int p = 0; p < kPages; ++p) {
    EDGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) sums[p][r] = Set1(0.0f);
  }
  for (int d = 0; d < task.head_dim; ++d) {
    EDGELLM_UNROLL
    for (int p = 0; p < kPages; ++p) {
      const F32x16 key = LoadAs(pages[p] + static_cast<int64_t>(d) * kLanes);
      EDGELLM_UNROLL
      for (int r = 0; r < kRows; ++r) sums[p][r] = Fma(key, Set1(task.query[kRow + r][d]), sums[p][r]);
    }
  }
  EDGELLM_UNROLL
  for (int p = 0; p < kPages; ++p) {
    EDGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      Store(scores + (kRow + r) * kAttendPositions + p * kLanes, Mul(sums[p][r], Set1(task.scale)));
    }
  }
}

/// sums[row][dim] += weight[row][position] * values[position][dim] for kChunks times 16 dimensions from `dim` on and the
/// positions [from, to) of a block; `row` is the first of kRows.
template <int kRows, int kChunks, typename Element>
static inline void AddValues(const AttendTask& task, int row, int64_t position, int from, int to, int dim,
                             const float* weights, float* sums) {
  F32x16 acc[kRows][kChunks];
  EDGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    EDGELLM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      acc[r][c] = Load(sums + static_cast<int64_t>(row + r) * task.padded_dim + dim + c * kLanes);
    }
  }
  for (int at = from; at < to;) {
    const int slot = at % kLanes, count = to - at < kLanes - slot ? to - at : kLanes - slot;
    const Element* values = PageAt<Element>(task, position + at) + static_cast<int64_t>(task.head_dim) * kLanes +
                            static_cast<int64_t>(slot) * task.padded_dim + dim;
    const float* weight = weights + row * kAttendPositions + at;
    for (int i = 0; i < count; ++i) {
      F32x16 value[kChunks];
      EDGELLM_UNROLL
      for (int c = 0; c < kChunks; ++c) value[c] = LoadAs(values + static_cast<int64_t>(i) * task.padded_dim + c * kLanes);
      EDGELLM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        const F32x16 w = Set1(weight[r * kAttendPositions + i]);
        EDGELLM_UNROLL
        for (int c = 0; c < kChunks; ++c) acc[r][c] = Fma(value[c], w, acc[r][c]);
      }
    }
    at += count;
  }
  EDGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    EDGELLM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      Store(sums + static_cast<int64_t>(row + r) * task.padded_dim + dim + c * kLanes, acc[r][c]);
    }
  }
}

/// The values at the positions [from, to) of a block to the sums of the rows from `row` on, kRows of them.
template <int kRows, typename Element>
static inline void AddBlock(const AttendTask& task, int row, int64_t position, int from, int to, const float* weights,
                            float* sums) {
  constexpr int kNow = kRowsAtOnce<kRows>, kChunks = kSumsPerRow<kNow>;
  int dim = 0;
  for (; dim + kChunks * kLanes <= task.padded_dim; dim += kChunks * kLanes) {
    AddValues<kNow, kChunks, Element>(task, row, position, from, to, dim, weights, sums);
  }
  for (; dim < task.padded_dim; dim += kLanes) {
    AddValues<kNow, 1, Element>(task, row, position, from, to, dim, weights, sums);
  }
  if constexpr (kNow < kRows) {
    AddBlock<kRows - kNow, Element>(task, row + kNow, position, from, to, weights, sums);
  }
}

/// What a row has seen so far. Its sums are in the task's scratch, relative to the highest score.
struct RowState {
  float highest;
  F32x16 total;  // of weights: lane i has those of the positions i, i + 16, ...
};

/// The first `count` scores of a block become weights relative to the highest score so far; scales what was summed under an
/// older one.
static inline void UpdateSoftmax(float* scores, int count, RowState* row, float* sums, int padded_dim) {
  for (int i = count; i < kAttendPositions; ++i) scores[i] = kNoScore;
  F32x16 block = Load(scores);
  for (int p = 1; p < kBlockPages; ++p) block = Max(block, Load(scores + p * kLanes));
  const float block_highest = ReduceMax(block);
  if (block_highest > row->highest) {
    if (row->highest > kNoScore) {
      const F32x16 factor = Exp(Set1(row->highest - block_highest));
      row->total = Mul(row->total, factor);
      for (int d = 0; d < padded_dim; d += kLanes) Store(sums + d, Mul(Load(sums + d), factor));
    }
    row->highest = block_highest;
  }
  const F32x16 highest = Set1(row->highest);
  for (int p = 0; p * kLanes < count; ++p) {
    float* sixteen = scores + p * kLanes;
    Store(sixteen, Exp(Sub(Load(sixteen), highest)));
    const int left = count - p * kLanes;
    for (int i = left; i < kLanes; ++i) sixteen[i] = 0.0f;
    row->total = Add(row->total, Load(sixteen));
  }
}

/// Scores of the first `pages` pages of a block for the rows from kRow on.
template <int kRow, int kRows, typename Element>
static inline void ScoreBlock(const AttendTask& task, const Element* const* keys, int pages, float* scores) {
  constexpr int kNow = kRowsAtOnce<kRows - kRow>, kAtOnce = kSumsPerRow<kNow>;
  int page = 0;
  for (; page + kAtOnce <= pages; page += kAtOnce) {
    ScorePages<kRow, kNow, kAtOnce>(task, keys + page, scores + page * kLanes);
  }
  for (; page < pages; ++page) ScorePages<kRow, kNow, 1>(task, keys + page, scores + page * kLanes);
  if constexpr (kRow + kNow < kRows) ScoreBlock<kRow + kNow, kRows>(task, keys, pages, scores);
}

template <int kRows, typename Element>
static void AttendRows(const AttendTask& task) {
  float* sums = task.scratch;
  float* scores = sums + static_cast<int64_t>(kAttendRows) * task.padded_dim;
  RowState rows[kRows];
  int64_t longest = 0;
  for (int r = 0; r < kRows; ++r) {
    rows[r] = {kNoScore, Set1(0.0f)};
    longest = task.context[r] > longest ? task.context[r] : longest;
  }
  for (int64_t i = 0; i < static_cast<int64_t>(kRows) * task.padded_dim; i += kLanes) Store(sums + i, Set1(0.0f));
  for (int64_t position = 0; position < longest; position += kAttendPositions) {
    const int64_t left = longest - position;
    const int pages = left < kAttendPositions ? static_cast<int>((left + kLanes - 1) / kLanes) : kBlockPages;
    const Element* keys[kBlockPages];
    for (int p = 0; p < pages; ++p) keys[p] = PageAt<Element>(task, position + p * kLanes);
    ScoreBlock<0, kRows>(task, keys, pages, scores);
    int counts[kRows], common = kAttendPositions;
    for (int r = 0; r < kRows; ++r) {
      const int64_t own = task.context[r] - position;
      counts[r] = own <= 0 ? 0 : own < kAttendPositions ? static_cast<int>(own) : kAttendPositions;
      common = counts[r] < common ? counts[r] : common;
      if (counts[r] == 0) continue;
      UpdateSoftmax(scores + r * kAttendPositions, counts[r], &rows[r], sums + static_cast<int64_t>(r) * task.padded_dim,
                    task.padded_dim);
    }
    AddBlock<kRows, Element>(task, 0, position, 0, common, scores, sums);
    // A row must not look at values past its own context, not even with weight 0: they may be infinite.
    for (int r = 0; r < kRows; ++r) {
      if (counts[r] > common) AddBlock<1, Element>(task, r, position, common, counts[r], scores, sums);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float inverse = 1.0f / ReduceAdd(rows[r].total);
    for (int d = 0; d < task.head_dim; ++d) {
      task.out[r][d] = sums[static_cast<int64_t>(r) * task.padded_dim + d] * inverse;
    }
  }
}

template <typename Element>
static void AttendAs(const AttendTask& task) {
  switch (task.rows) {
    case 1: return AttendRows<1, Element>(task);
    case 2: return AttendRows<2, Element>(task);
    case 3: return AttendRows<3, Element>(task);
    case 4: return AttendRows<4, Element>(task);
    case 5: return AttendRows<5, Element>(task);
    case 6: return AttendRows<6, Element>(task);
    case 7: return AttendRows<7, Element>(task);
    case 8: return AttendRows<8, Element>(task);
    case kAttendRows: return AttendRows<kAttendRows, Element>(task);
    default: break;
  }
  AttendTask half = task;
  half.rows = 8;
  AttendRows<8, Element>(half);
  half.rows = task.rows - 8;
  for (int r = 0; r < half.rows; ++r) {
    half.query[r] = task.query[r + 8];
    half.out[r] = task.out[r + 8];
    half.context[r] = task.context[r + 8];
  }
  AttendAs<Element>(half);
}

static void Attend(const AttendTask& task) {
  if (task.f16) {
    AttendAs<uint16_t>(task);
  } else {
    AttendAs<float>(task);
  }
}
