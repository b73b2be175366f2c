// See choose_ternary.h.
#include "backend/cpu/choose_ternary.h"

#include <algorithm>
#include <array>
#include <chrono>

#include "backend/cpu/packing.h"
#include "base/error.h"

namespace edgellm::cpu {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::array kPackings = {Packing::kTernary, Packing::kTernaryTables, Packing::kTernaryDense};

/// More than the last-level cache of most machines, so that a pass finds nothing of the one before.
constexpr size_t kTrialBytes = size_t{128} << 20;
/// Of models that are smaller a token takes microseconds, whatever multiplies it.
constexpr size_t kWorthMeasuring = size_t{256} << 10;
/// A pass that takes less is repeated, or the clock and the barriers would be measured.
constexpr double kPassSeconds = 1e-3;
constexpr int kRounds = 3;
constexpr std::chrono::milliseconds kTimeEnough{50};
/// Dot is what prompts and batches unpack with the least work: others have to be faster by more than the noise.
constexpr double kMargin = 1.03;

/// The plan's ternary matrices by phases.
std::vector<TernaryPhase> PhasesOf(const Plan& plan, std::span<const WeightView> weights) {
  std::vector<TernaryPhase> phases;
  const auto add = [&](std::initializer_list<const Linear*> linears) {
    TernaryPhase phase;
    for (const Linear* linear : linears) {
      const WeightView& view = weights[static_cast<size_t>(linear->weight)];
      if (view.format.kind == WeightKind::kTernary) phase.push_back(view);
    }
    if (!phase.empty()) phases.push_back(std::move(phase));
  };
  for (const Step& step : plan.steps) {
    if (const auto* qkv = std::get_if<Qkv>(&step)) add({&qkv->q, &qkv->k, &qkv->v});
    if (const auto* project = std::get_if<Project>(&step)) add({&project->out});
    if (const auto* gate_up = std::get_if<GateUp>(&step)) add({&gate_up->gate, &gate_up->up});
    if (const auto* logits = std::get_if<Logits>(&step)) add({&logits->head});
  }
  return phases;
}

size_t BytesOf(const TernaryPhase& phase, Packing packing) {
  size_t bytes = 0;
  for (const WeightView& view : phase) bytes += PackedBytes(view, packing);
  return bytes;
}

int64_t WeightsOf(std::span<const TernaryPhase> phases) {
  int64_t weights = 0;
  for (const TernaryPhase& phase : phases) {
    for (const WeightView& view : phase) weights += view.rows * view.cols;
  }
  return weights;
}

/// One token's activations and results: zeros.
struct TrialInput {
  int64_t cols = 0, groups = 0, outputs = 0;
  Buffer codes, scales, sums, tables, out;

  explicit TrialInput(std::span<const TernaryPhase> phases) {
    for (const TernaryPhase& phase : phases) {
      int64_t rows = 0;
      for (const WeightView& view : phase) {
        cols = std::max(cols, view.cols);
        groups = std::max(groups, view.format.Groups(view.cols));
        rows += RoundUp(view.rows, kLanes);
      }
      outputs = std::max(outputs, rows);
    }
    codes = Buffer(static_cast<size_t>(RoundUp(cols + kCodeSlack, 64)));
    scales = Buffer(static_cast<size_t>(groups) * sizeof(float));
    sums = Buffer(static_cast<size_t>(groups) * sizeof(int32_t));
    tables = Buffer(static_cast<size_t>((cols + 3) / 4) * 64);
    out = Buffer(static_cast<size_t>(outputs) * sizeof(float));
  }

  LinearInput Linear() const {
    LinearInput in{};
    in.interleave = 1;
    in.codes = codes.as<int8_t>();
    in.scales = scales.as<float>();
    in.sums = sums.as<int32_t>();
    in.tables = tables.as<uint8_t>();
    return in;
  }
};

struct TrialPhase {
  int64_t cols;
  std::vector<PackedMatrix> matrices;
};

void RunPhase(const TrialPhase& phase, TrialInput& input, const KernelTable& kernels, WorkerPool& workers, int worker) {
  if (phase.matrices.front().packing == Packing::kTernaryTables) {
    const auto [first, last] = SliceOf((phase.cols + 3) / 4, worker, workers.size());
    kernels.build_tables(input.codes.as<int8_t>(), first, last, input.tables.as<uint8_t>());
    workers.Barrier(worker);
  }
  float* out = input.out.as<float>();
  for (const PackedMatrix& matrix : phase.matrices) {
    const Slice share = ShareOf(matrix, worker, workers.size());
    kernels.linear(matrix, share.first, share.last, input.Linear(), 1, {out, 0, nullptr, false}, nullptr);
    out += matrix.tiles * kLanes;
  }
  workers.Barrier(worker);
}

}  // namespace

