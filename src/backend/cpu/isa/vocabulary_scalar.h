// The kernels' vocabulary in plain C++: what the vector ones mean, and what runs where there is no vector unit.
// Included inside an instruction set's namespace; no includes here.
//
// A vocabulary gives: F32x16 (16 floats), I32x16 (16 int32), Line (64 bytes), Bf16 (a tag type for bfloat16 elements), the
// functions below, kInt8Offset, kTileBlock, kTokenBlock and kSumRegisters. Fma is fused (one rounding) everywhere; reductions follow one fixed tree:
// lanes i and i+8, then i and i+4, then i and i+2, then 0 and 1.

struct F32x16 {
  float lane[16];
};
struct I32x16 {
  int32_t lane[16];
};
struct Line {
  uint8_t byte[64];
};
struct Bf16 {
  uint16_t bits;
};

static constexpr int kInt8Offset = 0;

// How many tiles and tokens are worked on at once: as many sums as stay in registers.
static constexpr int kTileBlock = 1, kTokenBlock = 4;
// How many F32x16 kernels may keep as sums: as NEON has.
static constexpr int kSumRegisters = 6;

#define EDGELLM_EACH_LANE(expression)                     \
  for (int i = 0; i < 16; ++i) result.lane[i] = expression; \
  return result

static inline F32x16 Set1(float value) { F32x16 result; EDGELLM_EACH_LANE(value); }
static inline F32x16 Load(const float* from) { F32x16 result; EDGELLM_EACH_LANE(from[i]); }
static inline void Store(float* to, F32x16 value) { for (int i = 0; i < 16; ++i) to[i] = value.lane[i]; }
static inline F32x16 Add(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] + b.lane[i]); }
static inline F32x16 Sub(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] - b.lane[i]); }
static inline F32x16 Mul(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] * b.lane[i]); }
static inline F32x16 Div(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] / b.lane[i]); }
static inline F32x16 Max(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]); }
static inline F32x16 Min(F32x16 a, F32x16 b) { F32x16 result; EDGELLM_EACH_LANE(a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]); }
static inline F32x16 Abs(F32x16 a) { F32x16 result; EDGELLM_EACH_LANE(__builtin_fabsf(a.lane[i])); }
static inline F32x16 Fma(F32x16 a, F32x16 b, F32x16 c) { F32x16 result; EDGELLM_EACH_LANE(__builtin_fmaf(a.lane[i], b.lane[i], c.lane[i])); }

static inline float RoundEvenLane(float x) {
  // Adding and subtracting 1.5 * 2^23 rounds to even; from 2^22 on the trick would lose bits, but nothing here is so large.
  const float magic = 12582912.0f;
  return (x + magic) - magic;
}
static inline F32x16 RoundEven(F32x16 a) { F32x16 result; EDGELLM_EACH_LANE(RoundEvenLane(a.lane[i])); }

static inline float ReduceAdd(F32x16 v) {
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) v.lane[i] += v.lane[i + width];
  }
  return v.lane[0];
}
static inline float ReduceMax(F32x16 v) {
  float highest = v.lane[0];
  for (int i = 1; i < 16; ++i) highest = v.lane[i] > highest ? v.lane[i] : highest;
  return highest;
}

/// x * 2^n for whole n in [-126, 127].
static inline F32x16 ScaleByPowerOfTwo(F32x16 x, F32x16 n) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = static_cast<uint32_t>(static_cast<int32_t>(n.lane[i]) + 127) << 23;
    float power;
    __builtin_memcpy(&power, &bits, 4);
    result.lane[i] = x.lane[i] * power;
  }
  return result;
}

/// Whole floats to int8, held to -127..127 (NaN becomes -127 or 127).
static inline void StoreCodes(int8_t* to, F32x16 value) {
  for (int i = 0; i < 16; ++i) {
    const float low = value.lane[i] > -127.0f ? value.lane[i] : -127.0f;
    to[i] = static_cast<int8_t>(low < 127.0f ? low : 127.0f);
  }
}

