// See body_file.h.
#include "http/body_file.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <span>
#include <string>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace edgellm::http {

BodyFile::BodyFile(const std::filesystem::path& folder) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::string name = (folder / ".upload-XXXXXX").string();
  descriptor_ = mkostemp(name.data(), O_CLOEXEC);
  if (descriptor_ < 0) Fail(ErrorCode::kIo, "cannot make a file in {}: {}", folder.string(), std::strerror(errno));
  path_ = name;
}

BodyFile::~BodyFile() {
  if (descriptor_ >= 0) close(descriptor_);
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove(path_, ignored);
}

void BodyFile::Append(std::string_view bytes) {
  WriteAt(descriptor_, size_, std::as_bytes(std::span(bytes.data(), bytes.size())), path_);
  size_ += bytes.size();
}

std::filesystem::path BodyFile::Release() {
  if (close(std::exchange(descriptor_, -1)) != 0) {
    Fail(ErrorCode::kIo, "cannot write {}: {}", path_.string(), std::strerror(errno));
  }
  return std::exchange(path_, {});
}

}  // namespace edgellm::http