const char* TernaryName(Packing packing) {
  switch (packing) {
    case Packing::kTernary:
      return "dot";
    case Packing::kTernaryTables:
      return "tables";
    case Packing::kTernaryDense:
      return "dense";
    default:
      return "";
  }
}

size_t TernaryTrialBytes(std::span<const TernaryPhase> phases) {
  size_t most = 0;
  for (const Packing packing : kPackings) {
    size_t bytes = 0;
    for (const TernaryPhase& phase : phases) bytes += BytesOf(phase, packing);
    most = std::max(most, bytes);
  }
  return most;
}

double TernarySeconds(std::span<const TernaryPhase> phases, Packing packing, const KernelTable& kernels,
                      WorkerPool& workers, Buffer& memory, int passes) {
  EDGELLM_CHECK(memory.size() >= TernaryTrialBytes(phases), "room for any packing");
  TrialInput input(phases);
  std::vector<TrialPhase> trial;
  std::byte* at = memory.data();
  for (const TernaryPhase& phase : phases) {
    TrialPhase placed{phase.front().cols, {}};
    for (const WeightView& view : phase) {
      placed.matrices.push_back(Place(view, packing, at));
      at += PackedBytes(view, packing);
    }
    trial.push_back(std::move(placed));
  }
  Clock::time_point start, end;
  workers.Run([&](int worker) {
    workers.Barrier(worker);  // all are awake
    if (worker == 0) start = Clock::now();
    for (int pass = 0; pass < passes; ++pass) {
      for (const TrialPhase& phase : trial) RunPhase(phase, input, kernels, workers, worker);
    }
    if (worker == 0) end = Clock::now();
  });
  return std::chrono::duration<double>(end - start).count() / passes;
}

namespace {

/// Measures; what each packing reached goes to `rates`.
Packing Fastest(std::vector<TernaryPhase> phases, const KernelTable& kernels, WorkerPool& workers,
                std::vector<std::pair<std::string, double>>& rates) {
  size_t count = 0, bytes = 0;
  while (count < phases.size() && bytes < kTrialBytes) bytes += BytesOf(phases[count++], Packing::kTernary);
  phases.resize(count);
  Buffer memory(TernaryTrialBytes(phases));
  workers.Run([&](int worker) {  // taken before it is timed, and by who reads it
    constexpr int64_t kPage = 4096;
    const Slice pages = SliceOf(static_cast<int64_t>(memory.size()) / kPage, worker, workers.size());
    for (int64_t page = pages.first; page < pages.last; ++page) memory.data()[page * kPage] = std::byte{0};
  });
  const auto weights = static_cast<double>(WeightsOf(phases));
  std::array<double, kPackings.size()> best{};
  const auto start = Clock::now();
  int passes = 1;
  for (int round = 0; round < kRounds && (round == 0 || Clock::now() - start < kTimeEnough); ++round) {
    for (size_t i = 0; i < kPackings.size(); ++i) {
      const double seconds = std::max(TernarySeconds(phases, kPackings[i], kernels, workers, memory, passes), 1e-9);
      best[i] = std::max(best[i], weights / seconds);
      if (round == 0 && i == 0) passes = static_cast<int>(std::clamp(kPassSeconds / seconds, 1.0, 16.0));
    }
  }
  size_t chosen = 0;
  for (size_t i = 0; i < kPackings.size(); ++i) {
    rates.emplace_back(TernaryName(kPackings[i]), best[i]);
    if (best[i] > best[chosen] * (chosen == 0 ? kMargin : 1.0)) chosen = i;
  }
  return kPackings[chosen];
}

}  // namespace

TernaryChoice ChooseTernary(const Plan& plan, std::span<const WeightView> weights, std::string_view wanted,
                            const KernelTable& kernels, WorkerPool& workers) {
  TernaryChoice choice;
  const auto named =
      std::find_if(kPackings.begin(), kPackings.end(), [&](Packing p) { return wanted == TernaryName(p); });
  if (!wanted.empty() && named == kPackings.end()) {
    Fail(ErrorCode::kInvalidArgument, "no ternary kernel is called '{}'; there are dot, tables and dense", wanted);
  }
  const std::vector<TernaryPhase> phases = PhasesOf(plan, weights);
  if (phases.empty()) return choice;
  if (!wanted.empty()) {
    choice.packing = *named;
  } else if (TernaryTrialBytes(phases) >= kWorthMeasuring) {
    choice.packing = Fastest(phases, kernels, workers, choice.rates);
  }
  choice.name = TernaryName(choice.packing);
  size_t stored = 0, packed = 0;
  for (const TernaryPhase& phase : phases) {
    for (const WeightView& view : phase) stored += view.format.TotalBytes(view.rows, view.cols);
    packed += BytesOf(phase, choice.packing);
  }
  choice.share = static_cast<double>(packed) / static_cast<double>(stored);
  return choice;
}

}  // namespace edgellm::cpu
