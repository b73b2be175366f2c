// The CPU backend: workers walk the bound phases of a plan, each does its share, and they meet at a barrier. Shares are
// fixed by the sizes alone and every row's arithmetic is independent of the others, so threads and batches do not
// change a bit.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <numeric>

#include "backend/backend.h"
#include "backend/cpu/choose_ternary.h"
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
        ternary_(ChooseTernary(plan_, weights, options.ternary, kernels_, workers_)),
        bound_(BindPlan(plan_, weights, limits.batch_tokens, limits.logit_rows, ternary_.packing, workers_)) {
    padded_dim_ = static_cast<int>(RoundUp(plan.head_dim, kLanes));
    const size_t element = limits.kv == KvType::kF16 ? 2 : 4;
    head_bytes_ = static_cast<size_t>(kPageTokens) * static_cast<size_t>(plan.head_dim + padded_dim_) * element;
    page_bytes_ = head_bytes_ * static_cast<size_t>(plan.kv_heads);
    layer_bytes_ = page_bytes_ * static_cast<size_t>(limits.pages);
    cache_ = Buffer(layer_bytes_ * static_cast<size_t>(plan.layers));
    TouchCache();
    const auto attend_bytes = static_cast<size_t>(kAttendRows * (padded_dim_ + kAttendPositions)) * sizeof(float);
    scratch_stride_ = std::max(attend_bytes, kernels_.linear_scratch(std::max(limits.batch_tokens, limits.logit_rows)));
    scratch_stride_ = static_cast<size_t>(RoundUp(static_cast<int64_t>(scratch_stride_), 64));
    scratch_ = Buffer(scratch_stride_ * static_cast<size_t>(workers_.size()));
    blocks_.reserve(static_cast<size_t>(limits.batch_tokens));
    hidden_rows_.reserve(static_cast<size_t>(limits.batch_tokens));
    sampled_.resize(static_cast<size_t>(limits.logit_rows));
    const int samplers = std::min(workers_.size(), std::max(1, limits.logit_rows));
    for (int i = 0; i < samplers; ++i) samplers_.emplace_back(plan.vocab);
    FillRotaryTable();
  }

  void Forward(const Batch& batch) override {
    batch_ = &batch;
    FindBlocks();
    workers_.RunSteady(walk_);
    sampled_rows_ = batch.sampling.size();
    hidden_rows_.assign(batch.hidden_rows.begin(), batch.hidden_rows.end());
    batch_ = nullptr;
  }

  std::span<const SampledToken> Sampled() const override { return {sampled_.data(), sampled_rows_}; }

  std::span<const float> LogitsOf(int logit_row) const override {
    return {bound_.logits.Row(static_cast<size_t>(logit_row)), static_cast<size_t>(plan_.vocab)};
  }

  std::span<const float> HiddenOf(int hidden_row) const override {
    const auto token = static_cast<size_t>(hidden_rows_[static_cast<size_t>(hidden_row)]);
    return {bound_.residual.Row(token), static_cast<size_t>(plan_.hidden)};
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
            .kv_bytes = cache_.size(),
            .ternary = ternary_.name,
            .ternary_share = ternary_.share,
            .ternary_rates = ternary_.rates};
  }

  void SetStepTimes(StepTimes* times) override { times_ = times; }

 private:
  using Clock = std::chrono::steady_clock;

  /// Consecutive tokens of one sequence in the batch.
  struct TokenBlock {
    int first, count;
  };

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
  uint8_t* ScratchOf(int worker) { return scratch_.as<uint8_t>() + static_cast<size_t>(worker) * scratch_stride_; }
  const int32_t* PagesOf(size_t token) const {
    return batch_->pages.data() +
           static_cast<size_t>(batch_->sequences[token]) * static_cast<size_t>(batch_->pages_per_sequence);
  }
  int64_t RowsOf(bool logit_rows) const {
    return static_cast<int64_t>(logit_rows ? batch_->logit_rows.size() : batch_->tokens.size());
  }

  /// Pages of memory are taken now, not in the middle of an answer.
  void TouchCache() {
    workers_.Run([this](int worker) {
      const Slice slice = SliceOf(static_cast<int64_t>(cache_.size()), worker, workers_.size());
      std::memset(cache_.data() + slice.first, 0, static_cast<size_t>(slice.last - slice.first));
    });
  }

  /// Consecutive tokens of one sequence: about as many as attention takes at once, and so that their rows fill it.
  void FindBlocks() {
    const int sharing = plan_.heads / plan_.kv_heads;
    const int most = std::lcm(sharing, kAttendRows) / sharing;
    blocks_.clear();
    for (int t = 0; t < static_cast<int>(batch_->tokens.size()); ++t) {
      const auto token = static_cast<size_t>(t);
      const bool joins = !blocks_.empty() && blocks_.back().count < most &&
                         batch_->sequences[token] == batch_->sequences[token - 1] &&
                         batch_->positions[token] == batch_->positions[token - 1] + 1;
      if (joins) {
        ++blocks_.back().count;
      } else {
        blocks_.push_back({t, 1});
      }
    }
  }

  void Walk(int worker) {
    const bool timing = worker == 0 && times_ != nullptr;
    auto started = timing ? Clock::now() : Clock::time_point();
    for (size_t i = 0; i < bound_.phases.size(); ++i) {
      std::visit([&](const auto& p) { Run(p, worker); }, bound_.phases[i]);
      workers_.Barrier(worker);
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

  /// Norms and quantises the rows [first, last) of a phase's input.
  void PrepareRows(const Preparation& input, const InputBuffers& buffers, int64_t first, int64_t last) {
    const int64_t interleave = InterleaveOf(input);
    for (int64_t row = first; row < last; ++row) {
      const auto index = static_cast<size_t>(row);
      const size_t token = input.logit_rows ? static_cast<size_t>(batch_->logit_rows[index]) : index;
      const float* values = input.in.Row(token);
      if (input.norm != nullptr) {
        float* normed = buffers.normed.Row(index);
        kernels_.rms_norm(values, input.norm, input.cols, plan_.norm_epsilon, normed);
        values = normed;
      }
      const auto panel = static_cast<size_t>(row / interleave), within = static_cast<size_t>(row % interleave);
      const size_t group_at = panel * bound_.group_stride * static_cast<size_t>(interleave) + within;
      for (size_t f = 0; f < input.forms.size(); ++f) {
        const InputForm& form = input.forms[f];
        const InputBuffers::Quantised& to = buffers.forms[f];
        kernels_.quantize(values, input.cols, form.group, form.sum_group, form.floor, interleave,
                          to.codes + panel * bound_.code_stride * static_cast<size_t>(interleave) +
                              within * static_cast<size_t>(kernels_.panel_chunk),
                          to.scales + group_at, to.sums + group_at);
      }
    }
  }

  int64_t InterleaveOf(const Preparation& input) const {
    return RowsOf(input.logit_rows) == 1 ? 1 : kernels_.panel_tokens;
  }

  /// To be called by every worker: after it, the returned buffers hold the phase's input.
  const InputBuffers& Prepare(const Preparation& input, int worker) {
    const int64_t rows = RowsOf(input.logit_rows);
    if (rows <= kPrivateTokens) {
      const InputBuffers& own = bound_.private_inputs[static_cast<size_t>(worker)];
      PrepareRows(input, own, 0, rows);
      if (rows == 1) BuildTables(input, own, worker);
      return own;
    }
    const auto [first, last] = SliceOf(rows, worker, workers_.size());
    PrepareRows(input, bound_.shared_input, first, last);
    workers_.Barrier(worker);
    return bound_.shared_input;
  }

  /// Look-up tables for one token, where the phase wants them: every worker makes a part from its own codes.
  void BuildTables(const Preparation& input, const InputBuffers& own, int worker) {
    bool built = false;
    for (size_t f = 0; f < input.forms.size(); ++f) {
      if (!input.forms[f].tables) continue;
      const auto [first, last] = SliceOf((input.cols + 3) / 4, worker, workers_.size());
      kernels_.build_tables(own.forms[f].codes, first, last, bound_.tables[f]);
      built = true;
    }
    if (built) workers_.Barrier(worker);
  }

  /// The tiles [first, last) of one linear layer.
  void RunLinear(const Preparation& input, const InputBuffers& buffers, const LinearPart& part, Slice tiles,
                 int worker) {
    if (tiles.first >= tiles.last) return;
    const Rows& values = input.norm != nullptr ? buffers.normed : input.in;
    LinearInput in{};
    in.values = values.values;
    in.value_stride = values.stride;
    if (part.form >= 0) {
      const auto index = static_cast<size_t>(part.form);
      const InputBuffers::Quantised& quantised = buffers.forms[index];
      in.interleave = InterleaveOf(input);
      in.codes = quantised.codes;
      in.code_stride = bound_.code_stride * static_cast<size_t>(in.interleave);
      in.scales = quantised.scales;
      in.scale_step = input.forms[index].group == input.forms[index].sum_group ? 1 : 0;
      in.sums = quantised.sums;
      in.tables = bound_.tables[index];
      in.group_stride = bound_.group_stride * static_cast<size_t>(in.interleave);
    }
    kernels_.linear(*part.matrix, tiles.first, tiles.last, in, RowsOf(input.logit_rows), part.out, ScratchOf(worker));
  }

  void Run(const LinearPhase& phase, int worker) {
    const InputBuffers& buffers = Prepare(phase.input, worker);
    RunLinear(phase.input, buffers, phase.part, ShareOf(*phase.part.matrix, worker, workers_.size()), worker);
  }

  void Run(const GatePhase& phase, int worker) {
    // Of many tokens few tiles, which are still in the cache when they are multiplied.
    const int64_t tiles_at_once = batch_->tokens.size() == 1 ? phase.gate.matrix->tiles : 12;
    const InputBuffers& buffers = Prepare(phase.input, worker);
    const auto [first, last] = ShareOf(*phase.gate.matrix, worker, workers_.size());
    for (int64_t tile = first; tile < last; tile += tiles_at_once) {
      const Slice tiles = {tile, std::min(last, tile + tiles_at_once)};
      RunLinear(phase.input, buffers, phase.gate, tiles, worker);
      RunLinear(phase.input, buffers, phase.up, tiles, worker);
      for (size_t t = 0; t < batch_->tokens.size(); ++t) {
        kernels_.gate(phase.relu2, bound_.gate.Row(t) + tile * kLanes, bound_.up.Row(t) + tile * kLanes,
                      (tiles.last - tile) * kLanes, bound_.ffn.Row(t) + tile * kLanes);
      }
    }
  }

  void Run(const QkvPhase& phase, int worker) {
    const InputBuffers& buffers = Prepare(phase.input, worker);
    // Tiles of a unit: as many as whole heads fill.
    const int64_t unit = std::lcm(int64_t{plan_.head_dim}, int64_t{kLanes}) / kLanes;
    const auto units = [&](const LinearPart& part) { return (part.matrix->tiles + unit - 1) / unit; };
    const auto [first, last] = SliceOf(units(phase.q) + units(phase.k) + units(phase.v), worker, workers_.size());
    int64_t begin = 0;
    for (const LinearPart* part : {&phase.q, &phase.k, &phase.v}) {
      const Slice tiles = {std::clamp(first - begin, int64_t{0}, units(*part)) * unit,
                           std::min(std::clamp(last - begin, int64_t{0}, units(*part)) * unit, part->matrix->tiles)};
      begin += units(*part);
      if (tiles.first >= tiles.last) continue;
      RunLinear(phase.input, buffers, *part, tiles, worker);
      const int64_t heads = part == &phase.q ? plan_.heads : plan_.kv_heads;
      const int64_t from = tiles.first * kLanes / plan_.head_dim;
      const int64_t to = std::min(heads, tiles.last * kLanes / plan_.head_dim);
      for (size_t t = 0; t < batch_->tokens.size(); ++t) {
        for (int64_t head = from; head < to; ++head) FinishHead(phase, *part, t, head, worker);
      }
    }
  }

  /// What is left to do with one head of q, k or v of one token.
  void FinishHead(const QkvPhase& phase, const LinearPart& part, size_t token, int64_t head, int worker) {
    const int64_t dim = plan_.head_dim;
    const int32_t position = batch_->positions[token];
    const float* rotary = rotary_.as<float>() + static_cast<int64_t>(position) * dim;
    const bool f16 = limits_.kv == KvType::kF16;
    if (&part == &phase.q) {
      NormAndRotate(bound_.query.Row(token) + head * dim, phase.q_norm, rotary, worker);
      return;
    }
    const int32_t page = PagesOf(token)[position / kPageTokens];
    uint8_t* place =
        CacheOf(phase.layer) + static_cast<size_t>(page) * page_bytes_ + static_cast<size_t>(head) * head_bytes_;
    if (&part == &phase.k) {
      float* key = bound_.key.Row(token) + head * dim;
      NormAndRotate(key, phase.k_norm, rotary, worker);
      kernels_.store_key(key, place, position % kPageTokens, plan_.head_dim, f16);
    } else {
      kernels_.store_value(bound_.value.Row(token) + head * dim, place, position % kPageTokens, plan_.head_dim,
                           padded_dim_, f16);
    }
  }

  void NormAndRotate(float* head, const float* norm, const float* rotary, int worker) {
    const int dim = plan_.head_dim;
    if (norm != nullptr) {
      float* padded = reinterpret_cast<float*>(ScratchOf(worker));  // a head need not end where the padding begins
      std::copy_n(head, dim, padded);
      std::fill(padded + dim, padded + padded_dim_, 0.0f);
      kernels_.rms_norm(padded, norm, dim, plan_.norm_epsilon, padded + padded_dim_);
      std::copy_n(padded + padded_dim_, dim, head);
    }
    kernels_.rotate(head, rotary, rotary + dim / 2, dim / 2);
  }

  /// The rows [first, last) of (token of the block, query head) that share one key/value head.
  void AttendBlock(const AttendPhase& phase, const TokenBlock& block, int64_t kv_head, int64_t first, int64_t last,
                   int worker) {
    const int64_t dim = plan_.head_dim, sharing = plan_.heads / plan_.kv_heads;
    AttendTask task{};
    task.cache = CacheOf(phase.layer) + static_cast<size_t>(kv_head) * head_bytes_;
    task.page_stride = page_bytes_;
    task.pages = PagesOf(static_cast<size_t>(block.first));
    task.head_dim = plan_.head_dim;
    task.padded_dim = padded_dim_;
    task.scale = phase.scale;
    task.f16 = limits_.kv == KvType::kF16;
    task.scratch = reinterpret_cast<float*>(ScratchOf(worker));
    for (int64_t row = first; row < last; row += task.rows) {
      task.rows = static_cast<int>(std::min<int64_t>(kAttendRows, last - row));
      for (int i = 0; i < task.rows; ++i) {
        const auto token = static_cast<size_t>(block.first + (row + i) / sharing);
        const int64_t head = kv_head * sharing + (row + i) % sharing;
        task.query[i] = bound_.query.Row(token) + head * dim;
        task.out[i] = bound_.attention.Row(token) + head * dim;
        task.context[i] = int64_t{batch_->positions[token]} + 1;
      }
      kernels_.attend(task);
    }
  }

  void Run(const AttendPhase& phase, int worker) {
    const int64_t sharing = plan_.heads / plan_.kv_heads, kv_heads = plan_.kv_heads;
    const auto items = static_cast<int64_t>(blocks_.size()) * kv_heads;
    if (items >= 4 * workers_.size()) {
      // Dealt out in turn: in a prompt later tokens cost more than earlier ones.
      for (int64_t item = worker; item < items; item += workers_.size()) {
        const TokenBlock& block = blocks_[static_cast<size_t>(item / kv_heads)];
        AttendBlock(phase, block, item % kv_heads, 0, block.count * sharing, worker);
      }
      return;
    }
    // Few: by rows, so that three key/value heads do not leave one of two workers idle.
    const auto [first, last] = SliceOf(RowsOf(false) * plan_.heads, worker, workers_.size());
    int64_t begin = 0;
    for (const TokenBlock& block : blocks_) {
      for (int64_t kv_head = 0; kv_head < kv_heads; ++kv_head) {
        const int64_t rows = block.count * sharing;
        const int64_t from = std::max(first - begin, int64_t{0}), to = std::min(last - begin, rows);
        if (from < to) AttendBlock(phase, block, kv_head, from, to, worker);
        begin += rows;
      }
    }
  }

  void Run(const SamplePhase& phase, int worker) {
    const auto hidden = SliceOf(static_cast<int64_t>(batch_->hidden_rows.size()), worker, workers_.size());
    for (int64_t i = hidden.first; i < hidden.last; ++i) {
      float* row = bound_.residual.Row(static_cast<size_t>(batch_->hidden_rows[static_cast<size_t>(i)]));
      kernels_.rms_norm(row, phase.norm, plan_.hidden, plan_.norm_epsilon, row);
    }
    const size_t rows = batch_->sampling.size();
    const size_t crew = std::min(samplers_.size(), static_cast<size_t>(workers_.size()));
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
  TernaryChoice ternary_;
  BoundPlan bound_;
  int padded_dim_ = 0;                                        // head_dim up to a multiple of kLanes
  size_t head_bytes_ = 0, page_bytes_ = 0, layer_bytes_ = 0;  // of the cache: one head of one page; a page; a layer
  Buffer cache_;   // [layer][page][kv head]: keys [head_dim][16], values [16][padded_dim]
  Buffer rotary_;  // [position][cosine half | sine half]
  Buffer scratch_;
  size_t scratch_stride_ = 0;  // bytes per worker
  std::vector<TokenBlock> blocks_;
  std::vector<Sampler> samplers_;
  std::vector<SampledToken> sampled_;
  size_t sampled_rows_ = 0;
  std::vector<int32_t> hidden_rows_;  // of the last batch: tokens
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
