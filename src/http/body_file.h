// A file that takes the body of a request, and goes away unless somebody takes it over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace edgellm::http {

class BodyFile {
 public:
  /// A new file in `folder`. Throws Error(kIo).
  explicit BodyFile(const std::filesystem::path& folder);
  ~BodyFile();
  BodyFile(const BodyFile&) = delete;
  BodyFile& operator=(const BodyFile&) = delete;

  /// Throws Error(kIo).
  void Append(std::string_view bytes);
  /// The path of the complete file, which the caller removes from now on. Throws Error(kIo).
  std::filesystem::path Release();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

}  // namespace edgellm::http