static inline float F16Lane(uint16_t half) {
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fffu) << 13;
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t power = 0x77800000u;  // 2^112 moves the exponent's bias and normalises subnormals
  float value, factor;
  __builtin_memcpy(&value, &magnitude, 4);
  __builtin_memcpy(&factor, &power, 4);
  value *= factor;
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  if (magnitude >= 0x0f800000u) bits |= 0x7f800000u;
  bits |= sign;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
static inline uint16_t HalfLane(float value) {
  uint32_t bits;
  __builtin_memcpy(&bits, &value, 4);
  const uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u | ((magnitude >> 13) & 0x3ffu));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {
    float shifted;
    __builtin_memcpy(&shifted, &magnitude, 4);
    shifted += 0.5f;  // leaves the subnormal's mantissa, rounded, in the low bits
    __builtin_memcpy(&bits, &shifted, 4);
    return static_cast<uint16_t>(sign | (bits - 0x3f000000u));
  }
  return static_cast<uint16_t>(sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13));
}

static inline F32x16 LoadAs(const float* from) { return Load(from); }
static inline F32x16 LoadAs(const uint16_t* from) { F32x16 result; EDGELLM_EACH_LANE(F16Lane(from[i])); }
static inline F32x16 LoadAs(const Bf16* from) {
  F32x16 result;
  for (int i = 0; i < 16; ++i) {
    const uint32_t bits = static_cast<uint32_t>(from[i].bits) << 16;
    __builtin_memcpy(&result.lane[i], &bits, 4);
  }
  return result;
}
static inline void StoreAs(float* to, F32x16 value) { Store(to, value); }
static inline void StoreAs(uint16_t* to, F32x16 value) { for (int i = 0; i < 16; ++i) to[i] = HalfLane(value.lane[i]); }

static inline I32x16 ZeroI32() { I32x16 result; EDGELLM_EACH_LANE(0); }
static inline I32x16 Set1I32(int32_t value) { I32x16 result; EDGELLM_EACH_LANE(value); }
static inline I32x16 AddI32(I32x16 a, I32x16 b) { I32x16 result; EDGELLM_EACH_LANE(a.lane[i] + b.lane[i]); }
static inline I32x16 SubI32(I32x16 a, I32x16 b) { I32x16 result; EDGELLM_EACH_LANE(a.lane[i] - b.lane[i]); }
static inline F32x16 ToFloat(I32x16 a) { F32x16 result; EDGELLM_EACH_LANE(static_cast<float>(a.lane[i])); }

static inline void Prefetch(const void* at) { __builtin_prefetch(at); }
static inline Line LoadLine(const uint8_t* from) {
  Line line;
  __builtin_memcpy(line.byte, from, 64);
  return line;
}
static inline void StoreLine(uint8_t* to, Line line) { __builtin_memcpy(to, line.byte, 64); }
/// Four activation codes, repeated for every row.
static inline Line Broadcast4(const int8_t* from) {
  Line line;
  for (int i = 0; i < 64; i += 4) __builtin_memcpy(line.byte + i, from, 4);
  return line;
}
/// (byte >> kShift) & kMask
template <int kShift, int kMask>
static inline Line Bits(Line line) {
  for (int i = 0; i < 64; ++i) line.byte[i] = static_cast<uint8_t>((line.byte[i] >> kShift) & kMask);
  return line;
}
/// sum[row] += four products of unsigned codes (0..15) and activation codes.
static inline I32x16 DotCodes(I32x16 sum, Line codes, Line x) {
  for (int i = 0; i < 64; ++i) sum.lane[i / 4] += static_cast<int32_t>(codes.byte[i]) * static_cast<int8_t>(x.byte[i]);
  return sum;
}
/// A line of signed codes as DotInt8 wants it, whose result exceeds the true dot by kInt8Offset times the sum of the
/// activation codes.
static inline Line Int8Codes(Line line) { return line; }
static inline I32x16 DotInt8(I32x16 sum, Line codes, Line x) {
  for (int i = 0; i < 64; ++i) {
    sum.lane[i / 4] += static_cast<int32_t>(static_cast<int8_t>(codes.byte[i])) * static_cast<int8_t>(x.byte[i]);
  }
  return sum;
}

