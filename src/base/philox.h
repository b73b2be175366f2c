// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011). A draw depends on (seed, counter) alone, so the same request draws the same numbers on any device, in
// any batch.
#pragma once

#include <array>
#include <cstdint>

namespace edgellm {

/// Four uniform 32-bit words for one 128-bit counter under a 64-bit key.
inline std::array<uint32_t, 4> Philox(uint64_t seed, uint64_t counter_low, uint64_t counter_high = 0) {
  std::array<uint32_t, 4> c = {static_cast<uint32_t>(counter_low), static_cast<uint32_t>(counter_low >> 32),
                               static_cast<uint32_t>(counter_high), static_cast<uint32_t>(counter_high >> 32)};
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53u} * c[0], p1 = uint64_t{0xCD9E8D57u} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    k0 += 0x9E3779B9u;  // the golden ratio
    k1 += 0xBB67AE85u;  // the square root of three, less one
  }
  return c;
}

/// Uniform in [0, 1): 53 random bits.
inline double PhiloxUniform(uint64_t seed, uint64_t counter_low, uint64_t counter_high = 0) {
  const auto words = Philox(seed, counter_low, counter_high);
  const uint64_t bits = (uint64_t{words[0]} << 32 | words[1]) >> 11;
  return static_cast<double>(bits) * 0x1.0p-53;
}

}  // namespace edgellm
