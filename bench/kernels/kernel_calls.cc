// Calls one kernel for one token so many times, and nothing else of note: what count_instructions.py counts the
// instructions of.
//
//   kernel_calls ISA dot|tables|dense|int4-g128|… ROWS COLS CALLS     the linear layer; an int4 or int8 format by its
//   name kernel_calls ISA build-tables|quantize 16 COLS CALLS              what precedes it, once a phase
#include <cstdlib>
#include <string>
#include <vector>

#include "backend/cpu/choose_ternary.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/packing.h"
#include "base/error.h"

namespace edgellm::cpu {
namespace {

Packing TernaryByName(const std::string& name) {
  for (const Packing packing : {Packing::kTernary, Packing::kTernaryTables, Packing::kTernaryDense}) {
    if (name == TernaryName(packing)) return packing;
  }
  return Packing::kTernary;
}

void Run(const std::string& isa, const std::string& what, int64_t rows, int64_t cols, int calls) {
  const KernelTable& kernels = ChooseKernels(isa);
  const bool is_format = what.find("int") == 0;
  WeightView view{is_format ? WeightFormat::Parse(what) : WeightFormat{WeightKind::kTernary}, rows, cols};
  const Packing packing = PackingOf(view.format, TernaryByName(what));
  Buffer memory(PackedBytes(view, packing)), x(static_cast<size_t>(RoundUp(cols, 64)) * sizeof(float));
  Buffer codes(static_cast<size_t>(cols + 128)), scales(x.size()), sums(x.size());
  Buffer tables(static_cast<size_t>(cols + 4) * 16), y(static_cast<size_t>(RoundUp(rows, kLanes)) * sizeof(float));
  const PackedMatrix matrix = Place(view, packing, memory.data());
  LinearInput in{};
  in.interleave = 1;
  in.codes = codes.as<int8_t>();
  in.scales = scales.as<float>();
  in.scale_step = is_format ? 1 : 0;
  in.sums = sums.as<int32_t>();
  in.tables = tables.as<uint8_t>();
  for (int call = 0; call < calls; ++call) {
    if (what == "build-tables") {
      kernels.build_tables(in.codes, 0, (cols + 3) / 4, tables.as<uint8_t>());
    } else if (what == "quantize") {
      kernels.quantize(x.as<float>(), cols, cols, cols, 1e-5f, 1, codes.as<int8_t>(), scales.as<float>(),
                       sums.as<int32_t>());
    } else {
      kernels.linear(matrix, 0, matrix.tiles, in, 1, {y.as<float>(), 0, nullptr, false}, nullptr);
    }
  }
}

}  // namespace
}  // namespace edgellm::cpu

int main(int argc, char** argv) {
  if (argc != 6) return 2;
  try {
    edgellm::cpu::Run(argv[1], argv[2], std::atoll(argv[3]), std::atoll(argv[4]), std::atoi(argv[5]));
  } catch (const edgellm::Error& error) {
    fmt::print(stderr, "error: {}\n", error.what());
    return 1;
  }
  return 0;
}
