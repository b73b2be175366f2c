// A bounds-checked cursor over little-endian bytes from a file. Every overrun is an Error that names the file and the
// field.
#pragma once

#include <bit>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "base/error.h"

namespace edgellm {

static_assert(std::endian::native == std::endian::little, "file formats are read as little-endian without conversion");

class ByteReader {
 public:
  /// `name` (usually the path) opens every error text.
  ByteReader(std::span<const std::byte> bytes, std::string name) : bytes_(bytes), name_(std::move(name)) {}

  size_t position() const { return position_; }
  size_t remaining() const { return bytes_.size() - position_; }
  const std::string& name() const { return name_; }

  /// The next sizeof(T) bytes as a number.
  template <typename T>
  T Read(std::string_view field) {
    static_assert(std::is_arithmetic_v<T>);
    T value;
    std::memcpy(&value, Take(sizeof(T), field).data(), sizeof(T));
    return value;
  }

  /// The next `count` bytes, not copied.
  std::span<const std::byte> Take(size_t count, std::string_view field) {
    if (count > remaining()) {
      Fail(ErrorCode::kCorrupt, "{}: file ends inside {}: {} bytes needed at offset {}, {} left", name_, field, count,
           position_, remaining());
    }
    auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  std::string_view TakeText(size_t count, std::string_view field) {
    auto taken = Take(count, field);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }

  /// Moves to an absolute offset.
  void Seek(size_t offset, std::string_view field) {
    if (offset > bytes_.size()) Fail(ErrorCode::kCorrupt, "{}: {} lies beyond the end of the file", name_, field);
    position_ = offset;
  }

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
  size_t position_ = 0;
};

}  // namespace edgellm
