// What a hub says a file's content must be: SHA-256 for large files, git's blob id (SHA-1 over a header and the bytes)
// for the small ones that lie in git itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace edgellm {

struct FileDigest {
  enum class Kind : uint8_t { kNone, kSha256, kGitBlob };
  Kind kind = Kind::kNone;
  std::string hex;  // lower case: 64 or 40 digits; empty for kNone

  bool operator==(const FileDigest&) const = default;
};

/// From an HTTP ETag or a field of the hub: 64 hexadecimal digits are a SHA-256, 40 a blob id, in quotes or not;
/// anything else says nothing (kNone).
FileDigest ParseDigest(std::string_view text);

/// Computes a digest while the bytes come, in order.
class DigestStream {
 public:
  /// `size`: of the whole, which a blob id begins with.
  DigestStream(FileDigest::Kind kind, uint64_t size);
  ~DigestStream();
  DigestStream(DigestStream&&) noexcept;
  DigestStream& operator=(DigestStream&&) noexcept;
  void Update(std::span<const std::byte> bytes);
  /// In hexadecimal; the object is spent afterwards. Empty for kNone.
  std::string Finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace edgellm
