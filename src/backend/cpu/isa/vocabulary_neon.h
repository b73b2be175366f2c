// The kernels' vocabulary (see vocabulary_scalar.h) for 64-bit ARM. Dot products of bytes come from the including file:
// DotQuarter(sum int32x4, a int8x16, b int8x16), and DotTernaryQuarter of several pairs with |a| <= 2. No includes here.

struct F32x16 {
  float32x4_t v[4];
};
struct I32x16 {
  int32x4_t v[4];
};
struct Line {
  int8x16_t v[4];
};
struct Bf16 {
  uint16_t bits;
};

static constexpr int kInt8Offset = 0;

// Of 32 registers 16 hold sums.
static constexpr int kTileBlock = 1, kTokenBlock = 4;
// How many F32x16 kernels may keep as sums: 24 of 32 registers, four each.
static constexpr int kSumRegisters = 6;

#define EDGELLM_EACH_QUARTER(expression)                 \
  for (int i = 0; i < 4; ++i) result.v[i] = (expression); \
  return result

static inline F32x16 Set1(float value) { F32x16 result; EDGELLM_EACH_QUARTER(vdupq_n_f32(value)); }
static inline F32x16 Load(const float* from) { F32x16 result; EDGELLM_EACH_QUARTER(vld1q_f32(from + 4 * i)); }
static inline void Store(float* to, F32x16 value) { for (int i = 0; i < 4; ++i) vst1q_f32(to + 4 * i, value.v[i]); }
static inline F32x16 Add(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vaddq_f32(a.v[i], b.v[i])); }
static inline F32x16 Sub(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vsubq_f32(a.v[i], b.v[i])); }
static inline F32x16 Mul(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vmulq_f32(a.v[i], b.v[i])); }
static inline F32x16 Div(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vdivq_f32(a.v[i], b.v[i])); }
static inline F32x16 Max(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vmaxq_f32(a.v[i], b.v[i])); }
static inline F32x16 Min(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_QUARTER(vminq_f32(a.v[i], b.v[i])); }
static inline F32x16 Abs(F32x16 a) { F32x16 result; EDGELLM_EACH_QUARTER(vabsq_f32(a.v[i])); }
static inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { F32x16 result; EDGELLM_EACH_QUARTER(vfmaq_f32(c.v[i], a.v[i], b.v[i])); }
static inline F32x16 RoundEven(F32x16 a) { F32x16 result; EDGELLM_EACH_QUARTER(vrndnq_f32(a.v[i])); }

static inline float ReduceAdd(F32x16 v) {
  const float32x4_t four = vaddq_f32(vaddq_f32(v.v[0], v.v[2]), vaddq_f32(v.v[1], v.v[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
static inline float ReduceMax(F32x16 v) {
  return vmaxvq_f32(vmaxq_f32(vmaxq_f32(v.v[0], v.v[1]), vmaxq_f32(v.v[2], v.v[3])));
}

static inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  F32x16 result;
  EDGELLM_EACH_QUARTER(vmulq_f32(
      x.v[i], vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.v[i]), vdupq_n_s32(127)), 23))));
}

static inline void StoreCodes(int8_t* to, F32x16 value) {
  const F32x16 held = Min(Max(value, Set1(-127.0f)), Set1(127.0f));
  const int16x8_t low = vcombine_s16(vmovn_s32(vcvtq_s32_f32(held.v[0])), vmovn_s32(vcvtq_s32_f32(held.v[1])));
  const int16x8_t high = vcombine_s16(vmovn_s32(vcvtq_s32_f32(held.v[2])), vmovn_s32(vcvtq_s32_f32(held.v[3])));
  vst1q_s8(to, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
}

static inline F32x16 LoadAs(const float* from) { return Load(from); }
static inline F32x16 LoadAs(const uint16_t* from) {
  F32x16 result;
  EDGELLM_EACH_QUARTER(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from + 4 * i))));
}
static inline F32x16 LoadAs(const Bf16* from) {
  F32x16 result;
  EDGELLM_EACH_QUARTER(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(&from[4 * i].bits), 16)));
}
static inline void StoreAs(float* to, F32x16 value) { Store(to, value); }
static inline void StoreAs(uint16_t* to, F32x16 value) {
  for (int i = 0; i < 4; ++i) vst1_u16(to + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(value.v[i])));
}

static inline I32x16 ZeroI32() { I32x16 result; EDGELLM_EACH_QUARTER(vdupq_n_s32(0)); }
static inline I32x16 Set1I32(int32_t value) { I32x16 result; EDGELLM_EACH_QUARTER(vdupq_n_s32(value)); }
static inline I32x16 AddI32(I32x16 a, I32x16 b) { I32x16 result; EDGELLM_EACH_QUARTER(vaddq_s32(a.v[i], b.v[i])); }
static inline I32x16 SubI32(I32x16 a, I32x16 b) { I32x16 result; EDGELLM_EACH_QUARTER(vsubq_s32(a.v[i], b.v[i])); }
static inline F32x16 ToFloat(I32x16 a) { F32x16 result; EDGELLM_EACH_QUARTER(vcvtq_f32_s32(a.v[i])); }

