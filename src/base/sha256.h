// SHA-256 (FIPS 180-4), as the checksums in model files and the digests of sources. A thin cover over OpenSSL.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace edgellm {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(std::span<const std::byte> bytes);
  /// 64 lower-case hexadecimal digits. The object is spent afterwards.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string Sha256Hex(std::span<const std::byte> bytes);

}  // namespace edgellm
