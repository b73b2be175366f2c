// The linear layer of the kernel table: which kernel takes which packing, for one token and for many; float weights.
// Included inside an instruction set's namespace, after linear.h, one of panels.h and matrix_tiles.h, ternary.h and
// ternary_tables.h; no includes here.

template <typename Lines, typename Meaning>
static void IntegerLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                         const LinearOutput& out, uint8_t* scratch) {
  if (in.interleave > 1) return PromptLayer<Lines, Meaning>(m, first, last, in, tokens, out, scratch);
  for (int64_t tile = first; tile < last; ++tile) DecodeTile<Lines, Meaning>(m, tile, in, out);
}

/// Sums of floats over k in its order.
template <typename Element, int kTiles, int kTokens>
static inline void FloatTiles(const PackedMatrix& m, int64_t tile, const LinearInput& in, int64_t token,
                              const LinearOutput& out) {
  const float* x[kTokens];
  for (int t = 0; t < kTokens; ++t) x[t] = in.values + static_cast<size_t>(token + t) * in.value_stride;
  F32x16 y[kTiles][kTokens];
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) y[i][t] = Set1(0.0f);
  }
  const Element* w = reinterpret_cast<const Element*>(m.codes) + tile * m.cols * kLanes;
  for (int64_t k = 0; k < m.cols; ++k) {
    EDGELLM_UNROLL
    for (int i = 0; i < kTiles; ++i) {
      const F32x16 weight = LoadAs(w + (i * m.cols + k) * kLanes);
      EDGELLM_UNROLL
      for (int t = 0; t < kTokens; ++t) y[i][t] = Fma(weight, Set1(x[t][k]), y[i][t]);
    }
  }
  for (int i = 0; i < kTiles; ++i) {
    for (int t = 0; t < kTokens; ++t) StoreTile(y[i][t], tile + i, token + t, out);
  }
}

/// Tiles by four, since sums that run in the order of k are slow one by one; tokens by kTokenBlock.
template <typename Element>
static void FloatLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                       const LinearOutput& out) {
  constexpr int kTiles = 4, kTokens = 4;
  int64_t tile = first;
  for (; tile + kTiles <= last; tile += kTiles) {
    int64_t token = 0;
    for (; token + kTokens <= tokens; token += kTokens) FloatTiles<Element, kTiles, kTokens>(m, tile, in, token, out);
    for (; token < tokens; ++token) FloatTiles<Element, kTiles, 1>(m, tile, in, token, out);
  }
  for (; tile < last; ++tile) {
    int64_t token = 0;
    for (; token + kTokens <= tokens; token += kTokens) FloatTiles<Element, 1, kTokens>(m, tile, in, token, out);
    for (; token < tokens; ++token) FloatTiles<Element, 1, 1>(m, tile, in, token, out);
  }
}

static void LinearLayer(const PackedMatrix& m, int64_t first, int64_t last, const LinearInput& in, int64_t tokens,
                        const LinearOutput& out, uint8_t* scratch) {
  switch (m.packing) {
    case Packing::kF32: return FloatLayer<float>(m, first, last, in, tokens, out);
    case Packing::kF16: return FloatLayer<uint16_t>(m, first, last, in, tokens, out);
    case Packing::kBf16: return FloatLayer<Bf16>(m, first, last, in, tokens, out);
    case Packing::kInt8:
      return IntegerLayer<Int8Lines, Meaning<Int8Lines::kOffset, false, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kInt4:
      return IntegerLayer<Int4Lines, Meaning<Int4Lines::kOffset, false, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kInt4Zero:
      return IntegerLayer<Int4Lines, Meaning<0, true, true>>(m, first, last, in, tokens, out, scratch);
    case Packing::kTernary:
      return IntegerLayer<TernaryLines, Meaning<TernaryLines::kOffset, false, false>>(m, first, last, in, tokens, out, scratch);
    case Packing::kTernaryDense:
      return IntegerLayer<DenseLines, Meaning<DenseLines::kOffset, false, false>>(m, first, last, in, tokens, out, scratch);
    case Packing::kTernaryTables: return TablesLayer(m, first, last, in, tokens, out, scratch);
  }
}