static inline void Prefetch(const void* at) { __builtin_prefetch(at); }
static inline Line LoadLine(const uint8_t* from) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u8(vld1q_u8(from + 16 * i)));
}
static inline void StoreLine(uint8_t* to, Line line) { for (int i = 0; i < 4; ++i) vst1q_u8(to + 16 * i, vreinterpretq_u8_s8(line.v[i])); }
static inline Line Broadcast4(const int8_t* from) {
  int32_t four;
  __builtin_memcpy(&four, from, 4);
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_s32(vdupq_n_s32(four)));
}
template <int kShift, int kMask>
static inline Line Bits(Line line) {
  Line result;
  if constexpr (kShift == 0) {
    EDGELLM_EACH_QUARTER(vandq_s8(line.v[i], vdupq_n_s8(kMask)));
  } else {
    EDGELLM_EACH_QUARTER(vreinterpretq_s8_u8(
        vandq_u8(vshrq_n_u8(vreinterpretq_u8_s8(line.v[i]), kShift), vdupq_n_u8(kMask))));
  }
}
// Codes of up to 15 are the same as signed bytes, so one dot serves both.
static inline I32x16 DotCodes(I32x16 sum, Line codes, Line x) {
  I32x16 result;
  EDGELLM_EACH_QUARTER(DotQuarter(sum.v[i], codes.v[i], x.v[i]));
}
static inline Line Int8Codes(Line line) { return line; }
static inline I32x16 DotInt8(I32x16 sum, Line codes, Line x) { return DotCodes(sum, codes, x); }

template <int kPlanes>
[[gnu::always_inline]] static inline I32x16 DotTernary(I32x16 sum, const Line* codes, const int8_t* x) {
  int8x16_t fours[kPlanes];
  EDGELLM_UNROLL
  for (int p = 0; p < kPlanes; ++p) fours[p] = Broadcast4(x + 4 * p).v[0];
  EDGELLM_UNROLL
  for (int i = 0; i < 4; ++i) {
    int8x16_t quarters[kPlanes];
    EDGELLM_UNROLL
    for (int p = 0; p < kPlanes; ++p) quarters[p] = codes[p].v[i];
    sum.v[i] = DotTernaryQuarter<kPlanes>(sum.v[i], quarters, fours);
  }
  return sum;
}

// Look-up tables. The same registers, taken for unsigned bytes or words.
#define EDGELLM_U8(x) vreinterpretq_u8_s8(x)
#define EDGELLM_U16(x) vreinterpretq_u16_s8(x)
#define EDGELLM_S32(x) vreinterpretq_s32_s8(x)
static inline Line SplatU8(int value) { Line result; EDGELLM_EACH_QUARTER(vdupq_n_s8(static_cast<int8_t>(value))); }
static inline Line SplatU16(int value) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_s16(vdupq_n_s16(static_cast<int16_t>(value))));
}
static inline Line AddU8(Line a, Line b) { Line result; EDGELLM_EACH_QUARTER(vaddq_s8(a.v[i], b.v[i])); }
static inline Line SubU8(Line a, Line b) { Line result; EDGELLM_EACH_QUARTER(vsubq_s8(a.v[i], b.v[i])); }
static inline Line MinU8(Line a, Line b) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u8(vminq_u8(EDGELLM_U8(a.v[i]), EDGELLM_U8(b.v[i]))));
}
static inline Line AverageU8(Line a, Line b) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u8(vrhaddq_u8(EDGELLM_U8(a.v[i]), EDGELLM_U8(b.v[i]))));
}
static inline Line And(Line a, Line b) { Line result; EDGELLM_EACH_QUARTER(vandq_s8(a.v[i], b.v[i])); }
static inline Line AddU16(Line a, Line b) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u16(vaddq_u16(EDGELLM_U16(a.v[i]), EDGELLM_U16(b.v[i]))));
}
static inline Line SubU16(Line a, Line b) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u16(vsubq_u16(EDGELLM_U16(a.v[i]), EDGELLM_U16(b.v[i]))));
}
static inline Line AddHighBytes(Line a, Line b) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u16(vsraq_n_u16(EDGELLM_U16(a.v[i]), EDGELLM_U16(b.v[i]), 8)));
}
template <int kShift>
static inline Line ShiftLeftU16(Line a) {
  Line result;
  EDGELLM_EACH_QUARTER(vreinterpretq_s8_u16(vshlq_n_u16(EDGELLM_U16(a.v[i]), kShift)));
}
static inline I32x16 LowWords(Line a) {
  I32x16 result;
  EDGELLM_EACH_QUARTER(vshrq_n_s32(vshlq_n_s32(EDGELLM_S32(a.v[i]), 16), 16));
}
static inline I32x16 HighWords(Line a) { I32x16 result; EDGELLM_EACH_QUARTER(vshrq_n_s32(EDGELLM_S32(a.v[i]), 16)); }
static inline Line BroadcastTable(const uint8_t* from) {
  const int8x16_t all = vreinterpretq_s8_u8(vld1q_u8(from));
  Line result;
  EDGELLM_EACH_QUARTER(all);
}
static inline Line LookUp(Line table, Line index) {
  Line result;
  EDGELLM_EACH_QUARTER(vqtbl1q_s8(table.v[i], EDGELLM_U8(index.v[i])));
}
static inline Line SpreadCodes(Line line, int byte) {
  const uint32x4_t down = vdupq_n_u32(255);
  Line result;
  for (int i = 0; i < 4; ++i) {
    const uint32x4_t b = vandq_u32(vshlq_u32(vreinterpretq_u32_s8(line.v[i]), vdupq_n_s32(-8 * byte)), down);
    const uint32x4_t two = vorrq_u32(b, vshlq_n_u32(b, 6));
    result.v[i] = vandq_s8(vreinterpretq_s8_u32(vorrq_u32(two, vshlq_n_u32(two, 12))), vdupq_n_s8(3));
  }
  return result;
}
static constexpr bool kHasLookUpDigit = false;
#undef EDGELLM_U8
#undef EDGELLM_U16
#undef EDGELLM_S32

#undef EDGELLM_EACH_QUARTER
