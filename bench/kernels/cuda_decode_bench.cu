// One decoding phase (prepare, multiply, finish) of a real shape at a time, chained in a graph as a forward chains them:
// microseconds a phase, and what the bytes alone would take. For work on kernels/token_linear.cuh; needs a device.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "backend/cuda/device.h"
#include "backend/cuda/tasks.h"

namespace {

using namespace edgellm::cuda;

__global__ void Fill(uint32_t* words, size_t count, uint32_t seed, uint32_t mask, uint32_t bits) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += size_t{gridDim.x} * blockDim.x) {
    uint32_t x = static_cast<uint32_t>(i) * 2654435761u ^ seed;
    x = (x ^ x >> 15) * 2246822519u;
    words[i] = ((x ^ x >> 13) & mask) | bits;
  }
}

struct Shape {
  const char* name;
  Codes codes;
  int rows, cols, group;
  Output kind;
  bool norm;
};

struct Bench {
  DeviceFacts facts = OpenDevice();
  cudaStream_t stream = nullptr;
  DeviceBuffer x{1 << 20}, norm{1 << 20}, y{8 << 20}, staging{1 << 16};

  Bench() {
    Check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
    // Floats of about one: exponent and sign fixed, mantissa random.
    Fill<<<64, 256>>>(x.as<uint32_t>(), x.size() / 4, 1, 0x807fffffu, 0x3f000000u);
    Fill<<<64, 256>>>(norm.as<uint32_t>(), norm.size() / 4, 2, 0x007fffffu, 0x3f800000u);
    Check(cudaDeviceSynchronize(), "filling");
  }

  void Measure(const Shape& shape) {
    LinearTask task{};
    PackedMatrix& m = task.matrix;
    m = MeasureMatrix(shape.codes, shape.codes != Codes::kTernary, (shape.rows + kTileRows - 1) / kTileRows, shape.rows, shape.cols,
                      shape.group == 0 ? shape.cols : shape.group);
    const size_t codes = m.code_bytes(), scales = m.scale_count() * (m.f16_scales ? 2 : 4);
    m.bytes = codes + scales;
    // Enough copies that each launch reads from memory and not from the cache.
    const size_t copies = std::max<size_t>(2, 4 * facts.l2_bytes / m.bytes + 1);
    DeviceBuffer data(copies * codes), scale(copies * scales);
    Fill<<<1024, 256>>>(data.as<uint32_t>(), data.size() / 4, 3, ~0u, 0);
    Fill<<<256, 256>>>(scale.as<uint32_t>(), scale.size() / 4, 4, m.f16_scales ? 0x03ff03ffu : 0x007fffffu,
                       m.f16_scales ? 0x20002000u : 0x3c000000u);
    task.input.x = x.as<float>();
    task.input.stride = static_cast<size_t>(shape.cols);
    task.input.norm = shape.norm ? norm.as<float>() : nullptr;
    task.input.epsilon = 1e-6f;
    task.input.cols = shape.cols;
    PrepareFor(m, &task.input);
    task.out.kind = shape.kind;
    task.out.y = y.as<float>();
    task.out.stride = static_cast<size_t>(shape.rows);
    task.out.rows = shape.kind == Output::kGateUp ? shape.rows / 2 : shape.rows;
    task.tokens = 1;
    constexpr int kLaunches = 256;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    Launch launch = {stream, false, facts.processors, static_cast<int>(facts.shared_bytes_per_block)};
    const auto enqueue = [&] {
      for (int i = 0; i < kLaunches; ++i) {
        LinearTask one = task;
        one.matrix.data = data.as<uint8_t>() + (static_cast<size_t>(i) % copies) * codes;
        one.matrix.scales = scale.as<uint8_t>() + (static_cast<size_t>(i) % copies) * scales;
        LaunchTokenLinear(one, launch);
        launch.chained = facts.major >= 9;
      }
    };
    enqueue();
    Check(cudaStreamSynchronize(stream), "a first round");
    Check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capturing");
    launch.chained = false;
    enqueue();
    Check(cudaStreamEndCapture(stream, &graph), "capturing");
    Check(cudaGraphInstantiate(&exec, graph, 0), "making a graph");
    cudaEvent_t begin = nullptr, end = nullptr;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    std::vector<float> times;
    for (int round = 0; round < 9; ++round) {
      Check(cudaEventRecord(begin, stream), "timing");
      Check(cudaGraphLaunch(exec, stream), "launching");
      Check(cudaEventRecord(end, stream), "timing");
      Check(cudaEventSynchronize(end), "timing");
      float milliseconds = 0;
      cudaEventElapsedTime(&milliseconds, begin, end);
      times.push_back(milliseconds * 1000 / kLaunches);
    }
    std::sort(times.begin(), times.end());
    std::printf("%-22s %7.2f us (%.2f to %.2f)  bytes alone %6.2f us\n", shape.name, times[4], times.front(), times.back(),
                static_cast<double>(m.bytes) / 4.6e6);
    cudaGraphExecDestroy(exec);
    cudaGraphDestroy(graph);
  }
};

}  // namespace

int main() {
  Bench bench;
  std::printf("%s\n", bench.facts.name.c_str());
  const Codes int4 = Codes::kInt4;
  for (const Shape& shape : std::vector<Shape>{{"smollm qkv", int4, 960, 576, 128, Output::kStore, true},
                                               {"smollm out", int4, 576, 576, 128, Output::kResidual, false},
                                               {"smollm gate", int4, 3072, 576, 128, Output::kGateUp, true},
                                               {"smollm down", int4, 576, 1536, 128, Output::kResidual, false},
                                               {"1.5b qkv", int4, 2048, 1536, 128, Output::kStore, true},
                                               {"1.5b out", int4, 1536, 1536, 128, Output::kResidual, false},
                                               {"1.5b gate", int4, 17920, 1536, 128, Output::kGateUp, true},
                                               {"1.5b down", int4, 1536, 8960, 128, Output::kResidual, false},
                                               {"1.5b head int8", Codes::kInt8, 151936, 1536, 128, Output::kStore, true},
                                               {"bitnet gate ternary", Codes::kTernary, 13824, 2560, 0, Output::kGateUp, true},
                                               {"bitnet down ternary", Codes::kTernary, 2560, 6912, 0, Output::kResidual, true},
                                               {"8b gate", int4, 28672, 4096, 128, Output::kGateUp, true},
                                               {"8b down", int4, 4096, 14336, 128, Output::kResidual, false}}) {
    bench.Measure(shape);
  }
}
