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
// How many F32x16 kernels may keep as sums: 12 of 16 registers, two each.
static constexpr int kSumRegisters = 6;

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

/// Products of codes of at most 2 are small enough that five planes of them are added as int16.
template <int kPlanes>
static inline __m256i DotTernaryHalf(__m256i sum, const __m256i* codes, const __m256i* x) {
  __m256i pairs = _mm256_maddubs_epi16(codes[0], x[0]);
  EDGELLM_UNROLL
  for (int p = 1; p < kPlanes; ++p) pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(codes[p], x[p]));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
template <int kPlanes>
static inline I32x16 DotTernary(I32x16 sum, const Line* codes, const int8_t* x) {
  __m256i low[kPlanes], high[kPlanes], fours[kPlanes];
  EDGELLM_UNROLL
  for (int p = 0; p < kPlanes; ++p) {
    low[p] = codes[p].low;
    high[p] = codes[p].high;
    fours[p] = Broadcast4(x + 4 * p).low;
  }
  return {DotTernaryHalf<kPlanes>(sum.low, low, fours), DotTernaryHalf<kPlanes>(sum.high, high, fours)};
}

#define EDGELLM_BOTH_HALVES(function) {function(a.low, b.low), function(a.high, b.high)}
static inline Line SplatU8(int value) {
  const __m256i all = _mm256_set1_epi8(static_cast<char>(value));
  return {all, all};
}
static inline Line SplatU16(int value) {
  const __m256i all = _mm256_set1_epi16(static_cast<int16_t>(value));
  return {all, all};
}
static inline Line AddU8(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_add_epi8); }
static inline Line SubU8(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_sub_epi8); }
static inline Line MinU8(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_min_epu8); }
static inline Line AverageU8(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_avg_epu8); }
static inline Line And(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_and_si256); }
static inline Line AddU16(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_add_epi16); }
static inline Line SubU16(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_sub_epi16); }
static inline Line AddHighBytes(Line a, Line b) {
  return AddU16(a, {_mm256_srli_epi16(b.low, 8), _mm256_srli_epi16(b.high, 8)});
}
template <int kShift>
static inline Line ShiftLeftU16(Line a) { return {_mm256_slli_epi16(a.low, kShift), _mm256_slli_epi16(a.high, kShift)}; }
static inline I32x16 LowWords(Line a) {
  return {_mm256_srai_epi32(_mm256_slli_epi32(a.low, 16), 16), _mm256_srai_epi32(_mm256_slli_epi32(a.high, 16), 16)};
}
static inline I32x16 HighWords(Line a) { return {_mm256_srai_epi32(a.low, 16), _mm256_srai_epi32(a.high, 16)}; }
static inline Line BroadcastTable(const uint8_t* from) {
  const __m256i all = _mm256_broadcastsi128_si256(LoadHalfLine(from));
  return {all, all};
}
static inline Line LookUp(Line a, Line b) { return EDGELLM_BOTH_HALVES(_mm256_shuffle_epi8); }
static inline __m256i SpreadHalf(__m256i half, int byte) {
  const __m256i b = _mm256_and_si256(_mm256_srl_epi32(half, _mm_cvtsi32_si128(8 * byte)), _mm256_set1_epi32(255));
  const __m256i two = _mm256_or_si256(b, _mm256_slli_epi32(b, 6));
  return _mm256_and_si256(_mm256_or_si256(two, _mm256_slli_epi32(two, 12)), _mm256_set1_epi8(3));
}
static inline Line SpreadCodes(Line line, int byte) { return {SpreadHalf(line.low, byte), SpreadHalf(line.high, byte)}; }
static constexpr bool kHasLookUpDigit = false;
#undef EDGELLM_BOTH_HALVES
