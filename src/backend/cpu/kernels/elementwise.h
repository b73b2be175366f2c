// Norms, activation quantisation, gates, rotary embedding, KV stores. Included inside an instruction set's namespace, after
// its vocabulary; no includes here.

/// e^x to within 2 ulp for x in [-87, 88], clamped outside. Range reduction by powers of two, then a polynomial
/// (the minimax one of Cephes' expf). e^0 is exactly 1.
static inline F32x16 Exp(F32x16 x) {
  x = Min(Max(x, Set1(-87.0f)), Set1(88.0f));
  const F32x16 n = RoundEven(Mul(x, Set1(1.44269504088896341f)));
  F32x16 r = Fma(n, Set1(-0.693359375f), x);
  r = Fma(n, Set1(2.12194440e-4f), r);
  F32x16 p = Set1(1.9875691500e-4f);
  p = Fma(p, r, Set1(1.3981999507e-3f));
  p = Fma(p, r, Set1(8.3334519073e-3f));
  p = Fma(p, r, Set1(4.1665795894e-2f));
  p = Fma(p, r, Set1(1.6666665459e-1f));
  p = Fma(p, r, Set1(5.0000001201e-1f));
  p = Add(Fma(p, Mul(r, r), r), Set1(1.0f));
  return ScaleByPowerOfTwo(p, n);
}

static void RmsNorm(const float* x, const float* weight, int64_t n, float epsilon, float* out) {
  if (weight == nullptr) {
    for (int64_t i = 0; i < n; i += kLanes) Store(out + i, Load(x + i));
    return;
  }
  F32x16 sum = Set1(0.0f);
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32x16 v = Load(x + i);
    sum = Fma(v, v, sum);
  }
  const float inverse = 1.0f / __builtin_sqrtf(ReduceAdd(sum) / static_cast<float>(n) + epsilon);
  const F32x16 scale = Set1(inverse);
  for (int64_t i = 0; i < n; i += kLanes) Store(out + i, Mul(Mul(Load(x + i), scale), Load(weight + i)));
}

static void Quantize(const float* x, int64_t n, int64_t group, int64_t sum_group, float floor, int64_t interleave,
                     int8_t* codes, float* scales, int32_t* sums) {
  // Groups are multiples of 16 long or end where the padding with zeros begins.
  const int64_t padded = (n + kCodePadding - 1) / kCodePadding * kCodePadding;
  F32x16 sum = Set1(0.0f);
  for (int64_t begin = 0; begin < n; begin += group) {
    const int64_t end = begin + group < padded ? begin + group : padded;
    F32x16 highest = Set1(floor);
    for (int64_t i = begin; i < end; i += kLanes) highest = Max(highest, Abs(Load(x + i)));
    const float m = ReduceMax(highest);
    const bool is_zero = m < kSmallestGroup;
    const F32x16 inverse = Set1(is_zero ? 0.0f : 127.0f / m);
    scales[begin / group * interleave] = is_zero ? 0.0f : m / 127.0f;
    for (int64_t i = begin; i < end; i += kLanes) {
      const F32x16 rounded = RoundEven(Mul(Load(x + i), inverse));
      sum = Add(sum, Min(Max(rounded, Set1(-127.0f)), Set1(127.0f)));  // whole numbers far below 2^24: exact
      if ((i + kLanes) % sum_group == 0 || i + kLanes >= padded) {
        const float total = ReduceAdd(sum);
        sums[i / sum_group * interleave] = total == total ? static_cast<int32_t>(total) : 0;  // NaN is no whole number
        sum = Set1(0.0f);
      }
      if (interleave == 1) {
        StoreCodes(codes + i, rounded);
      } else if constexpr (kPanelChunk >= kLanes) {
        StoreCodes(codes + i / kPanelChunk * kPanelChunk * interleave + i % kPanelChunk, rounded);
      } else {
        alignas(16) int8_t sixteen[kLanes];
        StoreCodes(sixteen, rounded);
        for (int q = 0; q < kLanes; q += kPanelChunk) {
          __builtin_memcpy(codes + (i + q) * interleave, sixteen + q, kPanelChunk);
        }
      }
    }
  }
}

static void Gate(bool relu2, const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += kLanes) {
    const F32x16 g = Load(gate + i);
    F32x16 activated;
    if (relu2) {
      const F32x16 positive = Max(g, Set1(0.0f));
      activated = Mul(positive, positive);
    } else {
      activated = Div(g, Add(Set1(1.0f), Exp(Sub(Set1(0.0f), g))));
    }
    Store(out + i, Mul(activated, Load(up + i)));
  }
}

static void Rotate(float* x, const float* cosine, const float* sine, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = x[i], b = x[i + half];
    x[i] = a * cosine[i] - b * sine[i];
    x[i + half] = b * cosine[i] + a * sine[i];
  }
}

template <typename Element>
static inline void StoreKeyAs(const float* key, uint8_t* page, int slot, int head_dim) {
  Element* keys = reinterpret_cast<Element*>(page);
  for (int d = 0; d < head_dim; d += kLanes) {
    alignas(64) float in[kLanes] = {};
    alignas(64) Element out[kLanes];
    const int count = head_dim - d < kLanes ? head_dim - d : kLanes;
    for (int i = 0; i < count; ++i) in[i] = key[d + i];
    StoreAs(out, Load(in));
    for (int i = 0; i < count; ++i) keys[static_cast<int64_t>(d + i) * kLanes + slot] = out[i];
  }
}

template <typename Element>
static inline void StoreValueAs(const float* value, uint8_t* page, int slot, int head_dim, int padded_dim) {
  Element* values = reinterpret_cast<Element*>(page) + static_cast<int64_t>(head_dim) * kLanes +
                    static_cast<int64_t>(slot) * padded_dim;
  for (int d = 0; d < head_dim; d += kLanes) {
    alignas(64) float in[kLanes] = {};
    const int count = head_dim - d < kLanes ? head_dim - d : kLanes;
    for (int i = 0; i < count; ++i) in[i] = value[d + i];
    StoreAs(values + d, Load(in));
  }
}

static void StoreKey(const float* key, uint8_t* page, int slot, int head_dim, bool f16) {
  if (f16) {
    StoreKeyAs<uint16_t>(key, page, slot, head_dim);
  } else {
    StoreKeyAs<float>(key, page, slot, head_dim);
  }
}

static void StoreValue(const float* value, uint8_t* page, int slot, int head_dim, int padded_dim, bool f16) {
  if (f16) {
    StoreValueAs<uint16_t>(value, page, slot, head_dim, padded_dim);
  } else {
    StoreValueAs<float>(value, page, slot, head_dim, padded_dim);
  }
}
