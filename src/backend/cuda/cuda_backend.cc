// The CUDA backend: walks a bound plan's phases by launching kernels, from captured graphs for small batches.
#include <algorithm>
#include <cmath>
#include <array>
#include <cstring>
#include <map>
#include <tuple>

#include <fmt/format.h>

#include "backend/backend.h"
#include "backend/cuda/bound_plan.h"
#include "backend/cuda/device_sampler.h"
#include "base/error.h"
#include "quant/activation.h"

namespace edgellm {
namespace cuda {
namespace {

struct Stream {
  cudaStream_t value = nullptr;
  Stream() { Check(cudaStreamCreateWithFlags(&value, cudaStreamNonBlocking), "making a stream"); }
  ~Stream() {
    if (value != nullptr) cudaStreamDestroy(value);
  }
  Stream(const Stream&) = delete;
};

struct Event {
  cudaEvent_t value = nullptr;
  Event() { Check(cudaEventCreate(&value), "making an event"); }
  ~Event() { cudaEventDestroy(value); }
  Event(const Event&) = delete;
};

/// A captured forward.
struct Graph {
  cudaGraphExec_t value = nullptr;
  Graph() = default;
  ~Graph() {
    if (value != nullptr) cudaGraphExecDestroy(value);
  }
  Graph(Graph&& other) noexcept : value(std::exchange(other.value, nullptr)) {}
};

/// How the input of one part is prepared.
PrepareTask InputOf(const LinearPhase& phase, const LinearPart& part) {
  PrepareTask task = phase.input;
  const PackedMatrix& m = part.matrix;
  if (m.data == nullptr) {
    task.normed = phase.normed;
    return task;
  }
  PrepareFor(m, &task);
  return task;
}

bool SamePreparation(const PrepareTask& a, const PrepareTask& b) {
  return a.normed == b.normed && a.group == b.group && a.floor == b.floor && a.sums == b.sums && a.out.blocks == b.out.blocks;
}

class CudaBackend final : public Backend {
 public:
  CudaBackend(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits)
      : plan_(plan),
        limits_(limits),
        facts_(OpenDevice()),
        bound_(BindPlan(plan_, weights, limits, stream_.value)),
        sampler_(plan.vocab, (limits.logit_rows + kLargestGraph - 1) / kLargestGraph * kLargestGraph) {
    const auto tokens = static_cast<size_t>(std::max(limits.batch_tokens, limits.logit_rows) + 63) / 64 * 64;
    slots_ = tokens;
    staged_ = PinnedBuffer(kStagingColumns * tokens * sizeof(int32_t));
    pages_ = PinnedBuffer(tokens * static_cast<size_t>(bound_.staging.pages_per_sequence) * sizeof(int32_t));
    sampled_.resize(static_cast<size_t>(limits.logit_rows));
    chained_ = facts_.major >= 9;
    const int dim = PaddedHead(plan.head_dim);
    prompt_attention_ = dim <= 128 && PromptAttendSharedBytes(dim) <= facts_.shared_bytes_per_block;
  }

  ~CudaBackend() override { cudaStreamSynchronize(stream_.value); }

  void Forward(const Batch& batch) override {
    const int tokens = static_cast<int>(batch.tokens.size()), rows = static_cast<int>(batch.logit_rows.size());
    const int bucket = BucketOf(tokens), row_bucket = std::min(BucketOf(rows), static_cast<int>(slots_));
    StageBatch(batch, bucket, row_bucket);
    const SampleWork work = sampler_.Stage(batch.sampling, row_bucket, stream_.value);
    if (times_ != nullptr) {
      RunTimed(bucket, row_bucket, work);
    } else if (bucket <= kLargestGraph && row_bucket <= kLargestGraph) {
      Check(cudaGraphLaunch(GraphFor(bucket, row_bucket, work), stream_.value), "launching a forward");
    } else {
      Enqueue(bucket, row_bucket, work);
    }
    Collect(batch);
  }

  std::span<const SampledToken> Sampled() const override { return {sampled_.data(), sampled_rows_}; }

  std::span<const float> LogitsOf(int logit_row) const override {
    const auto vocab = static_cast<size_t>(plan_.vocab);
    if (!logits_read_) ReadLogits();
    return {logits_.as<float>() + static_cast<size_t>(logit_row) * vocab, vocab};
  }

  std::span<const float> HiddenOf(int hidden_row) const override {
    const auto width = static_cast<size_t>(plan_.hidden);
    return {hidden_.data() + static_cast<size_t>(hidden_row) * width, width};
  }

