// See file_digest.h.
#include "hub/file_digest.h"

#include <algorithm>
#include <cctype>
#include <utility>

#include <openssl/evp.h>

#include "base/error.h"

namespace edgellm {

FileDigest ParseDigest(std::string_view text) {
  if (text.starts_with("W/")) text.remove_prefix(2);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  if (text.starts_with("sha256:")) text.remove_prefix(7);
  if (!std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c) != 0; })) return {};
  std::string hex(text);
  std::transform(hex.begin(), hex.end(), hex.begin(), [](unsigned char c) { return std::tolower(c); });
  if (hex.size() == 64) return {FileDigest::Kind::kSha256, std::move(hex)};
  if (hex.size() == 40) return {FileDigest::Kind::kGitBlob, std::move(hex)};
  return {};
}

struct DigestStream::State {
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context{nullptr, EVP_MD_CTX_free};
};

DigestStream::DigestStream(FileDigest::Kind kind, uint64_t size) : state_(std::make_unique<State>()) {
  if (kind == FileDigest::Kind::kNone) return;
  state_->context.reset(EVP_MD_CTX_new());
  const EVP_MD* method = kind == FileDigest::Kind::kSha256 ? EVP_sha256() : EVP_sha1();
  if (!state_->context || EVP_DigestInit_ex(state_->context.get(), method, nullptr) != 1) {
    Fail(ErrorCode::kEnvironment, "OpenSSL offers no {}", EVP_MD_get0_name(method));
  }
  if (kind == FileDigest::Kind::kGitBlob) {
    const std::string header = fmt::format("blob {}", size);
    Update(std::as_bytes(std::span(header.c_str(), header.size() + 1)));  // with its zero byte
  }
}

DigestStream::~DigestStream() = default;
DigestStream::DigestStream(DigestStream&&) noexcept = default;
DigestStream& DigestStream::operator=(DigestStream&&) noexcept = default;

void DigestStream::Update(std::span<const std::byte> bytes) {
  if (state_->context) EVP_DigestUpdate(state_->context.get(), bytes.data(), bytes.size());
}

std::string DigestStream::Finish() {
  if (!state_->context) return {};
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(state_->context.get(), digest, &size);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace edgellm
