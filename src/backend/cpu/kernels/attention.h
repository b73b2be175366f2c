// Attention over pages: one token, the query heads of one key/value head, page by page with a running softmax
// (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). The order of sums is that of the pages, so the
// result depends on nothing but the sequence. Included inside an instruction set's namespace; no includes here.

/// scores[head][16] = scale * q . k for the 16 positions of a page: lanes are positions.
template <int kHeads, typename Element>
static inline void ScorePage(const float* query, int head_dim, const Element* keys, float scale, float* scores) {
  F32x16 sums[kHeads];
  for (int h = 0; h < kHeads; ++h) sums[h] = Set1(0.0f);
  for (int d = 0; d < head_dim; ++d) {
    const F32x16 key = LoadAs(keys + static_cast<int64_t>(d) * kLanes);
    for (int h = 0; h < kHeads; ++h) sums[h] = Fma(key, Set1(query[h * head_dim + d]), sums[h]);
  }
  for (int h = 0; h < kHeads; ++h) Store(scores + h * kLanes, Mul(sums[h], Set1(scale)));
}

/// sums[head][dim] += p[head][position] * values[position][dim] for the first `count` positions of a page.
template <int kHeads, typename Element>
static inline void AddValues(const float* p, int count, const Element* values, int padded_dim, float* sums) {
  for (int d = 0; d < padded_dim; d += kLanes) {
    F32x16 acc[kHeads];
    for (int h = 0; h < kHeads; ++h) acc[h] = Load(sums + static_cast<int64_t>(h) * padded_dim + d);
    for (int i = 0; i < count; ++i) {
      const F32x16 value = LoadAs(values + static_cast<int64_t>(i) * padded_dim + d);
      for (int h = 0; h < kHeads; ++h) acc[h] = Fma(value, Set1(p[h * kLanes + i]), acc[h]);
    }
    for (int h = 0; h < kHeads; ++h) Store(sums + static_cast<int64_t>(h) * padded_dim + d, acc[h]);
  }
}

/// Scores to probabilities relative to the running maximum; scales what was summed under the old one.
static inline void UpdateSoftmax(float* scores, int count, float* highest, float* total, float* sums, int padded_dim) {
  constexpr float kNone = -3.0e38f;
  for (int i = count; i < kLanes; ++i) scores[i] = kNone;
  const F32x16 s = Load(scores);
  const float page_highest = ReduceMax(s);
  if (page_highest > *highest) {
    alignas(64) float factor[kLanes];
    Store(factor, Exp(Set1(*highest - page_highest)));
    if (*highest > kNone) {
      *total *= factor[0];
      for (int d = 0; d < padded_dim; d += kLanes) Store(sums + d, Mul(Load(sums + d), Set1(factor[0])));
    }
    *highest = page_highest;
  }
  Store(scores, Exp(Sub(s, Set1(*highest))));
  for (int i = count; i < kLanes; ++i) scores[i] = 0.0f;
  *total += ReduceAdd(Load(scores));
}

template <int kHeads, typename Element>
static void AttendHeads(const AttendTask& task, const float* query, float* out) {
  float* sums = task.scratch;
  float* scores = sums + static_cast<int64_t>(kHeads) * task.padded_dim;
  float highest[kHeads], total[kHeads];
  for (int h = 0; h < kHeads; ++h) {
    highest[h] = -3.0e38f;
    total[h] = 0.0f;
  }
  for (int64_t i = 0; i < static_cast<int64_t>(kHeads) * task.padded_dim; ++i) sums[i] = 0.0f;
  for (int64_t position = 0; position < task.context; position += kLanes) {
    const uint8_t* page = task.cache + static_cast<size_t>(task.pages[position / kLanes]) * task.page_stride;
    const Element* keys = reinterpret_cast<const Element*>(page);
    const Element* values = keys + static_cast<int64_t>(task.head_dim) * kLanes;
    const int64_t left = task.context - position;
    const int count = left < kLanes ? static_cast<int>(left) : kLanes;
    ScorePage<kHeads>(query, task.head_dim, keys, task.scale, scores);
    for (int h = 0; h < kHeads; ++h) {
      UpdateSoftmax(scores + h * kLanes, count, &highest[h], &total[h], sums + static_cast<int64_t>(h) * task.padded_dim,
                    task.padded_dim);
    }
    AddValues<kHeads>(scores, count, values, task.padded_dim, sums);
  }
  for (int h = 0; h < kHeads; ++h) {
    const float inverse = 1.0f / total[h];
    for (int d = 0; d < task.head_dim; ++d) {
      out[h * task.head_dim + d] = sums[static_cast<int64_t>(h) * task.padded_dim + d] * inverse;
    }
  }
}

template <typename Element>
static void AttendAs(const AttendTask& task) {
  int head = 0;
  const int64_t dim = task.head_dim;
  for (; head + 4 <= task.heads; head += 4) AttendHeads<4, Element>(task, task.query + head * dim, task.out + head * dim);
  for (; head + 2 <= task.heads; head += 2) AttendHeads<2, Element>(task, task.query + head * dim, task.out + head * dim);
  for (; head < task.heads; ++head) AttendHeads<1, Element>(task, task.query + head * dim, task.out + head * dim);
}

static void Attend(const AttendTask& task) {
  if (task.f16) {
    AttendAs<uint16_t>(task);
  } else {
    AttendAs<float>(task);
  }
}