  void CopyPages(std::span<const std::pair<int32_t, int32_t>> pages) override {
    if (pages.empty()) return;
    std::vector<int2> list;
    for (const auto& [from, to] : pages) list.push_back({from, to});
    DeviceBuffer on_device(list.size() * sizeof(int2));
    Check(cudaMemcpy(on_device.as<int2>(), list.data(), on_device.size(), cudaMemcpyHostToDevice), "copying page ids");
    LaunchCopyPages(bound_.cache, bound_.layer_bytes, plan_.layers, bound_.page_bytes, on_device.as<int2>(),
                    static_cast<int>(list.size()), stream_.value);
    Check(cudaStreamSynchronize(stream_.value), "copying pages");
  }

  BackendInfo Describe() const override {
    return {.name = "cuda",
            .isa = fmt::format("sm_{}{} ({})", facts_.major, facts_.minor, facts_.name),
            .threads = 1,
            .weight_bytes = bound_.weight_bytes,
            .kv_bytes = bound_.cache_bytes};
  }

  void SetStepTimes(StepTimes* times) override { times_ = times; }

 private:
  static constexpr int kLargestGraph = 64;

  /// Forwards of up to kLargestGraph tokens are rounded up to a power of two, so that few graphs serve all.
  static int BucketOf(int count) {
    if (count > kLargestGraph) return count;
    int bucket = count == 0 ? 0 : 1;
    while (bucket < count) bucket *= 2;
    return bucket;
  }

  /// Tokens, positions and pages to the device; padding has sequence -1.
  void StageBatch(const Batch& batch, int bucket, int row_bucket) {
    auto* columns = staged_.as<int32_t>();
    const size_t tokens = batch.tokens.size();
    const auto fill = [&](size_t column, std::span<const int32_t> values, int count, int32_t padding) {
      int32_t* to = columns + column * slots_;
      std::copy(values.begin(), values.end(), to);
      std::fill(to + values.size(), to + std::max(static_cast<size_t>(count), values.size()), padding);
    };
    fill(0, batch.tokens, bucket, 0);
    fill(1, batch.positions, bucket, 0);
    fill(2, batch.sequences, bucket, -1);
    for (size_t t = 0; t < tokens; ++t) {
      const bool first = t == 0 || batch.sequences[t] != batch.sequences[t - 1];
      columns[3 * slots_ + t] = first ? batch.positions[t] : columns[3 * slots_ + t - 1];
    }
    fill(4, batch.logit_rows, row_bucket, 0);
    StagePrompts(batch, columns + 5 * slots_, columns + 6 * slots_);
    Check(cudaMemcpyAsync(bound_.staging.tokens, columns, kStagingColumns * slots_ * sizeof(int32_t), cudaMemcpyHostToDevice, stream_.value),
          "copying a batch");
    for (size_t t = 0; t < tokens; ++t) {
      if (t + 1 < tokens && batch.sequences[t + 1] == batch.sequences[t]) continue;
      StagePages(batch, batch.sequences[t], batch.positions[t] / kPageTokens + 1);
    }
  }

  /// Blocks of prompts for LaunchAttendPrompt: from the first long run of a sequence's tokens on.
  void StagePrompts(const Batch& batch, int32_t* first, int32_t* counts) {
    constexpr size_t kLongRun = 16;
    const size_t tokens = batch.tokens.size(), most = static_cast<size_t>(PromptAttendTokens(plan_.heads / plan_.kv_heads));
    prompts_from_ = tokens;
    prompt_blocks_ = 0;
    if (tokens <= static_cast<size_t>(kLargestGraph) || !prompt_attention_) return;
    for (size_t begin = 0, end = 0; begin < tokens; begin = end) {
      while (end < tokens && batch.sequences[end] == batch.sequences[begin]) ++end;
      if (prompts_from_ == tokens && end - begin < kLongRun) continue;
      prompts_from_ = std::min(prompts_from_, begin);
      for (size_t at = begin; at < end; at += most) {
        first[prompt_blocks_] = static_cast<int32_t>(at);
        counts[prompt_blocks_++] = static_cast<int32_t>(std::min(most, end - at));
      }
    }
  }

