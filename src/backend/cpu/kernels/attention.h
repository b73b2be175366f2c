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

/// scores[row][kAttendPositions] = scale * q . k for kPages pages: lanes are positions.
template <int kRows, int kPages, typename Element>
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
      for (int r = 0; r < kRows; ++r) sums[p][r] = Fma(key, Set1(task.query[r][d]), sums[p][r]);
    }
  }
  EDGELLM_UNROLL
  for (int p = 0; p < kPages; ++p) {
    EDGELLM_UNROLL
    for (int r = 0; r < kRows; ++r) Store(scores + r * kAttendPositions + p * kLanes, Mul(sums[p][r], Set1(task.scale)));
  }
}

/// sums[row][dim] += weight[row][position] * values[position][dim] for kChunks times 16 dimensions from `dim` on and the
/// first `count` positions of a block; `row` is the first of kRows.
template <int kRows, int kChunks, typename Element>
static inline void AddValues(const AttendTask& task, int row, int64_t position, int count, int dim, const float* weights,
                             float* sums) {
  F32x16 acc[kRows][kChunks];
  EDGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    EDGELLM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      acc[r][c] = Load(sums + static_cast<int64_t>(row + r) * task.padded_dim + dim + c * kLanes);
    }
  }
  for (int begin = 0; begin < count; begin += kLanes) {
    const Element* values = PageAt<Element>(task, position + begin) + static_cast<int64_t>(task.head_dim) * kLanes + dim;
    const int end = count - begin < kLanes ? count - begin : kLanes;
    for (int i = 0; i < end; ++i) {
      EDGELLM_UNROLL
      for (int c = 0; c < kChunks; ++c) {
        const F32x16 value = LoadAs(values + static_cast<int64_t>(i) * task.padded_dim + c * kLanes);
        EDGELLM_UNROLL
        for (int r = 0; r < kRows; ++r) {
          acc[r][c] = Fma(value, Set1(weights[(row + r) * kAttendPositions + begin + i]), acc[r][c]);
        }
      }
    }
  }
  EDGELLM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    EDGELLM_UNROLL
    for (int c = 0; c < kChunks; ++c) {
      Store(sums + static_cast<int64_t>(row + r) * task.padded_dim + dim + c * kLanes, acc[r][c]);
    }
  }
}

template <int kRows, typename Element>
static inline void AddBlock(const AttendTask& task, int row, int64_t position, int count, const float* weights, float* sums) {
  constexpr int kChunks = kRows <= 4 ? 4 : 2;
  int dim = 0;
  for (; dim + kChunks * kLanes <= task.padded_dim; dim += kChunks * kLanes) {
    AddValues<kRows, kChunks, Element>(task, row, position, count, dim, weights, sums);
  }
  for (; dim < task.padded_dim; dim += kLanes) {
    AddValues<kRows, 1, Element>(task, row, position, count, dim, weights, sums);
  }
}

/// The first `count` scores of a block become weights relative to the highest score so far; scales what was summed under an
/// older one.
static inline void UpdateSoftmax(float* scores, int count, float* highest, float* total, float* sums, int padded_dim) {
  for (int i = count; i < kAttendPositions; ++i) scores[i] = kNoScore;
  F32x16 block = Load(scores);
  for (int p = 1; p < kBlockPages; ++p) block = Max(block, Load(scores + p * kLanes));
  const float block_highest = ReduceMax(block);
  if (block_highest > *highest) {
    alignas(64) float factor[kLanes];
    Store(factor, Exp(Set1(*highest - block_highest)));
    if (*highest > kNoScore) {
      *total *= factor[0];
      for (int d = 0; d < padded_dim; d += kLanes) Store(sums + d, Mul(Load(sums + d), Set1(factor[0])));
    }
    *highest = block_highest;
  }
  F32x16 sum = Set1(0.0f);
  for (int p = 0; p * kLanes < count; ++p) {
    float* sixteen = scores + p * kLanes;
    Store(sixteen, Exp(Sub(Load(sixteen), Set1(*highest))));
    const int left = count - p * kLanes;
    for (int i = left; i < kLanes; ++i) sixteen[i] = 0.0f;
    sum = Add(sum, Load(sixteen));
  }
  *total += ReduceAdd(sum);
}

template <int kRows, typename Element>
static void AttendRows(const AttendTask& task) {
  float* sums = task.scratch;
  float* scores = sums + static_cast<int64_t>(kAttendRows) * task.padded_dim;
  float highest[kRows], total[kRows];
  int64_t longest = 0;
  for (int r = 0; r < kRows; ++r) {
    highest[r] = kNoScore;
    total[r] = 0.0f;
    longest = task.context[r] > longest ? task.context[r] : longest;
  }
  for (int64_t i = 0; i < static_cast<int64_t>(kRows) * task.padded_dim; i += kLanes) Store(sums + i, Set1(0.0f));
  for (int64_t position = 0; position < longest; position += kAttendPositions) {
    const int64_t left = longest - position;
    const int pages = left < kAttendPositions ? static_cast<int>((left + kLanes - 1) / kLanes) : kBlockPages;
    const Element* keys[kBlockPages];
    for (int p = 0; p < pages; ++p) keys[p] = PageAt<Element>(task, position + p * kLanes);
    constexpr int kAtOnce = kRows <= 4 ? 4 : 2;  // as many sums as hide the latency of adding to them
    int page = 0;
    for (; page + kAtOnce <= pages; page += kAtOnce) {
      ScorePages<kRows, kAtOnce>(task, keys + page, scores + page * kLanes);
    }
    for (; page < pages; ++page) ScorePages<kRows, 1>(task, keys + page, scores + page * kLanes);
    int counts[kRows];
    bool even = true;
    for (int r = 0; r < kRows; ++r) {
      const int64_t own = task.context[r] - position;
      counts[r] = own <= 0 ? 0 : own < kAttendPositions ? static_cast<int>(own) : kAttendPositions;
      even = even && counts[r] == counts[0];
      if (counts[r] == 0) continue;
      UpdateSoftmax(scores + r * kAttendPositions, counts[r], &highest[r], &total[r],
                    sums + static_cast<int64_t>(r) * task.padded_dim, task.padded_dim);
    }
    if (even) {
      AddBlock<kRows, Element>(task, 0, position, counts[0], scores, sums);
      continue;
    }
    // A row must not look at values past its own context, not even with weight 0: they may be infinite.
    for (int r = 0; r < kRows; ++r) {
      if (counts[r] > 0) AddBlock<1, Element>(task, r, position, counts[r], scores, sums);
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float inverse = 1.0f / total[r];
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
    default: return AttendRows<8, Element>(task);
  }
}

static void Attend(const AttendTask& task) {
  if (task.f16) {
    AttendAs<uint16_t>(task);
  } else {
    AttendAs<float>(task);
  }
}
