// The CPU backend: workers walk the bound phases of a plan, each does its share, and they meet at a barrier. Shares are
// fixed by the sizes alone and every row's arithmetic is independent of the others, so threads and batches do not
// change a bit.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "backend/backend.h"
#include "backend/cpu/isa.h"
#include "backend/cpu/phases.h"
#include "backend/sampler.h"
#include "base/error.h"
#include "quant/codec.h"

namespace edgellm {
namespace cpu {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits,
             const BackendOptions& options)
      : plan_(plan),
        limits_(limits),
        kernels_(ChooseKernels(options.isa)),
        workers_(options.threads),
        bound_(BindPlan(plan_, weights, limits.batch_tokens, limits.logit_rows, workers_)) {
    padded_dim_ = static_cast<int>(RoundUp(plan.head_dim, kLanes));
    const size_t element = limits.kv == KvType::kF16 ? 2 : 4;
    head_bytes_ = static_cast<size_t>(kPageTokens) * static_cast<size_t>(plan.head_dim + padded_dim_) * element;
    page_bytes_ = head_bytes_ * static_cast<size_t>(plan.kv_heads);
    layer_bytes_ = page_bytes_ * static_cast<size_t>(limits.pages);
    cache_ = Buffer(layer_bytes_ * static_cast<size_t>(plan.layers));
    scratch_stride_ =
        static_cast<size_t>(RoundUp((plan.heads / plan.kv_heads) * (padded_dim_ + 48) + 2 * padded_dim_, 64));
    scratch_ = Buffer(scratch_stride_ * sizeof(float) * static_cast<size_t>(workers_.size()));
    sampled_.resize(static_cast<size_t>(limits.logit_rows));
    const int samplers = std::min(workers_.size(), std::max(1, limits.logit_rows));
    for (int i = 0; i < samplers; ++i) samplers_.emplace_back(plan.vocab);
    FillRotaryTable();
  }

  void Forward(const Batch& batch) override {
    batch_ = &batch;
    workers_.Run(walk_);
    sampled_rows_ = batch.sampling.size();
    batch_ = nullptr;
  }

  std::span<const SampledToken> Sampled() const override { return {sampled_.data(), sampled_rows_}; }

  std::span<const float> LogitsOf(int logit_row) const override {
    return {bound_.logits.Row(static_cast<size_t>(logit_row)), static_cast<size_t>(plan_.vocab)};
  }

  void CopyPages(std::span<const std::pair<int32_t, int32_t>> pages) override {
    for (const auto& [from, to] : pages) {
      for (int layer = 0; layer < plan_.layers; ++layer) {
        uint8_t* base = CacheOf(layer);
        std::memcpy(base + static_cast<size_t>(to) * page_bytes_, base + static_cast<size_t>(from) * page_bytes_,
                    page_bytes_);
      }
    }
  }

  BackendInfo Describe() const override {
    return {.name = "cpu",
            .isa = kernels_.name,
            .threads = workers_.size(),
            .weight_bytes = bound_.weight_bytes,
            .kv_bytes = cache_.size()};
  }

  void SetStepTimes(StepTimes* times) override { times_ = times; }

 private:
  using Clock = std::chrono::steady_clock;

  void FillRotaryTable() {
    const size_t half = static_cast<size_t>(plan_.head_dim) / 2, positions = static_cast<size_t>(limits_.context);
    rotary_ = Buffer(positions * half * 2 * sizeof(float));
    float* out = rotary_.as<float>();
    for (size_t position = 0; position < positions; ++position) {
      for (size_t i = 0; i < half; ++i) {
        // The angle is rounded to float first, as the models were trained with.
        const double angle = static_cast<float>(position) * plan_.rope_inverse_frequencies[i];
        out[position * 2 * half + i] = static_cast<float>(std::cos(angle));
        out[position * 2 * half + half + i] = static_cast<float>(std::sin(angle));
      }
    }
  }

  uint8_t* CacheOf(int layer) { return cache_.as<uint8_t>() + static_cast<size_t>(layer) * layer_bytes_; }
  float* ScratchOf(int worker) { return scratch_.as<float>() + static_cast<size_t>(worker) * scratch_stride_; }
  const int32_t* PagesOf(size_t token) const {
    return batch_->pages.data() +
           static_cast<size_t>(batch_->sequences[token]) * static_cast<size_t>(batch_->pages_per_sequence);
  }
  int64_t RowsOf(bool logit_rows) const {
    return static_cast<int64_t>(logit_rows ? batch_->logit_rows.size() : batch_->tokens.size());
  }