  /// Sends what has changed of a sequence's first `count` pages.
  void StagePages(const Batch& batch, int32_t sequence, int count) {
    const auto row = static_cast<size_t>(sequence) * static_cast<size_t>(bound_.staging.pages_per_sequence);
    const int32_t* wanted = batch.pages.data() + static_cast<size_t>(sequence) * static_cast<size_t>(batch.pages_per_sequence);
    int32_t* shadow = pages_.as<int32_t>() + row;
    const auto [begin, _] = std::mismatch(wanted, wanted + count, shadow);
    const auto first = begin - wanted;
    if (first == count) return;
    std::copy(wanted + first, wanted + count, shadow + first);
    Check(cudaMemcpyAsync(bound_.staging.pages + row + first, shadow + first, static_cast<size_t>(count - first) * sizeof(int32_t),
                          cudaMemcpyHostToDevice, stream_.value),
          "copying page ids");
  }

  /// The kernels of one phase.
  struct Runner {
    CudaBackend& self;
    const Launch& launch;
    int tokens, rows;

    void operator()(EmbedTask task) const {
      task.tokens = tokens;
      LaunchEmbed(task, launch);
    }
    void operator()(const FinishHeadsTask& task) const { LaunchFinishHeads(task, tokens, launch); }
    void operator()(const AttendTask& task) const {
      const int single = self.prompt_blocks_ > 0 ? static_cast<int>(self.prompts_from_) : tokens;
      if (single > 0) LaunchAttend(task, single, launch);
      if (self.prompt_blocks_ > 0) LaunchAttendPrompt(task, self.prompt_blocks_, launch);
    }
    void operator()(const LinearPhase& phase) const {
      const int count = phase.logit_rows ? rows : tokens;
      if (count == 0) return;
      PrepareTask prepared{};
      bool any = false;
      for (const LinearPart& part : phase.parts) {
        const PrepareTask input = InputOf(phase, part);
        const bool is_float = part.matrix.data == nullptr;
        const LinearTask task = {part.matrix, input, part.out, self.bound_.staging, count};
        if (!is_float && count == 1 && FitsTokenLinear(part.matrix, launch)) {
          LaunchTokenLinear(task, launch);
          continue;
        }
        const bool as_it_is = is_float && input.norm == nullptr && input.gather == nullptr;
        if (!as_it_is && !(any && SamePreparation(input, prepared))) {
          LaunchPrepare(input, count, launch);
          prepared = input;
          any = true;
        }
        if (is_float) {
          FloatLinearTask floats = part.floats;
          floats.x = as_it_is ? input.x : input.normed;
          floats.stride = input.stride;
          LaunchFloatLinear(floats, count, launch);
          continue;
        }
        if (count <= kPanelTokens && FitsBatchLinear(part.matrix, launch)) {
          LaunchBatchLinear(task, launch);
        } else {
          LaunchPromptLinear(task, self.bound_.partial, launch);
        }
      }
    }
  };

  void Enqueue(int tokens, int rows, SampleWork work) {
    Launch launch = {stream_.value, false, facts_.processors, static_cast<int>(facts_.shared_bytes_per_block)};
    for (const Phase& phase : bound_.phases) {
      std::visit(Runner{*this, launch, tokens, rows}, phase);
      launch.chained = chained_;
    }
    sampler_.Sample(bound_.logits, bound_.logit_stride, rows, work, launch);
  }

  cudaGraphExec_t GraphFor(int tokens, int rows, SampleWork work) {
    const auto key = std::tuple(tokens, rows, work);
    if (const auto found = graphs_.find(key); found != graphs_.end()) return found->second.value;
    // Kernels are loaded when they are first used, which a capture does not allow everywhere: once without.
    Enqueue(tokens, rows, work);
    Check(cudaStreamSynchronize(stream_.value), "a first forward");
    Check(cudaStreamBeginCapture(stream_.value, cudaStreamCaptureModeThreadLocal), "capturing a forward");
    cudaGraph_t captured = nullptr;
    Enqueue(tokens, rows, work);
    Check(cudaStreamEndCapture(stream_.value, &captured), "capturing a forward");
    Graph graph;
    const cudaError_t status = cudaGraphInstantiate(&graph.value, captured, 0);
    cudaGraphDestroy(captured);
    Check(status, "making a graph");
    return graphs_.emplace(key, std::move(graph)).first->second.value;
  }