/// sum[row] += the dot of kPlanes (at most 5) lines of codes of at most 2 with 4 * kPlanes activation codes from x on.
template <int kPlanes>
static inline I32x16 DotTernary(I32x16 sum, const Line* codes, const int8_t* x) {
  for (int p = 0; p < kPlanes; ++p) sum = DotCodes(sum, codes[p], Broadcast4(x + 4 * p));
  return sum;
}

// Look-up tables: bytes, and the 32 words (of two bytes, low one first) or 16 words of four of a line.
#define EDGELLM_EACH_BYTE(expression)                                              \
  Line result;                                                                     \
  for (int i = 0; i < 64; ++i) result.byte[i] = static_cast<uint8_t>((expression)); \
  return result
#define EDGELLM_EACH_WORD(expression)                        \
  Line result;                                               \
  for (int i = 0; i < 64; i += 2) {                          \
    const int left = a.byte[i] | a.byte[i + 1] << 8;         \
    const int right = b.byte[i] | b.byte[i + 1] << 8;        \
    const unsigned word = static_cast<unsigned>(expression); \
    result.byte[i] = static_cast<uint8_t>(word);             \
    result.byte[i + 1] = static_cast<uint8_t>(word >> 8);    \
  }                                                          \
  return result

static inline Line SplatU8(int value) { EDGELLM_EACH_BYTE(value); }
static inline Line SplatU16(int value) { EDGELLM_EACH_BYTE(i % 2 == 0 ? value : value >> 8); }
static inline Line AddU8(Line a, Line b) { EDGELLM_EACH_BYTE(a.byte[i] + b.byte[i]); }
static inline Line SubU8(Line a, Line b) { EDGELLM_EACH_BYTE(a.byte[i] - b.byte[i]); }
static inline Line MinU8(Line a, Line b) { EDGELLM_EACH_BYTE(a.byte[i] < b.byte[i] ? a.byte[i] : b.byte[i]); }
/// (a + b + 1) / 2
static inline Line AverageU8(Line a, Line b) { EDGELLM_EACH_BYTE((a.byte[i] + b.byte[i] + 1) / 2); }
static inline Line And(Line a, Line b) { EDGELLM_EACH_BYTE(a.byte[i] & b.byte[i]); }
static inline Line AddU16(Line a, Line b) { EDGELLM_EACH_WORD(left + right); }
static inline Line SubU16(Line a, Line b) { EDGELLM_EACH_WORD(left - right); }
/// a + (b >> 8), by words: b's odd bytes.
static inline Line AddHighBytes(Line a, Line b) { EDGELLM_EACH_WORD(left + (right >> 8)); }
template <int kShift>
static inline Line ShiftLeftU16(Line a) { const Line& b = a; EDGELLM_EACH_WORD((left << kShift) + 0 * right); }
/// The low and the high words of the 16 words of four bytes, with their signs.
static inline I32x16 LowWords(Line a) {
  I32x16 result;
  EDGELLM_EACH_LANE(static_cast<int16_t>(a.byte[4 * i] | a.byte[4 * i + 1] << 8));
}
static inline I32x16 HighWords(Line a) {
  I32x16 result;
  EDGELLM_EACH_LANE(static_cast<int16_t>(a.byte[4 * i + 2] | a.byte[4 * i + 3] << 8));
}
/// 16 bytes, four times over.
static inline Line BroadcastTable(const uint8_t* from) { EDGELLM_EACH_BYTE(from[i % 16]); }
/// Each byte of `index`, 0 to 15, becomes the entry that it names of its own 16 bytes of `table`.
static inline Line LookUp(Line table, Line index) { EDGELLM_EACH_BYTE(table.byte[i / 16 * 16 + index.byte[i]]); }
/// Byte `byte` of each four, which holds four codes of two bits, as four bytes.
static inline Line SpreadCodes(Line line, int byte) { EDGELLM_EACH_BYTE(line.byte[i / 4 * 4 + byte] >> 2 * (i % 4) & 3); }
/// Whether there is LookUpDigit<place>: each byte, a sum of four digits (0 to 84, kernels/ternary.h), becomes one of them.
static constexpr bool kHasLookUpDigit = false;

#undef EDGELLM_EACH_BYTE
#undef EDGELLM_EACH_WORD
#undef EDGELLM_EACH_LANE
