// The kernels' vocabulary (see vocabulary_scalar.h) for AVX2, FMA and F16C. No includes here.

struct F32x16 {
  __m256 low, high;
};
struct I32x16 {
  __m256i low, high;
};
struct Line {
  __m256i low, high;
};
struct Bf16 {
  uint16_t bits;
};

static constexpr int kInt8Offset = 0;

// Of 16 registers 8 hold sums.
static constexpr int kTileBlock = 1, kTokenBlock = 4;

static inline F32x16 Set1(float value) { return {_mm256_set1_ps(value), _mm256_set1_ps(value)}; }
static inline F32x16 Load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
static inline void Store(float* to, F32x16 value) {
  _mm256_storeu_ps(to, value.low);
  _mm256_storeu_ps(to + 8, value.high);
}
static inline F32x16 Add(F32x16 a, F32x16 b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
static inline F32x16 Sub(F32x16 a, F32x16 b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
static inline F32x16 Mul(F32x16 a, F32x16 b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
static inline F32x16 Div(F32x16 a, F32x16 b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
static inline F32x16 Max(F32x16 a, F32x16 b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
static inline F32x16 Min(F32x16 a, F32x16 b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
static inline F32x16 Abs(F32x16 a) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, a.low), _mm256_andnot_ps(sign, a.high)};
}
static inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
static inline F32x16 RoundEven(F32x16 a) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(a.low, kMode), _mm256_round_ps(a.high, kMode)};
}

static inline float ReduceAdd(F32x16 v) {
  const __m256 eight = _mm256_add_ps(v.low, v.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float ReduceMax(F32x16 v) {
  const __m256 eight = _mm256_max_ps(v.low, v.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

static inline __m256 PowerOfTwo(__m256 n) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
static inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  return {_mm256_mul_ps(x.low, PowerOfTwo(n.low)), _mm256_mul_ps(x.high, PowerOfTwo(n.high))};
}

static inline void StoreCodes(int8_t* to, F32x16 value) {
  const F32x16 held = Min(Max(value, Set1(-127.0f)), Set1(127.0f));
  // The pack works within 128-bit halves; the permutation puts the quarters back in order.
  const __m256i words = _mm256_permute4x64_epi64(
      _mm256_packs_epi32(_mm256_cvtps_epi32(held.low), _mm256_cvtps_epi32(held.high)), _MM_SHUFFLE(3, 1, 2, 0));
  const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
}

static inline __m128i LoadHalfLine(const void* from) { return _mm_loadu_si128(static_cast<const __m128i*>(from)); }
static inline F32x16 LoadAs(const float* from) { return Load(from); }
static inline F32x16 LoadAs(const uint16_t* from) {
  return {_mm256_cvtph_ps(LoadHalfLine(from)), _mm256_cvtph_ps(LoadHalfLine(from + 8))};
}
static inline F32x16 LoadAs(const Bf16* from) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadHalfLine(from)), 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(LoadHalfLine(from + 8)), 16))};
}
static inline void StoreAs(float* to, F32x16 value) { Store(to, value); }
static inline void StoreAs(uint16_t* to, F32x16 value) {
  constexpr int kMode = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_cvtps_ph(value.low, kMode));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to + 8), _mm256_cvtps_ph(value.high, kMode));
}

static inline I32x16 ZeroI32() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
static inline I32x16 Set1I32(int32_t value) { return {_mm256_set1_epi32(value), _mm256_set1_epi32(value)}; }
static inline I32x16 AddI32(I32x16 a, I32x16 b) { return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)}; }
static inline I32x16 SubI32(I32x16 a, I32x16 b) { return {_mm256_sub_epi32(a.low, b.low), _mm256_sub_epi32(a.high, b.high)}; }
static inline F32x16 ToFloat(I32x16 a) { return {_mm256_cvtepi32_ps(a.low), _mm256_cvtepi32_ps(a.high)}; }

static inline void Prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }
static inline Line LoadLine(const uint8_t* from) {
  const __m256i* halves = reinterpret_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(halves), _mm256_loadu_si256(halves + 1)};
}
static inline void StoreLine(uint8_t* to, Line line) {
  __m256i* halves = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(halves, line.low);
  _mm256_storeu_si256(halves + 1, line.high);
}
static inline Line Broadcast4(const int8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, 4);
  const __m256i all = _mm256_set1_epi32(four);
  return {all, all};
}
template <int kShift, int kMask>
static inline Line Bits(Line line) {
  const __m256i mask = _mm256_set1_epi8(kMask);
  if constexpr (kShift == 0) return {_mm256_and_si256(line.low, mask), _mm256_and_si256(line.high, mask)};
  return {_mm256_and_si256(_mm256_srli_epi16(line.low, kShift), mask),
          _mm256_and_si256(_mm256_srli_epi16(line.high, kShift), mask)};
}
/// Pairs of products fit int16: 2 * 15 * 127, and for signed codes 2 * 128 * 127.
static inline __m256i DotHalf(__m256i sum, __m256i unsigned_bytes, __m256i signed_bytes) {
  const __m256i pairs = _mm256_maddubs_epi16(unsigned_bytes, signed_bytes);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
static inline I32x16 DotCodes(I32x16 sum, Line codes, Line x) {
  return {DotHalf(sum.low, codes.low, x.low), DotHalf(sum.high, codes.high, x.high)};
}
static inline Line Int8Codes(Line line) { return line; }
static inline I32x16 DotInt8(I32x16 sum, Line codes, Line x) {
  // |code| times the activation with the code's sign: maddubs wants its first operand unsigned.
  return {DotHalf(sum.low, _mm256_abs_epi8(codes.low), _mm256_sign_epi8(x.low, codes.low)),
          DotHalf(sum.high, _mm256_abs_epi8(codes.high), _mm256_sign_epi8(x.high, codes.high))};
}