  void RunTimed(int tokens, int rows, SampleWork work) {
    const Launch launch = {stream_.value, false, facts_.processors, static_cast<int>(facts_.shared_bytes_per_block)};
    while (events_.size() < bound_.phases.size() + 1) events_.push_back(std::make_unique<Event>());
    Check(cudaEventRecord(events_[0]->value, stream_.value), "recording an event");
    for (size_t i = 0; i < bound_.phases.size(); ++i) {
      std::visit(Runner{*this, launch, tokens, rows}, bound_.phases[i]);
      Check(cudaEventRecord(events_[i + 1]->value, stream_.value), "recording an event");
    }
    sampler_.Sample(bound_.logits, bound_.logit_stride, rows, work, launch);
    Check(cudaStreamSynchronize(stream_.value), "a forward");
    for (size_t i = 0; i < bound_.phases.size(); ++i) {
      float milliseconds = 0;
      Check(cudaEventElapsedTime(&milliseconds, events_[i]->value, events_[i + 1]->value), "reading events");
      times_->nanoseconds[static_cast<size_t>(bound_.kinds[i])] += static_cast<int64_t>(milliseconds * 1e6f);
    }
  }

  void Collect(const Batch& batch) {
    Check(cudaStreamSynchronize(stream_.value), "a forward");
    CollectHidden(batch.hidden_rows);
    logit_rows_ = batch.logit_rows.size();
    logits_read_ = false;
    sampled_rows_ = batch.sampling.size();
    sampler_.Collect(batch.sampling, {sampled_.data(), sampled_rows_});
  }

  /// All rows of the last forward. Who samples does not need them, so they stay on the device until somebody asks.
  void ReadLogits() const {
    const auto width = static_cast<size_t>(plan_.vocab) * sizeof(float);
    if (logits_.size() == 0) logits_ = PinnedBuffer(static_cast<size_t>(limits_.logit_rows) * width);
    Check(cudaMemcpy2DAsync(logits_.as<float>(), width, bound_.logits, bound_.logit_stride * sizeof(float), width, logit_rows_,
                            cudaMemcpyDeviceToHost, stream_.value),
          "reading logits");
    Check(cudaStreamSynchronize(stream_.value), "reading logits");
    logits_read_ = true;
  }

  /// Rows of the residual, with the final norm made here: embeddings are too seldom for a kernel of their own.
  void CollectHidden(std::span<const int32_t> rows) {
    const auto width = static_cast<size_t>(plan_.hidden);
    hidden_.resize(rows.size() * width);
    for (size_t i = 0; i < rows.size(); ++i) {
      float* row = hidden_.data() + i * width;
      const float* from = bound_.residual + static_cast<size_t>(rows[i]) * bound_.residual_stride;
      Check(cudaMemcpyAsync(row, from, width * sizeof(float), cudaMemcpyDeviceToHost, stream_.value), "reading hidden states");
    }
    if (!rows.empty()) Check(cudaStreamSynchronize(stream_.value), "reading hidden states");
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::span<float> row(hidden_.data() + i * width, width);
      double sum = 0;
      for (const float value : row) sum += static_cast<double>(value) * value;
      const double inverse = 1 / std::sqrt(sum / static_cast<double>(width) + plan_.norm_epsilon);
      for (size_t k = 0; k < width; ++k) row[k] = static_cast<float>(bound_.final_norm[k] * (row[k] * inverse));
    }
  }

  Plan plan_;
  BackendLimits limits_;
  DeviceFacts facts_;
  Stream stream_;
  BoundPlan bound_;
  DeviceSampler sampler_;
  size_t slots_ = 0;  // tokens that there is room for
  PinnedBuffer staged_, pages_;
  mutable PinnedBuffer logits_;  // [logit row][vocab], taken when they are first asked for
  mutable bool logits_read_ = false;
  size_t logit_rows_ = 0;  // of the last forward
  bool chained_ = false, prompt_attention_ = false;
  size_t prompts_from_ = 0;  // tokens of the batch from this one on are in prompt_blocks_ blocks
  int prompt_blocks_ = 0;
  std::map<std::tuple<int, int, SampleWork>, Graph> graphs_;
  std::vector<std::unique_ptr<Event>> events_;
  std::vector<SampledToken> sampled_;
  size_t sampled_rows_ = 0;
  std::vector<float> hidden_;  // [hidden row][hidden]
  StepTimes* times_ = nullptr;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<Backend> MakeCudaBackend(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits,
                                         const BackendOptions&) {
  Validate(plan);
  return std::make_unique<cuda::CudaBackend>(plan, weights, limits);
}

uint64_t CudaFreeBytes() {
  try {
    return cuda::OpenDevice().free_bytes;
  } catch (const Error&) {
    return 0;
  }
}

}  // namespace edgellm
