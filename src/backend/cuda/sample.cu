// Launches sampling: one to three kernels, by what the batch needs. See kernels/sample.cuh.
#include "backend/cuda/kernels/sample.cuh"
#include "backend/cuda/launch.cuh"

#include <algorithm>

namespace edgellm::cuda {

void LaunchSample(const SampleTask& task, SampleWork work, const Launch& launch) {
  if (work == SampleWork::kNothing || task.rows == 0) return;
  const int jobs = work == SampleWork::kReport ? 2 * task.rows : task.rows, tiles = (task.vocab + kTile - 1) / kTile;
  // Many rows fill the device with a few blocks each.
  const int blocks = std::clamp(2 * launch.processors / jobs, 1, tiles);
  const dim3 grid(static_cast<unsigned>(blocks), static_cast<unsigned>(jobs));
  LaunchKernel(FindHighest, grid, kSampleThreads, 0, launch, task);
  if (work == SampleWork::kGreedy) return;
  LaunchKernel(CountBuckets, grid, kSampleThreads, 0, launch, task);
  AllowSharedMemory(TakeCandidates, sizeof(CandidateMemory));
  LaunchKernel(TakeCandidates, grid, kSampleThreads, sizeof(CandidateMemory), launch, task);
}

}  // namespace edgellm::cuda
