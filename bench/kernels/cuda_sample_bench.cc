// Sampling alone on a CUDA device: microseconds for rows of several vocabularies and batches, chained in a graph, by
// what the request asks for; and what the host needs to send its parameters. The logits are drawn at random, about as
// wide as a model's. For work on kernels/sample*.cuh; needs a device.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/device_sampler.h"

namespace {

using namespace edgellm;
using namespace edgellm::cuda;

struct Setting {
  const char* name;
  SamplingParameters parameters;
  int recent = 0;
  bool mask = false;
};

struct Bench {
  static constexpr int kMostRows = 64, kLaunches = 64, kRounds = 9;

  DeviceFacts facts = OpenDevice();
  cudaStream_t stream = nullptr;
  cudaEvent_t begin = nullptr, end = nullptr;

  Bench() {
    Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    Check(cudaEventCreate(&begin), "making an event");
    Check(cudaEventCreate(&end), "making an event");
  }

  /// Microseconds of one Sample, the median of rounds.
  float TimeOf(const DeviceSampler& sampler, const float* logits, size_t stride, int rows, SampleWork work) {
    Launch launch = {stream, false, facts.processors, static_cast<int>(facts.shared_bytes_per_block)};
    const auto enqueue = [&] {
      launch.chained = false;
      for (int i = 0; i < kLaunches; ++i) {
        sampler.Sample(logits, stride, rows, work, launch);
        launch.chained = facts.major >= 9;
      }
    };
    enqueue();
    Check(cudaStreamSynchronize(stream), "a first round");
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing");
    enqueue();
    Check(cudaStreamEndCapture(stream, &graph), "capturing");
    Check(cudaGraphInstantiate(&exec, graph, 0), "making a graph");
    std::vector<float> times;
    for (int round = 0; round < kRounds; ++round) {
      Check(cudaEventRecord(begin, stream), "timing");
      Check(cudaGraphLaunch(exec, stream), "launching");
      Check(cudaEventRecord(end, stream), "timing");
      Check(cudaEventSynchronize(end), "timing");
      float milliseconds = 0;
      Check(cudaEventElapsedTime(&milliseconds, begin, end), "timing");
      times.push_back(milliseconds * 1000 / kLaunches);
    }
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
    std::sort(times.begin(), times.end());
    return times[kRounds / 2];
  }

  void Measure(int vocab, const std::vector<Setting>& settings) {
    const size_t stride = (static_cast<size_t>(vocab) + 15) / 16 * 16;
    std::mt19937 random(1);
    std::normal_distribution<float> normal(2, 3);
    std::vector<float> host(kMostRows * stride);
    for (float& logit : host) logit = normal(random);
    DeviceBuffer logits(host.size() * sizeof(float));
    Check(cudaMemcpy(logits.as<float>(), host.data(), logits.size(), cudaMemcpyHostToDevice), "copying logits");
    DeviceSampler sampler(vocab, kMostRows);
    std::vector<int32_t> recent(1000);
    for (int32_t& token : recent) token = static_cast<int32_t>(random() % static_cast<unsigned>(vocab));
    const std::vector<uint32_t> mask((static_cast<size_t>(vocab) + 31) / 32, 0x80F0A055u);
    for (const Setting& setting : settings) {
      std::printf("%7d %-34s", vocab, setting.name);
      for (const int rows : {1, 8, 64}) {
        std::vector<SamplingParameters> parameters(static_cast<size_t>(rows), setting.parameters);
        std::vector<SamplingRow> list;
        for (SamplingParameters& p : parameters) {
          p.seed = list.size();
          list.push_back({.parameters = &p,
                          .recent = {recent.data(), static_cast<size_t>(setting.recent)},
                          .bias = {},
                          .allowed = setting.mask ? std::span<const uint32_t>(mask) : std::span<const uint32_t>(),
                          .draw = 9});
        }
        SampleWork work = sampler.Stage(list, rows, stream);
        Check(cudaStreamSynchronize(stream), "staging");
        const auto before = std::chrono::steady_clock::now();
        for (int i = 0; i < 20; ++i) work = sampler.Stage(list, rows, stream);
        const double stage =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count() / 20 * 1e6;
        Check(cudaStreamSynchronize(stream), "staging");
        std::printf("  %2d rows %8.2f us, sent in %6.2f", rows,
                    static_cast<double>(TimeOf(sampler, logits.as<float>(), stride, rows, work)), stage);
      }
      std::printf("\n");
    }
  }
};

SamplingParameters Make(float temperature, int top_k, float top_p, float min_p = 0) {
  SamplingParameters p;
  p.temperature = temperature;
  p.top_k = top_k;
  p.top_p = top_p;
  p.min_p = min_p;
  return p;
}

}  // namespace

int main() {
  Bench bench;
  std::printf("%s\n", bench.facts.name.c_str());
  std::vector<Setting> settings = {{"greedy", Make(0, 0, 1)},
                                   {"greedy, 64 penalties", Make(0, 0, 1), 64},
                                   {"the whole distribution", Make(1, 0, 1)},
                                   {"min-p", Make(1, 0, 1, 0.05f)},
                                   {"top-p", Make(0.7f, 0, 0.9f)},
                                   {"top-k and top-p", Make(0.8f, 40, 0.9f)},
                                   {"top-k and top-p, 64 penalties", Make(0.8f, 40, 0.9f), 64},
                                   {"top-k and top-p, 1000 penalties", Make(0.8f, 40, 0.9f), 1000},
                                   {"top-k and top-p, a mask", Make(0.8f, 40, 0.9f), 0, true},
                                   {"top-k 1000", Make(1, 1000, 1)},
                                   {"top-k and top-p, log-probability", Make(0.8f, 40, 0.9f)},
                                   {"the whole, 20 likeliest", Make(1, 0, 1)},
                                   {"top-k 5000 (general)", Make(1, 5000, 0.99f)}};
  for (Setting& setting : settings) {
    setting.parameters.repetition_penalty = setting.recent > 0 ? 1.1f : 1.0f;
    const std::string name = setting.name;
    setting.parameters.log_probability = name.find("log-") != std::string::npos;
    setting.parameters.likeliest = name.find("likeliest") != std::string::npos ? kMostLikeliest : 0;
  }
  for (const int vocab : {32000, 151936, 262144}) bench.Measure(vocab, settings);
}
