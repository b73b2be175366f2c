// Plan to phases. See bound_plan.h.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "backend/cuda/bound_plan.h"
#include "base/error.h"
#include "quant/activation.h"
#include "quant/codec.h"

namespace edgellm::cuda {
namespace {

Codes CodesOf(const WeightFormat& format) {
  return format.kind == WeightKind::kInt8   ? Codes::kInt8
         : format.kind == WeightKind::kInt4 ? Codes::kInt4
                                            : Codes::kTernary;
}

class Binder {
 public:
  Binder(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits, cudaStream_t stream)
      : plan_(plan), weights_(weights), limits_(limits), stream_(stream) {
    CheckSizes();
    // Decoding graphs are made for whole buckets of tokens.
    tokens_ = RoundUp(std::max(limits.batch_tokens, limits.logit_rows), 64);
    widest_ = std::max({plan.hidden, plan.heads * plan.head_dim, plan.ffn});
    MakeStaging();
    MakeCache();
    MakeRotary();
    MakeInputs();
    residual_ = MakeRows(plan.hidden);
    query_ = MakeRows(plan.heads * plan.head_dim);
    key_ = MakeRows(plan.kv_heads * plan.head_dim);
    value_ = MakeRows(plan.kv_heads * plan.head_dim);
    attention_ = MakeRows(plan.heads * plan.head_dim);
    ffn_ = MakeRows(plan.ffn);
    bound_.logit_stride = static_cast<size_t>(RoundUp(plan.vocab, kTileRows));
    bound_.logits = Allocate<float>(static_cast<size_t>(RoundUp(limits.logit_rows, 64)) * bound_.logit_stride);
  }

  BoundPlan Finish() {
    for (const Step& step : plan_.steps) {
      std::visit([this](const auto& s) { Bind(s); }, step);
      bound_.kinds.resize(bound_.phases.size(), KindOf(step));
    }
    FinishPartial();
    Check(cudaStreamSynchronize(stream_), "binding the model");
    return std::move(bound_);
  }

 private:
  struct Rows {
    float* values;
    size_t stride;
  };

  void CheckSizes() const {
    if (limits_.kv != KvType::kF16) Fail(ErrorCode::kUnsupported, "the CUDA backend keeps keys and values as f16 only");
    if (PaddedHead(plan_.head_dim) == 0) {
      Fail(ErrorCode::kUnsupported, "the CUDA backend has no attention for heads of {} dimensions", plan_.head_dim);
    }
    if (plan_.heads / plan_.kv_heads > 16) {
      Fail(ErrorCode::kUnsupported, "the CUDA backend shares a key/value head among at most 16 heads, not {}",
           plan_.heads / plan_.kv_heads);
    }
    for (const WeightView& view : weights_) {
      const bool odd = view.cols % 4 != 0;
      if (view.rows > 1 && !view.format.is_float() && view.cols > kMostCols) {
        Fail(ErrorCode::kUnsupported, "the CUDA backend takes rows of at most {} values, not {}", kMostCols, view.cols);
      }
      if (odd && view.rows > 1) Fail(ErrorCode::kUnsupported, "the CUDA backend needs sizes that 4 divides, not {}", view.cols);
    }
  }

  template <typename T>
  T* Allocate(size_t count) {
    bound_.memory.emplace_back(count * sizeof(T));
    return bound_.memory.back().template as<T>();
  }
  template <typename T>
  T* Upload(const std::vector<T>& values) {
    T* to = Allocate<T>(values.size());
    Check(cudaMemcpy(to, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice), "copying to the device");
    return to;
  }

  Rows MakeRows(int width) {
    const auto stride = static_cast<size_t>(RoundUp(width, kBlockK));
    return {Allocate<float>(static_cast<size_t>(tokens_) * stride), stride};
  }

  void MakeStaging() {
    Staging& s = bound_.staging;
    const auto count = static_cast<size_t>(tokens_);
    s.tokens = Allocate<int32_t>(kStagingColumns * count);
    s.positions = s.tokens + count;
    s.sequences = s.positions + count;
    s.starts = s.sequences + count;
    s.logit_rows = s.starts + count;
    s.block_tokens = s.logit_rows + count;
    s.block_counts = s.block_tokens + count;
    s.pages_per_sequence = (limits_.context + kPageTokens - 1) / kPageTokens;
    s.pages = Allocate<int32_t>(count * static_cast<size_t>(s.pages_per_sequence));
  }

