// The kernels' vocabulary (see vocabulary_scalar.h) for AVX-512 F, BW, DQ, VL and VNNI. No includes here.

struct F32x16 {
  __m512 v;
};
struct I32x16 {
  __m512i v;
};
struct Line {
  __m512i v;
};
struct Bf16 {
  uint16_t bits;
};

// vpdpbusd takes unsigned bytes first: int8 codes are moved up by 128.
static constexpr int kInt8Offset = 128;

// Of 32 registers 24 hold sums: three tiles share each broadcast of activations, eight tokens each unpacked line.
static constexpr int kTileBlock = 3, kTokenBlock = 8;
// How many F32x16 kernels may keep as sums: 24 of 32 registers.
static constexpr int kSumRegisters = 24;

static inline F32x16 Set1(float value) { return {_mm512_set1_ps(value)}; }
static inline F32x16 Load(const float* from) { return {_mm512_loadu_ps(from)}; }
static inline void Store(float* to, F32x16 value) { _mm512_storeu_ps(to, value.v); }
static inline F32x16 Add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
static inline F32x16 Sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
static inline F32x16 Mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
static inline F32x16 Div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
static inline F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
static inline F32x16 Min(F32x16 a, F32x16 b) { return {_mm512_min_ps(a.v, b.v)}; }
static inline F32x16 Abs(F32x16 a) { return {_mm512_abs_ps(a.v)}; }
static inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
static inline F32x16 RoundEven(F32x16 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}

static inline float ReduceAdd(F32x16 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v.v), _mm512_extractf32x8_ps(v.v, 1));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline float ReduceMax(F32x16 v) { return _mm512_reduce_max_ps(v.v); }

static inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  const __m512i bits = _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n.v), _mm512_set1_epi32(127)), 23);
  return {_mm512_mul_ps(x.v, _mm512_castsi512_ps(bits))};
}

static inline void StoreCodes(int8_t* to, F32x16 value) {
  const __m512 held = _mm512_min_ps(_mm512_max_ps(value.v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(held)));
}

