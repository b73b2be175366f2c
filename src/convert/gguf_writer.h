// Writes the GGUF container, version 3: the mirror of gguf.h. Knows no model. Tensor bytes are asked for when their
// turn comes, so that a model need not fit in memory twice.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "convert/gguf.h"

namespace edgellm {

class GgufWriter {
 public:
  using Sink = std::function<void(std::span<const std::byte>)>;

  void AddUint32(std::string_view key, uint32_t value);
  void AddFloat(std::string_view key, float value);
  void AddBool(std::string_view key, bool value);
  void AddText(std::string_view key, std::string_view value);
  void AddTexts(std::string_view key, const std::vector<std::string>& values);
  void AddFloats(std::string_view key, const std::vector<float>& values);
  void AddInts(std::string_view key, const std::vector<int32_t>& values);

  /// `cols` is a multiple of the type's block; `is_vector` drops the second dimension. `produce` hands the sink exactly
  /// the tensor's bytes.
  void AddTensor(std::string_view name, GgufTensorType type, int64_t rows, int64_t cols, bool is_vector,
                 std::function<void(const Sink& sink)> produce);

  /// The whole file, front to back. `written` is called after each tensor.
  void Write(const Sink& sink, const std::function<void(size_t tensors)>& written = {}) const;

 private:
  struct PlannedTensor {
    size_t bytes;
    std::function<void(const Sink&)> produce;
  };

  void StartPair(std::string_view key, GgufValueType type);
  void StartArray(std::string_view key, GgufValueType type, size_t count);

  std::string pairs_, infos_;
  uint64_t pair_count_ = 0, data_bytes_ = 0;
  std::vector<PlannedTensor> tensors_;
};

}  // namespace edgellm