  void MakeCache() {
    bound_.page_bytes = static_cast<size_t>(plan_.kv_heads) * 2 * kPageTokens * static_cast<size_t>(PaddedHead(plan_.head_dim)) * 2;
    bound_.layer_bytes = bound_.page_bytes * static_cast<size_t>(limits_.pages);
    bound_.cache_bytes = bound_.layer_bytes * static_cast<size_t>(plan_.layers);
    bound_.cache = Allocate<uint8_t>(bound_.cache_bytes);
  }
  LayerCache CacheOf(int layer) const {
    return {bound_.cache + static_cast<size_t>(layer) * bound_.layer_bytes, bound_.page_bytes, PaddedHead(plan_.head_dim)};
  }

  void MakeRotary() {
    const size_t half = static_cast<size_t>(plan_.head_dim) / 2, positions = static_cast<size_t>(limits_.context);
    std::vector<float2> turns(positions * half);
    for (size_t position = 0; position < positions; ++position) {
      for (size_t i = 0; i < half; ++i) {
        // The angle is rounded to float first, as the models were trained with.
        const double angle = static_cast<float>(position) * plan_.rope_inverse_frequencies[i];
        turns[position * half + i] = {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
      }
    }
    rotary_ = Upload(turns);
  }

  void MakeInputs() {
    const auto panels = static_cast<size_t>(tokens_ / kPanelTokens);
    const auto blocks = static_cast<size_t>(RoundUp(widest_, kMostStripK) / kBlockK);  // kernels read whole strips
    prepared_.codes = Allocate<int8_t>(panels * blocks * kChunkBytes);
    const size_t groups = panels * static_cast<size_t>(RoundUp(widest_, kMostStripK) / 32) * kPanelTokens;
    prepared_.scales = Allocate<float>(groups);
    prepared_.factors = Allocate<float>(panels * kPanelTokens);
    prepared_.sums = Allocate<int32_t>(groups);
    normed_ = MakeRows(widest_);
  }

  const WeightView& View(WeightId id) const { return weights_[static_cast<size_t>(id)]; }

  /// A norm or bias as floats, padded with zeros.
  std::vector<float> VectorOf(WeightId id) const {
    const WeightView& view = View(id);
    std::vector<float> values(static_cast<size_t>(RoundUp(static_cast<int>(view.cols), kBlockK)));
    DecodeRow(view, 0, {values.data(), static_cast<size_t>(view.cols)});
    return values;
  }
  const float* BindVector(WeightId id) {
    bound_.weight_bytes += static_cast<size_t>(View(id).cols) * sizeof(float);
    return Upload(VectorOf(id));
  }
  const float* BindVector(MaybeWeight id) { return id ? BindVector(*id) : nullptr; }

  static const uint8_t* UploadPlane(const std::byte* from, size_t bytes, std::vector<DeviceBuffer>* memory) {
    if (from == nullptr || bytes == 0) return nullptr;
    memory->emplace_back(bytes);
    auto* to = memory->back().as<uint8_t>();
    Check(cudaMemcpy(to, from, bytes, cudaMemcpyHostToDevice), "copying weights to the device");
    return to;
  }

  /// A matrix's canonical planes, in `memory`.
  static PackSource UploadPlanes(const WeightView& view, std::vector<DeviceBuffer>* memory) {
    const auto plane = [&](const std::byte* from, size_t bytes) { return UploadPlane(from, bytes, memory); };
    const auto rows = static_cast<size_t>(view.rows), groups = static_cast<size_t>(view.format.Groups(view.cols));
    return {plane(view.codes, rows * view.format.RowBytes(view.cols)),
            plane(view.scales, rows * groups * view.format.ScaleBytes()), plane(view.zeros, rows * groups * 2),
            static_cast<int>(view.rows)};
  }

  /// Several matrices of one format as one.
  PackedMatrix Pack(const std::vector<WeightId>& ids, RowOrder order) {
    const WeightView& first = View(ids[0]);
    int rows = 0;
    for (WeightId id : ids) rows += static_cast<int>(View(id).rows);
    const int pairs = order == RowOrder::kGatePairs ? static_cast<int>(first.rows) : (rows + 1) / 2;
    const int tiles = order == RowOrder::kPlain ? (rows + kTileRows - 1) / kTileRows : (pairs + 7) / 8;
    PackedMatrix m = MeasureMatrix(CodesOf(first.format), first.format.ScaleBytes() == 2, tiles, rows, static_cast<int>(first.cols),
                                   static_cast<int>(first.format.GroupSize(first.cols)));
    const size_t scales = m.scale_count() * first.format.ScaleBytes();
    m.data = Allocate<uint8_t>(m.code_bytes());
    m.scales = Allocate<uint8_t>(scales);
    m.zeros = first.format.zero_point ? Allocate<uint8_t>(scales) : nullptr;
    m.bytes = m.code_bytes() + scales + (first.format.zero_point ? scales : 0);
    bound_.weight_bytes += m.bytes;
    PackTask task{};
    std::vector<DeviceBuffer> staged;  // given back once the matrix is packed
    for (WeightId id : ids) task.sources[task.count++] = UploadPlanes(View(id), &staged);
    task.order = order;
    task.half = plan_.head_dim / 2;
    task.row_bytes = static_cast<int>(first.format.RowBytes(first.cols));
    task.to = m;
    LaunchPack(task, stream_);
    Check(cudaStreamSynchronize(stream_), "packing weights");
    return m;
  }

  const float2* PackBias(const std::vector<Linear>& linears, RowOrder order, const PackedMatrix& m) {
    std::vector<std::vector<float>> values;
    bool any = false;
    for (const Linear& linear : linears) {
      const auto rows = static_cast<size_t>(View(linear.weight).rows);
      std::vector<float> bias(rows);
      if (linear.bias) {
        any = true;
        DecodeRow(View(*linear.bias), 0, bias);
      }
      values.push_back(std::move(bias));
    }
    if (!any) return nullptr;
    std::vector<float> all;
    if (order != RowOrder::kGatePairs) {
      for (const auto& part : values) all.insert(all.end(), part.begin(), part.end());
    }
    const auto at = [](const std::vector<float>& from, int i) {
      return i >= 0 && static_cast<size_t>(i) < from.size() ? from[static_cast<size_t>(i)] : 0.0f;
    };
    std::vector<float2> pairs(static_cast<size_t>(m.tiles) * 8);
    for (int pair = 0; pair < m.tiles * 8; ++pair) {
      const auto row = [&](int second) { return RowOfPair(order, plan_.head_dim / 2, pair, second); };
      const bool apart = order == RowOrder::kGatePairs;  // gate and up have biases of their own
      pairs[static_cast<size_t>(pair)] = {at(apart ? values[0] : all, row(0)), at(apart ? values[1] : all, row(1))};
    }
    return Upload(pairs);
  }

  LinearPhase PhaseFor(const Rows& from, int cols, const float* norm) {
    LinearPhase phase{};
    phase.normed = normed_.values;
    PrepareTask& task = phase.input;
    task.x = from.values;
    task.stride = from.stride;
    task.norm = norm;
    task.epsilon = plan_.norm_epsilon;
    task.cols = cols;
    task.out = prepared_;
    return phase;
  }

  void AddPart(LinearPhase& phase, const std::vector<Linear>& linears, RowOrder order, OutputTask out) {
    const WeightView& view = View(linears[0].weight);
    LinearPart part{};
    if (view.format.is_float()) {
      EDGELLM_CHECK(linears.size() == 1, "float matrices are not joined");
      part.floats = {UploadPlanes(view, &bound_.memory).codes,
                     static_cast<int>(view.format.kind),
                     static_cast<int>(view.rows),
                     static_cast<int>(view.cols),
                     nullptr,
                     0,
                     linears[0].bias ? BindVector(*linears[0].bias) : nullptr,
                     out.y,
                     out.stride,
                     out.kind == Output::kResidual,
                     out.kind == Output::kUp ? out.other : nullptr,
                     out.relu2};
      bound_.weight_bytes += static_cast<size_t>(view.rows) * view.format.RowBytes(view.cols);
    } else {
      std::vector<WeightId> ids;
      for (const Linear& linear : linears) ids.push_back(linear.weight);
      part.matrix = Pack(ids, order);
      out.rows = out.kind == Output::kGateUp ? static_cast<int>(view.rows) : part.matrix.rows;
      out.bias = PackBias(linears, order, part.matrix);
      // Between blocks of 128 rows at 2048 values of k each there may be slices to add.
      const int slices = part.matrix.whole_row() ? 1 : (part.matrix.cols + kSliceK - 1) / kSliceK;
      if (slices > 1) {
        partial_floats_ = std::max(partial_floats_, static_cast<size_t>(slices) * static_cast<size_t>(part.matrix.tiles) * kTileRows);
      }
    }
    part.out = out;
    phase.parts.push_back(part);
  }

  /// Room for slices of as many tokens as LaunchPromptLinear splits; null where that would be too much.
  void FinishPartial() {
    constexpr size_t kMost = size_t{256} << 20;
    const size_t floats = partial_floats_ * static_cast<size_t>(tokens_);
    if (floats > 0 && floats * sizeof(float) <= kMost) bound_.partial = Allocate<float>(floats);
  }

  bool SameFormat(const std::vector<Linear>& linears) const {
    const WeightFormat& first = View(linears[0].weight).format;
    return !first.is_float() && std::all_of(linears.begin(), linears.end(), [&](const Linear& linear) {
      return View(linear.weight).format == first;
    });
  }

  void Bind(const Embed& step) {
    const WeightView& view = View(step.table);
    const PackSource planes = UploadPlanes(view, &bound_.memory);
    EmbedTask task{};
    task.codes = planes.codes;
    task.scales = planes.scales;
    task.zeros = planes.zeros;
    task.kind = static_cast<int>(view.format.kind);
    task.group = static_cast<int>(view.format.GroupSize(view.cols));
    task.groups = static_cast<int>(view.format.Groups(view.cols));
    task.row_bytes = static_cast<int>(view.format.RowBytes(view.cols));
    task.cols = static_cast<int>(view.cols);
    task.residual = residual_.values;
    task.stride = residual_.stride;
    task.staging = bound_.staging;
    bound_.weight_bytes += view.format.TotalBytes(view.rows, view.cols);
    bound_.phases.emplace_back(task);
  }

  OutputTask QkvOutput(const Qkv& step, int first_head, bool rotate) const {
    OutputTask out{};
    out.kind = Output::kQkv;
    out.y = query_.values;
    out.stride = query_.stride;
    out.first_head = first_head;
    out.heads = plan_.heads;
    out.kv_heads = plan_.kv_heads;
    out.head_dim = plan_.head_dim;
    out.rotary = rotate ? rotary_ : nullptr;
    out.raw_key = key_.values;
    out.raw_key_stride = key_.stride;
    out.cache = CacheOf(step.layer);
    return out;
  }

  void Bind(const Qkv& step) {
    LinearPhase phase = PhaseFor(residual_, plan_.hidden, BindVector(step.norm));
    const std::vector<Linear> all = {step.q, step.k, step.v};
    const bool any_float = std::any_of(all.begin(), all.end(), [&](const Linear& l) { return View(l.weight).format.is_float(); });
    const bool finish = any_float || step.q_norm || step.k_norm;
    if (SameFormat(all)) {
      AddPart(phase, all, RowOrder::kRotaryPairs, QkvOutput(step, 0, !finish));
    } else {
      const int first_head[] = {0, plan_.heads, plan_.heads + plan_.kv_heads};
      const Rows rows[] = {query_, key_, value_};
      for (size_t i = 0; i < 3; ++i) {
        OutputTask out = QkvOutput(step, first_head[i], !finish);
        if (View(all[i].weight).format.is_float()) {
          out.kind = Output::kStore;
          out.y = rows[i].values;
          out.stride = rows[i].stride;
        }
        AddPart(phase, {all[i]}, RowOrder::kRotaryPairs, out);
      }
    }
    bound_.phases.emplace_back(std::move(phase));
    if (!finish) return;
    FinishHeadsTask task{};
    task.query = query_.values;
    task.query_stride = query_.stride;
    task.key = key_.values;
    task.key_stride = key_.stride;
    task.value = View(step.v.weight).format.is_float() ? value_.values : nullptr;
    task.q_norm = BindVector(step.q_norm);
    task.k_norm = BindVector(step.k_norm);
    task.epsilon = plan_.norm_epsilon;
    task.rotary = rotary_;
    task.heads = plan_.heads;
    task.kv_heads = plan_.kv_heads;
    task.head_dim = plan_.head_dim;
    task.cache = CacheOf(step.layer);
    task.staging = bound_.staging;
    bound_.phases.emplace_back(task);
  }

  void Bind(const Attend& step) {
    AttendTask task{};
    task.query = query_.values;
    task.query_stride = query_.stride;
    task.out = attention_.values;
    task.out_stride = attention_.stride;
    task.heads = plan_.heads;
    task.kv_heads = plan_.kv_heads;
    task.head_dim = plan_.head_dim;
    task.scale = step.scale * 1.4426950408889634f;
    task.cache = CacheOf(step.layer);
    task.staging = bound_.staging;
    task.splits = (limits_.context + kSplitPositions - 1) / kSplitPositions;
    if (attend_partial_ == nullptr) {
      const size_t rows = size_t{kAttendTokens} * static_cast<size_t>(plan_.heads);
      const size_t splits = task.splits > 1 ? static_cast<size_t>(task.splits) : 0;
      // Kernels keep rows of the padded size.
      const auto row_floats = static_cast<size_t>(task.cache.dim + 2);
      attend_partial_ = Allocate<float>(std::max<size_t>(1, rows * splits * row_floats));
      arrived_ = Allocate<uint32_t>(size_t{kAttendTokens} * static_cast<size_t>(plan_.kv_heads));
    }
    task.partial = attend_partial_;
    task.arrived = arrived_;
    bound_.phases.emplace_back(task);
  }

  void Bind(const Project& step) {
    const Rows& from = step.in == Slot::kAttention ? attention_ : ffn_;
    LinearPhase phase = PhaseFor(from, static_cast<int>(View(step.out.weight).cols), BindVector(step.sub_norm));
    OutputTask out{};
    out.kind = Output::kResidual;
    out.y = residual_.values;
    out.stride = residual_.stride;
    AddPart(phase, {step.out}, RowOrder::kPlain, out);
    bound_.phases.emplace_back(std::move(phase));
  }

  void Bind(const GateUp& step) {
    LinearPhase phase = PhaseFor(residual_, plan_.hidden, BindVector(step.norm));
    OutputTask out{};
    out.y = ffn_.values;
    out.stride = ffn_.stride;
    out.relu2 = step.activation == Activation::kRelu2;
    if (SameFormat({step.gate, step.up})) {
      out.kind = Output::kGateUp;
      AddPart(phase, {step.gate, step.up}, RowOrder::kGatePairs, out);
    } else {
      if (gate_.values == nullptr) gate_ = MakeRows(plan_.ffn);
      out.kind = Output::kStore;
      out.y = gate_.values;
      AddPart(phase, {step.gate}, RowOrder::kPlain, out);
      out.kind = Output::kUp;
      out.y = ffn_.values;
      out.other = gate_.values;
      AddPart(phase, {step.up}, RowOrder::kPlain, out);
    }
    bound_.phases.emplace_back(std::move(phase));
  }

  void Bind(const Logits& step) {
    LinearPhase phase = PhaseFor(residual_, plan_.hidden, BindVector(step.norm));
    bound_.residual = residual_.values;
    bound_.residual_stride = residual_.stride;
    bound_.final_norm = VectorOf(step.norm);
    phase.logit_rows = true;
    phase.input.gather = bound_.staging.logit_rows;
    OutputTask out{};
    out.kind = Output::kStore;
    out.y = bound_.logits;
    out.stride = bound_.logit_stride;
    AddPart(phase, {step.head}, RowOrder::kPlain, out);
    bound_.phases.emplace_back(std::move(phase));
  }

  const Plan& plan_;
  std::span<const WeightView> weights_;
  BackendLimits limits_;
  cudaStream_t stream_;
  int tokens_ = 0, widest_ = 0;
  Rows residual_{}, query_{}, key_{}, value_{}, attention_{}, ffn_{}, gate_{}, normed_{};
  PreparedInput prepared_{};
  const float2* rotary_ = nullptr;
  float* attend_partial_ = nullptr;
  uint32_t* arrived_ = nullptr;
  size_t partial_floats_ = 0;
  BoundPlan bound_;
};

}  // namespace

BoundPlan BindPlan(const Plan& plan, std::span<const WeightView> weights, const BackendLimits& limits, cudaStream_t stream) {
  return Binder(plan, weights, limits, stream).Finish();
}

}  // namespace edgellm::cuda
