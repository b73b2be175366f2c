// Ternary weights by look-up tables: what a pair of a token's activations can sum up to, nine values, is computed once and then
// looked up for every row instead of multiplied (Wei et al., "T-MAC", 2024, arXiv 2407.00088). T-MAC rounds its tables to
// bytes; these are whole, in two bytes, so that the sums are exact. One token only: prompts unpack the codes and take the
// integer dot product. Included inside an instruction set's namespace, after linear.h and panels.h or matrix_tiles.h; no includes here.

/// Two codes c0 | c1 << 2 (0 to 2 each) name an entry v = (c0 - 1) * x0 + (c1 - 1) * x1 + kTableBias, 1 to 509, which two tables
/// hold as v % 128 and v / 128. Four k have 64 bytes: low and high entries of the first pair, then of the second.
static constexpr int kTableBias = 255;

/// Of the 16 bytes 127 - x0 .. 127 - x3, 127 + x0 .. 127 + x3, 127 ..: which one an entry takes for its code of x[k], k even or
/// odd in its pair.
struct TableChoice {
  alignas(64) uint8_t byte[64];
};
static constexpr TableChoice MakeTableChoice(bool odd) {
  TableChoice choice{};
  for (int i = 0; i < 64; ++i) {
    const int code = odd ? i % 16 / 4 : i % 4;
    const int k = i / 32 * 2 + (odd ? 1 : 0);
    choice.byte[i] = static_cast<uint8_t>(code == 0 ? k : code == 2 ? 4 + k : 8);
  }
  return choice;
}
/// 255 in those of 64 bytes whose `width`-byte parts, counted from 0, are `which` modulo `period`.
static constexpr TableChoice MakeTableMask(int width, int period, int which) {
  TableChoice mask{};
  for (int i = 0; i < 64; ++i) mask.byte[i] = i / width % period == which ? 255 : 0;
  return mask;
}
static constexpr TableChoice kEvenChoice = MakeTableChoice(false), kOddChoice = MakeTableChoice(true);
static constexpr TableChoice kMinusBytes = MakeTableMask(4, 4, 0), kPlusBytes = MakeTableMask(4, 4, 1),
                             kZeroBytes = MakeTableMask(8, 2, 1);
static constexpr TableChoice kLowTables = MakeTableMask(16, 2, 0), kHighTables = MakeTableMask(16, 2, 1);

static void BuildTables(const int8_t* codes, int64_t first_four, int64_t last_four, uint8_t* tables) {
  const Line even = LoadLine(kEvenChoice.byte), odd = LoadLine(kOddChoice.byte);
  const Line minus_bytes = LoadLine(kMinusBytes.byte), plus_bytes = LoadLine(kPlusBytes.byte);
  const Line low_tables = LoadLine(kLowTables.byte), high_tables = LoadLine(kHighTables.byte);
  const Line middle = SplatU8(127), one = SplatU8(1);
  const Line zeros = And(middle, LoadLine(kZeroBytes.byte));
  for (int64_t f = first_four; f < last_four; ++f) {
    const Line x = Broadcast4(codes + 4 * f);
    const Line choices =
        AddU8(AddU8(And(SubU8(middle, x), minus_bytes), And(AddU8(middle, x), plus_bytes)), zeros);
    const Line a = LookUp(choices, even), b = LookUp(choices, odd);
    const Line low = Bits<0, 127>(AddU8(AddU8(a, b), one)), high = Bits<6, 3>(AverageU8(a, b));
    StoreLine(tables + 64 * f, AddU8(And(low, low_tables), And(high, high_tables)));
  }
}

/// At most so many lines are summed up in bytes and words: 32 * 2 * 3 fits a byte, 32 * 2 * 254 an int16.
static constexpr int64_t kTableSpan = 32;
/// Row blocks that are worked on side by side, so that the tables of kTableFours times four k (8 KiB) serve all of them from the
/// first-level cache.
static constexpr int kTableBlocks = 16;

/// Sums of low entries as words: the even bytes and 256 times the odd ones; the odd ones. Sums of high entries.
struct TableSums {
  Line all, odd, high;
};

[[gnu::always_inline]] static inline void LookUpLine(const uint8_t* line, const uint8_t* table, TableSums& sums) {
  Prefetch(line + kPrefetchAhead);
  const Line codes = LoadLine(line);
  const Line first = Bits<0, 15>(codes), second = Bits<4, 15>(codes);
  const Line low = AddU8(LookUp(BroadcastTable(table), first), LookUp(BroadcastTable(table + 32), second));
  const Line high = AddU8(LookUp(BroadcastTable(table + 16), first), LookUp(BroadcastTable(table + 48), second));
  sums.all = AddU16(sums.all, low);
  sums.odd = AddHighBytes(sums.odd, low);
  sums.high = AddU8(sums.high, high);
}