  void Walk(int worker) {
    const bool timing = worker == 0 && times_ != nullptr;
    auto started = timing ? Clock::now() : Clock::time_point();
    for (size_t i = 0; i < bound_.phases.size(); ++i) {
      std::visit([&](const auto& p) { Run(p, worker); }, bound_.phases[i]);
      workers_.Barrier();
      if (!timing) continue;
      const auto now = Clock::now();
      times_->nanoseconds[static_cast<size_t>(bound_.kinds[i])] += (now - started) / std::chrono::nanoseconds(1);
      started = now;
    }
  }

  void Run(const EmbedPhase& phase, int worker) {
    const auto [first, last] = SliceOf(RowsOf(false), worker, workers_.size());
    for (auto t = static_cast<size_t>(first); t < static_cast<size_t>(last); ++t) {
      DecodeRow(phase.table, batch_->tokens[t], {bound_.residual.Row(t), static_cast<size_t>(plan_.hidden)});
    }
  }

  void Run(const PreparePhase& phase, int worker) {
    const auto [first, last] = SliceOf(RowsOf(phase.logit_rows), worker, workers_.size());
    for (auto row = static_cast<size_t>(first); row < static_cast<size_t>(last); ++row) {
      const size_t token = phase.logit_rows ? static_cast<size_t>(batch_->logit_rows[row]) : row;
      float* values = phase.values.Row(row);
      if (phase.norm != nullptr) {
        kernels_.rms_norm(phase.in.Row(token), phase.norm, phase.cols, plan_.norm_epsilon, values);
      }
      for (const InputForm& form : phase.forms) {
        kernels_.quantize(values, phase.cols, form.group, form.sum_group, form.floor,
                          form.codes + row * form.code_stride, form.scales + row * form.scale_stride,
                          form.sums + row * form.sum_stride);
      }
    }
  }

  void Run(const LinearPhase& phase, int worker) {
    int64_t tiles = 0;
    for (const LinearPart& part : phase.parts) tiles += part.matrix->tiles;
    const auto [first, last] = SliceOf(tiles, worker, workers_.size());
    int64_t begin = 0;
    for (const LinearPart& part : phase.parts) {
      const int64_t from = std::max(first - begin, int64_t{0}), to = std::min(last - begin, part.matrix->tiles);
      if (from < to) kernels_.linear(*part.matrix, from, to, part.in, RowsOf(phase.logit_rows), part.out);
      begin += part.matrix->tiles;
    }
  }

  void Run(const GatePhase& phase, int worker) {
    const auto [first, last] = SliceOf(phase.gate.matrix->tiles, worker, workers_.size());
    if (first == last) return;
    const int64_t tokens = RowsOf(false);
    kernels_.linear(*phase.gate.matrix, first, last, phase.gate.in, tokens, phase.gate.out);
    kernels_.linear(*phase.up.matrix, first, last, phase.up.in, tokens, phase.up.out);
    for (size_t t = 0; t < static_cast<size_t>(tokens); ++t) {
      kernels_.gate(phase.relu2, bound_.gate.Row(t) + first * kLanes, bound_.up.Row(t) + first * kLanes,
                    (last - first) * kLanes, bound_.ffn.Row(t) + first * kLanes);
    }
  }

  /// Norms (where given) and rotates one head in place.
  void FinishHead(float* head, const float* norm, const float* rotary, float* scratch) {
    const int dim = plan_.head_dim;
    if (norm != nullptr) {
      std::copy_n(head, dim, scratch);
      std::fill(scratch + dim, scratch + padded_dim_, 0.0f);
      kernels_.rms_norm(scratch, norm, dim, plan_.norm_epsilon, scratch + padded_dim_);
      std::copy_n(scratch + padded_dim_, dim, head);
    }
    kernels_.rotate(head, rotary, rotary + dim / 2, dim / 2);
  }

