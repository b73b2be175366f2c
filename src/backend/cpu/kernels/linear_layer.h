// A linear layer by its matrix's packing. Included inside an instruction set's namespace, after linear.h and ternary.h; no
// includes here.

static size_t LinearScratch(int64_t tokens) {
  return static_cast<size_t>(kPartFours) * kTileBlock * 64 +
         static_cast<size_t>((tokens + kPanelTokens - 1) / kPanelTokens) * sizeof(PanelSums);
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