static inline F32x16 LoadAs(const float* from) { return Load(from); }
static inline F32x16 LoadAs(const uint16_t* from) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)))};
}
static inline F32x16 LoadAs(const Bf16* from) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
static inline void StoreAs(float* to, F32x16 value) { Store(to, value); }
static inline void StoreAs(uint16_t* to, F32x16 value) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm512_cvtps_ph(value.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

static inline I32x16 ZeroI32() { return {_mm512_setzero_si512()}; }
static inline I32x16 Set1I32(int32_t value) { return {_mm512_set1_epi32(value)}; }
static inline I32x16 AddI32(I32x16 a, I32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
static inline I32x16 SubI32(I32x16 a, I32x16 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
static inline F32x16 ToFloat(I32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }

static inline void Prefetch(const void* at) { _mm_prefetch(static_cast<const char*>(at), _MM_HINT_T0); }
static inline Line LoadLine(const uint8_t* from) {
  Line line = {_mm512_loadu_si512(from)};
  // Loaded once: GCC would read it again for each use, and one line a cycle is what the first-level cache gives.
  asm("" : "+v"(line.v));
  return line;
}
static inline void StoreLine(uint8_t* to, Line line) { _mm512_storeu_si512(to, line.v); }
static inline Line Broadcast4(const int8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, 4);
  return {_mm512_set1_epi32(four)};
}
template <int kShift, int kMask>
static inline Line Bits(Line line) {
  const __m512i shifted = kShift == 0 ? line.v : _mm512_srli_epi16(line.v, kShift);
  return {_mm512_and_si512(shifted, _mm512_set1_epi8(kMask))};
}
static inline I32x16 DotCodes(I32x16 sum, Line codes, Line x) {
  // _mm512_dpbusd_epi32, in place: GCC 12 copies and spills the sums of a block of tiles and tokens around the intrinsic,
  // which halves the speed.
  asm("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(codes.v), "v"(x.v));
  return sum;
}
static inline Line Int8Codes(Line line) { return {_mm512_xor_si512(line.v, _mm512_set1_epi8(-128))}; }
static inline I32x16 DotInt8(I32x16 sum, Line codes, Line x) { return DotCodes(sum, codes, x); }

template <int kPlanes>
static inline I32x16 DotTernary(I32x16 sum, const Line* codes, const int8_t* x) {
  EDGELLM_UNROLL
  for (int p = 0; p < kPlanes; ++p) sum = DotCodes(sum, codes[p], Broadcast4(x + 4 * p));
  return sum;
}

static inline Line SplatU8(int value) { return {_mm512_set1_epi8(static_cast<char>(value))}; }
static inline Line SplatU16(int value) { return {_mm512_set1_epi16(static_cast<int16_t>(value))}; }
static inline Line AddU8(Line a, Line b) { return {_mm512_add_epi8(a.v, b.v)}; }
static inline Line SubU8(Line a, Line b) { return {_mm512_sub_epi8(a.v, b.v)}; }
static inline Line MinU8(Line a, Line b) { return {_mm512_min_epu8(a.v, b.v)}; }
static inline Line AverageU8(Line a, Line b) { return {_mm512_avg_epu8(a.v, b.v)}; }
static inline Line And(Line a, Line b) { return {_mm512_and_si512(a.v, b.v)}; }
static inline Line AddU16(Line a, Line b) { return {_mm512_add_epi16(a.v, b.v)}; }
static inline Line SubU16(Line a, Line b) { return {_mm512_sub_epi16(a.v, b.v)}; }
static inline Line AddHighBytes(Line a, Line b) { return {_mm512_add_epi16(a.v, _mm512_srli_epi16(b.v, 8))}; }
template <int kShift>
static inline Line ShiftLeftU16(Line a) { return {_mm512_slli_epi16(a.v, kShift)}; }
static inline I32x16 LowWords(Line a) { return {_mm512_srai_epi32(_mm512_slli_epi32(a.v, 16), 16)}; }
static inline I32x16 HighWords(Line a) { return {_mm512_srai_epi32(a.v, 16)}; }
static inline Line BroadcastTable(const uint8_t* from) {
  return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
}
static inline Line LookUp(Line table, Line index) { return {_mm512_shuffle_epi8(table.v, index.v)}; }
static inline Line SpreadCodes(Line line, int byte) {
  const __m512i b = _mm512_and_si512(_mm512_srl_epi32(line.v, _mm_cvtsi32_si128(8 * byte)), _mm512_set1_epi32(255));
  const __m512i two = _mm512_or_si512(b, _mm512_slli_epi32(b, 6));
  return {_mm512_and_si512(_mm512_or_si512(two, _mm512_slli_epi32(two, 12)), _mm512_set1_epi8(3))};
}
#if defined(__AVX512VBMI__)
/// The digit of a place, for each sum of four digits (kernels/ternary.h).
struct DigitTable {
  alignas(64) uint8_t byte[128];
};
static constexpr DigitTable MakeDigitTable(int place) {
  DigitTable table{};
  for (int t = 0; t < 81; ++t) {
    const int digits[] = {t % 3, t / 3 % 3, t / 9 % 3, t / 27};
    table.byte[digits[0] + 3 * digits[1] + 9 * digits[2] + 29 * digits[3]] = static_cast<uint8_t>(digits[place]);
  }
  return table;
}
static constexpr DigitTable kDigitTables[4] = {MakeDigitTable(0), MakeDigitTable(1), MakeDigitTable(2), MakeDigitTable(3)};
static constexpr bool kHasLookUpDigit = true;
template <int kPlace>
static inline Line LookUpDigit(Line sum) {
  const uint8_t* table = kDigitTables[kPlace].byte;
  // _mm512_permutex2var_epi8, with its tables held in registers: GCC 12 overwrites them and loads them anew for each line.
  asm("vpermi2b %2, %1, %0" : "+v"(sum.v) : "v"(_mm512_load_si512(table)), "v"(_mm512_load_si512(table + 64)));
  return sum;
}
#else
static constexpr bool kHasLookUpDigit = false;
#endif