  void Run(const RotatePhase& phase, int worker) {
    const int64_t dim = plan_.head_dim;
    const int sharing = plan_.heads / plan_.kv_heads;
    const auto [first, last] = SliceOf(RowsOf(false) * plan_.kv_heads, worker, workers_.size());
    for (int64_t item = first; item < last; ++item) {
      const auto t = static_cast<size_t>(item / plan_.kv_heads);
      const int64_t kv_head = item % plan_.kv_heads;
      const int32_t position = batch_->positions[t];
      const float* rotary = rotary_.as<float>() + static_cast<int64_t>(position) * dim;
      for (int64_t head = kv_head * sharing; head < (kv_head + 1) * sharing; ++head) {
        FinishHead(bound_.query.Row(t) + head * dim, phase.q_norm, rotary, ScratchOf(worker));
      }
      float* key = bound_.key.Row(t) + kv_head * dim;
      FinishHead(key, phase.k_norm, rotary, ScratchOf(worker));
      const int32_t page = PagesOf(t)[position / kPageTokens];
      uint8_t* place =
          CacheOf(phase.layer) + static_cast<size_t>(page) * page_bytes_ + static_cast<size_t>(kv_head) * head_bytes_;
      kernels_.store(key, bound_.value.Row(t) + kv_head * dim, place, position % kPageTokens, plan_.head_dim,
                     padded_dim_, limits_.kv == KvType::kF16);
    }
  }

  void Run(const AttendPhase& phase, int worker) {
    const int64_t dim = plan_.head_dim;
    const int sharing = plan_.heads / plan_.kv_heads;
    const int64_t items = RowsOf(false) * plan_.kv_heads;
    // Dealt out in turn: in a prompt later tokens cost more than earlier ones.
    for (int64_t item = worker; item < items; item += workers_.size()) {
      const auto t = static_cast<size_t>(item / plan_.kv_heads);
      const int64_t kv_head = item % plan_.kv_heads;
      const AttendTask task{
          .query = bound_.query.Row(t) + kv_head * sharing * dim,
          .cache = CacheOf(phase.layer) + static_cast<size_t>(kv_head) * head_bytes_,
          .page_stride = page_bytes_,
          .pages = PagesOf(t),
          .context = int64_t{batch_->positions[t]} + 1,
          .heads = sharing,
          .head_dim = plan_.head_dim,
          .padded_dim = padded_dim_,
          .scale = phase.scale,
          .f16 = limits_.kv == KvType::kF16,
          .out = bound_.attention.Row(t) + kv_head * sharing * dim,
          .scratch = ScratchOf(worker),
      };
      kernels_.attend(task);
    }
  }

  void Run(const SamplePhase&, int worker) {
    const size_t rows = batch_->sampling.size(), crew = samplers_.size();
    if (static_cast<size_t>(worker) >= crew) return;
    for (size_t row = static_cast<size_t>(worker); row < rows; row += crew) {
      sampled_[row] =
          samplers_[static_cast<size_t>(worker)].Sample(LogitsOf(static_cast<int>(row)), batch_->sampling[row]);
    }
  }

  Plan plan_;
  BackendLimits limits_;
  const KernelTable& kernels_;
  WorkerPool workers_;
  BoundPlan bound_;
  int padded_dim_ = 0;                                        // head_dim up to a multiple of kLanes
  size_t head_bytes_ = 0, page_bytes_ = 0, layer_bytes_ = 0;  // of the cache: one head of one page; a page; a layer
  Buffer cache_;   // [layer][page][kv head]: keys [head_dim][16], values [16][padded_dim]
  Buffer rotary_;  // [position][cosine half | sine half]
  Buffer scratch_;
  size_t scratch_stride_ = 0;  // floats per worker
  std::vector<Sampler> samplers_;
  std::vector<SampledToken> sampled_;
  size_t sampled_rows_ = 0;
  const Batch* batch_ = nullptr;
  StepTimes* times_ = nullptr;
  const std::function<void(int)> walk_ = [this](int worker) { Walk(worker); };
};

}  // namespace
}  // namespace cpu

std::unique_ptr<Backend> MakeCpuBackend(const Plan& plan, std::span<const WeightView> weights,
                                        const BackendLimits& limits, const BackendOptions& options) {
  Validate(plan);
  return std::make_unique<cpu::CpuBackend>(plan, weights, limits, options);
}

}  // namespace edgellm
