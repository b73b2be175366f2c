// How fast one token passes ternary matrices in each packing, on every instruction set that this machine runs: the
// layers of BitNet b1.58 2B4T (hidden 2560, 20 heads, 5 key/value heads of 128, ffn 6912), as many of them as lie in no
// cache, through the same code by which the CPU backend chooses at load. Weights are zeros: no kernel's speed depends
// on them.
//
//   ternary_bench [--threads 1,2] [--isa NAME,...] [--rounds 7] [--layers 15] >FILE.json
#include <algorithm>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "backend/cpu/choose_ternary.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/packing.h"
#include "bench/percentiles.h"
#include "bench/read_bandwidth.h"

namespace edgellm::cpu {
namespace {

struct Shape {
  const char* name;
  std::vector<std::pair<int64_t, int64_t>> matrices;  // rows, cols; they share an input
};

const std::vector<Shape> kPhases = {{"qkv", {{2560, 2560}, {640, 2560}, {640, 2560}}},
                                    {"attention out", {{2560, 2560}}},
                                    {"gate and up", {{6912, 2560}, {6912, 2560}}},
                                    {"down", {{2560, 6912}}}};

TernaryPhase PhaseOf(const Shape& shape) {
  TernaryPhase phase;
  for (const auto& [rows, cols] : shape.matrices) phase.push_back({{WeightKind::kTernary}, rows, cols});
  return phase;
}

struct Case {
  std::string name;
  std::vector<TernaryPhase> phases;
  double weights = 0;
};

Case Repeated(const std::string& name, const std::vector<Shape>& shapes, int times) {
  Case made{name, {}};
  for (int i = 0; i < times; ++i) {
    for (const Shape& shape : shapes) {
      made.phases.push_back(PhaseOf(shape));
      for (const auto& [rows, cols] : shape.matrices) made.weights += static_cast<double>(rows * cols);
    }
  }
  return made;
}

nlohmann::ordered_json Measure(const Case& measured, const KernelTable& kernels, WorkerPool& workers, int rounds) {
  constexpr Packing kPackings[] = {Packing::kTernary, Packing::kTernaryTables, Packing::kTernaryDense};
  Buffer memory(TernaryTrialBytes(measured.phases));
  workers.Run([&](int worker) {
    const Slice part = SliceOf(static_cast<int64_t>(memory.size()), worker, workers.size());
    std::fill(memory.data() + part.first, memory.data() + part.last, std::byte{0});
  });
  std::map<Packing, std::vector<double>> rates;
  for (int round = 0; round <= rounds; ++round) {
    for (const Packing packing : kPackings) {  // by turns
      const double seconds = TernarySeconds(measured.phases, packing, kernels, workers, memory, 1);
      if (round > 0) rates[packing].push_back(measured.weights / seconds / 1e9);
    }
  }
  nlohmann::ordered_json result = nlohmann::ordered_json::object();
  for (const Packing packing : kPackings) {
    double bytes = 0;
    for (const TernaryPhase& phase : measured.phases) {
      for (const WeightView& view : phase) bytes += static_cast<double>(PackedBytes(view, packing));
    }
    const Spread spread = SpreadOf(rates[packing]);
    result[TernaryName(packing)] = {
        {"gweights_s", {{"min", spread.min}, {"median", spread.median}, {"max", spread.max}}},
        {"gb_s", spread.median * bytes / measured.weights},
        {"bytes_per_weight", bytes / measured.weights}};
  }
  return result;
}

std::vector<Case> Cases(int layers) {
  std::vector<Case> cases = {Repeated("whole layers", kPhases, layers)};
  for (const Shape& shape : kPhases) {  // each alone, over about as much memory
    double weights = 0;
    for (const auto& [rows, cols] : shape.matrices) weights += static_cast<double>(rows * cols);
    cases.push_back(Repeated(shape.name, {shape}, static_cast<int>(cases.front().weights / weights)));
  }
  cases.push_back(Repeated("one layer, in the cache", kPhases, 1));
  return cases;
}

int Run(int argc, char** argv) {
  std::vector<int> threads = {1, 2};
  std::vector<std::string> names;
  int rounds = 7, layers = 15;
  CLI::App app("ternary kernels side by side");
  app.add_option("--threads", threads)->delimiter(',');
  app.add_option("--isa", names)->delimiter(',');
  app.add_option("--rounds", rounds);
  app.add_option("--layers", layers, "whole layers of 17 MB (two bits a weight); more than the caches hold");
  CLI11_PARSE(app, argc, argv);
  if (names.empty()) {
    for (const KernelTable* kernels : UsableKernels()) names.emplace_back(kernels->name);
  }
  nlohmann::ordered_json results = nlohmann::ordered_json::array();
  for (const int count : threads) {
    const double read = MeasureReadBandwidth(count, size_t{256} << 20, 5).median;
    WorkerPool workers(count);
    for (const std::string& name : names) {
      for (const Case& measured : Cases(layers)) {
        const auto rates = Measure(measured, ChooseKernels(name), workers, rounds);
        results.push_back(
            {{"isa", name}, {"threads", count}, {"read_gb_s", read}, {"matrices", measured.name}, {"kernels", rates}});
        fmt::print(stderr, "{:<12} {} thread(s), {:.1f} GB/s, {:<24}", name, count, read, measured.name);
        for (const auto& [kernel, figures] : rates.items()) {
          fmt::print(stderr, " {} {:.1f}", kernel, figures["gweights_s"]["median"].get<double>());
        }
        fmt::print(stderr, " Gweights/s\n");
      }
    }
  }
  fmt::print("{}\n", results.dump(1));
  return 0;
}

}  // namespace
}  // namespace edgellm::cpu

int main(int argc, char** argv) {
  return edgellm::cpu::Run(argc, argv);
}
