// See device_sampler.h.
#include "backend/cuda/device_sampler.h"

#include <algorithm>
#include <cstring>

#include "base/philox.h"

namespace edgellm::cuda {
namespace {

constexpr size_t kRoom = size_t{256} << 10;  // bytes for lists and masks beside the jobs: most batches need no more
constexpr size_t kAlignment = 16;

size_t Aligned(size_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

bool Reports(const SamplingRow& row) {
  return row.parameters->log_probability || row.parameters->likeliest > 0;
}

/// An upper bound of what JobOf takes.
size_t ExtrasOf(const SamplingRow& row, size_t vocab) {
  if (row.given >= 0) return 0;
  const size_t listed = std::min(row.recent.size() + row.bias.size(), vocab);
  return Aligned(listed * sizeof(TokenAdjustment)) + Aligned(row.allowed.size() * sizeof(uint32_t));
}

}  // namespace

DeviceSampler::DeviceSampler(int vocab, int rows) : vocab_(vocab), adjustments_(vocab) {
  const auto row_count = static_cast<size_t>(rows), jobs = 2 * row_count;
  staged_ = PinnedBuffer(Aligned(jobs * sizeof(SampleJob)) + kRoom);
  jobs_ = DeviceBuffer(staged_.size());
  states_ = DeviceBuffer(jobs * sizeof(SampleState));
  scratch_ = DeviceBuffer(jobs * sizeof(SampleScratch));
  tokens_ = DeviceBuffer(row_count * sizeof(int32_t));
  results_ = PinnedBuffer(row_count * sizeof(SampleResult));
}

SampleJob DeviceSampler::JobOf(const SamplingRow& row, Extras* extras) {
  const SamplingParameters& p = *row.parameters;
  SampleJob job{};
  job.given = row.given;
  if (row.given >= 0) {
    job.kind = JobKind::kGiven;
    return job;
  }
  job.kind = p.temperature > 0 ? JobKind::kDraw : JobKind::kGreedy;
  job.top_k = p.top_k < vocab_ ? p.top_k : 0;
  job.scale = WeightScale(p.temperature);
  job.top_p = p.top_p;
  job.uniform = PhiloxUniform(p.seed, row.draw);
  job.least = LeastWeight(p.min_p);
  job.penalties = PenaltiesOf(p);
  const auto put = [extras](const auto& values) {
    const size_t bytes = values.size_bytes(), at = extras->used;
    std::memcpy(extras->host + at, values.data(), bytes);
    extras->used += Aligned(bytes);
    return extras->device + at;
  };
  const std::span<const TokenAdjustment> adjustments = adjustments_.Of(row);
  job.adjustment_count = static_cast<int32_t>(adjustments.size());
  if (!adjustments.empty()) job.adjustments = reinterpret_cast<const TokenAdjustment*>(put(adjustments));
  if (!row.allowed.empty()) job.allowed = reinterpret_cast<const uint32_t*>(put(row.allowed));
  return job;
}

SampleJob DeviceSampler::ReportOf(const SamplingRow& row) const {
  SampleJob job{};
  if (!Reports(row)) return job;
  job.kind = JobKind::kReport;
  job.scale = WeightScale(1.0f);
  job.top_p = 1.0f;
  job.top_k = std::clamp(row.parameters->likeliest, 0, kMostLikeliest);
  return job;
}

DeviceSampler::Extras DeviceSampler::MakeRoom(std::span<const SamplingRow> rows, size_t jobs_bytes) {
  size_t needed = 0;
  for (const SamplingRow& row : rows) needed += ExtrasOf(row, static_cast<size_t>(vocab_));
  if (jobs_bytes + needed <= staged_.size()) {
    return {staged_.as<std::byte>() + jobs_bytes, jobs_.as<std::byte>() + jobs_bytes};
  }
  if (needed > more_.size()) {
    const size_t bytes = std::max(needed, 2 * more_.size());
    more_staged_ = PinnedBuffer(bytes);
    more_ = DeviceBuffer(bytes);
  }
  return {more_staged_.as<std::byte>(), more_.as<std::byte>()};
}

SampleWork DeviceSampler::Stage(std::span<const SamplingRow> rows, int bucket, cudaStream_t stream) {
  if (rows.empty()) return SampleWork::kNothing;
  const bool reports = std::any_of(rows.begin(), rows.end(), Reports);
  const bool draws = std::any_of(rows.begin(), rows.end(), [](const SamplingRow& row) {
    return row.given < 0 && row.parameters->temperature > 0;
  });
  const auto padded = static_cast<size_t>(bucket), count = reports ? 2 * padded : padded;
  size_t bytes = Aligned(count * sizeof(SampleJob));
  Extras extras = MakeRoom(rows, bytes);
  auto* jobs = staged_.as<SampleJob>();
  std::fill(jobs, jobs + count, SampleJob{});
  for (size_t row = 0; row < rows.size(); ++row) {
    jobs[row] = JobOf(rows[row], &extras);
    if (reports) jobs[padded + row] = ReportOf(rows[row]);
  }
  if (extras.host == more_staged_.as<std::byte>()) {
    Check(cudaMemcpyAsync(extras.device, extras.host, extras.used, cudaMemcpyHostToDevice, stream),
          "copying sampling parameters");
  } else {
    bytes += extras.used;
  }
  Check(cudaMemcpyAsync(jobs_.as<std::byte>(), jobs, bytes, cudaMemcpyHostToDevice, stream),
        "copying sampling parameters");
  return reports ? SampleWork::kReport : draws ? SampleWork::kDraw : SampleWork::kGreedy;
}

void DeviceSampler::Sample(const float* logits, size_t stride, int bucket, SampleWork work,
                           const Launch& launch) const {
  SampleTask task{};
  task.logits = logits;
  task.stride = stride;
  task.vocab = vocab_;
  task.rows = bucket;
  task.jobs = jobs_.as<SampleJob>();
  task.states = states_.as<SampleState>();
  task.scratch = scratch_.as<SampleScratch>();
  task.results = results_.as<SampleResult>();
  task.tokens = tokens_.as<int32_t>();
  LaunchSample(task, work, launch);
}

void DeviceSampler::Collect(std::span<const SamplingRow> rows, std::span<SampledToken> sampled) const {
  for (size_t row = 0; row < rows.size(); ++row) {
    const SampleResult& result = results_.as<SampleResult>()[row];
    const SamplingParameters& p = *rows[row].parameters;
    SampledToken& to = sampled[row];
    to = {};
    to.token = result.token;
    if (result.token < 0) continue;
    if (p.log_probability) to.log_probability = LogProbability(result.logit, result.highest, result.sum);
    if (p.likeliest <= 0) continue;
    to.likeliest_count = result.likeliest_count;
    for (size_t i = 0; i < static_cast<size_t>(result.likeliest_count); ++i) {
      to.likeliest[i] = {result.likeliest[i], LogProbability(result.likeliest_logits[i], result.highest, result.sum)};
    }
  }
}

}  // namespace edgellm::cuda