/// dots[tile] += what `count` lines of four tiles look up.
[[gnu::always_inline]] static inline void LookUpSpan(const uint8_t* line, const uint8_t* table, int64_t count, I32x16* dots) {
  TableSums sums = {SplatU8(0), SplatU8(0), SplatU8(0)};
  int64_t n = count;
  for (; n >= 2; n -= 2) {
    LookUpLine(line, table, sums);
    LookUpLine(line + 64, table + 64, sums);
    line += 128;
    table += 128;
  }
  if (n > 0) LookUpLine(line, table, sums);
  const Line all = sums.all, high = sums.high;
  Line odd = sums.odd;
  const Line bias = SplatU16(static_cast<int>(2 * kTableBias * count)), zero = SplatU8(0);
  const Line low_bytes = SplatU16(255);
  const Line even = SubU16(AddU16(SubU16(all, ShiftLeftU16<8>(odd)), ShiftLeftU16<7>(And(high, low_bytes))), bias);
  odd = SubU16(AddU16(odd, ShiftLeftU16<7>(AddHighBytes(zero, high))), bias);
  dots[0] = AddI32(dots[0], LowWords(even));
  dots[1] = AddI32(dots[1], LowWords(odd));
  dots[2] = AddI32(dots[2], HighWords(even));
  dots[3] = AddI32(dots[3], HighWords(odd));
}

/// Where the line of the `four`-th four k of four tiles lies (see PackedMatrix).
static inline const uint8_t* TablesLine(const PackedMatrix& m, int64_t block, int64_t four) {
  const int64_t part = four / kTableFours, within = four % kTableFours;
  const int64_t left = m.blocks - part * kTableFours, part_fours = left < kTableFours ? left : kTableFours;
  const int64_t row_blocks = (m.tiles + kTablesTiles - 1) / kTablesTiles;
  return m.codes + (part * kTableFours * row_blocks + block * part_fours + within) * 64;
}

/// The row blocks [first_block, last_block), kTableBlocks at most; those of their tiles that lie in [first, last) are written.
static void LookUpBlocks(const PackedMatrix& m, int64_t first_block, int64_t last_block, int64_t first, int64_t last,
                         const LinearInput& in, const LinearOutput& out) {
  I32x16 dots[kTableBlocks * kTablesTiles];  // of a group that is not at its end yet
  F32x16 sums[kTableBlocks * kTablesTiles];
  const int64_t group_fours = (m.group + 3) / 4;
  const int64_t tiles = (last_block - first_block) * kTablesTiles, first_tile = first_block * kTablesTiles;
  for (int64_t i = 0; i < tiles; ++i) {
    dots[i] = ZeroI32();
    sums[i] = Set1(0.0f);
  }
  // Parts end where tables leave the cache and where a group ends.
  for (int64_t from = 0; from < m.blocks;) {
    const int64_t g = from / group_fours;
    const int64_t part_end = (from / kTableFours + 1) * kTableFours;
    const int64_t group_end = g + 1 < m.groups ? (g + 1) * group_fours : m.blocks;
    const int64_t to = part_end < group_end ? part_end : group_end;
    for (int64_t block = first_block; block < last_block; ++block) {
      const uint8_t* line = TablesLine(m, block, from);
      for (int64_t f = from; f < to; f += kTableSpan) {
        const int64_t left = to - f;
        const int64_t count = left < kTableSpan ? left : kTableSpan;
        LookUpSpan(line, in.tables + 64 * f, count, dots + (block - first_block) * kTablesTiles);
        line += 64 * count;
      }
    }
    if (to == group_end) {
      for (int64_t i = 0; i < tiles; ++i) {
        const int64_t tile = first_tile + i;
        if (tile < first || tile >= last) continue;
        sums[i] = AddGroup<Meaning<0, false, false>>(sums[i], dots[i], LoadScales<false>(m.scales, tile * m.groups + g),
                                                     Set1(0.0f), 0, in.scales[g * in.scale_step]);
        dots[i] = ZeroI32();
      }
    }
    from = to;
  }
  for (int64_t i = 0; i < tiles; ++i) {
    if (first_tile + i >= first && first_tile + i < last) StoreTile(sums[i], first_tile + i, 0, out);
  }
}

/// How prompts read the same packing: byte `tile` of each four of a line is a row of that tile.
struct TablesLines {
  static constexpr int kPlanes = 1;
  static constexpr bool kSigned = false;
  static inline const uint8_t* LineAt(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from) {
    return TablesLine(m, tile / kTablesTiles, g * ((m.group + 3) / 4) + from);
  }
  static inline void Unpack(const PackedMatrix& m, int64_t tile, int64_t g, int64_t from, int64_t fours, uint8_t* to,
                            int64_t stride) {
    for (const int64_t end = from + fours; from < end; ++from) {
      StoreLine(to, SpreadCodes(LoadLine(LineAt(m, tile, g, from)), static_cast<int>(tile % kTablesTiles)));
      to += stride;
    }
  }
};

static void TablesLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out, uint8_t* scratch) {
  if (in.interleave != 1) return PromptLayer<TablesLines, Meaning<1, false, false>>(m, first, last, in, tokens, out, scratch);
  const int64_t last_block = (last + kTablesTiles - 1) / kTablesTiles;
  for (int64_t block = first / kTablesTiles; block < last_block; block += kTableBlocks) {
    const int64_t end = last_block - block < kTableBlocks ? last_block : block + kTableBlocks;
    LookUpBlocks(m, block, end, first, last, in, out);
  }
}
