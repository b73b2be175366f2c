// Fuzzes the reading of GGUF files: container, metadata, vocabulary, block repacking, parts that are one model. What is
// imported must be sound: its weights bind to its plan, and each row decodes. Any outcome is fine but a crash, a leak,
// a hang, or an exception that is not an Error of one line.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "convert/gguf_config.h"
#include "convert/gguf_parts.h"
#include "convert/import_gguf.h"
#include "model/lower.h"
#include "quant/codec.h"

namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void RequireOneLine(const edgellm::Error& error) {
  const std::string text = error.what();
  Require(text.find('\n') == std::string::npos, "an error is one line");
  Require(edgellm::utf8::IsValid(text), "an error is UTF-8");
}

void Import(const std::shared_ptr<const std::vector<std::byte>>& bytes) {
  try {
    const auto model = edgellm::ImportGgufBytes(*bytes, "fuzz", bytes, {});
    for (const auto& view : model.weights.Bind(edgellm::Lower(model.config), "fuzz")) {
      std::vector<float> row(static_cast<size_t>(view.cols));
      edgellm::DecodeRow(view, 0, row);
      edgellm::DecodeRow(view, view.rows - 1, row);
    }
  } catch (const edgellm::Error& error) {
    RequireOneLine(error);
  }
}

/// Also for files that are no whole model: most inputs fail there, and would never get to the vocabulary.
void ReadVocabulary(const std::vector<std::byte>& bytes) {
  try {
    const auto file = edgellm::ParseGguf(bytes, "fuzz");
    const auto vocabulary = edgellm::ReadGgufVocabulary(file);
    if (vocabulary) edgellm::BuildGgufTokenizer(file, *vocabulary).Encode("a bab");
  } catch (const edgellm::Error& error) {
    RequireOneLine(error);
  }
}

/// A split model of two parts: the first's length, then both.
void ImportParts(const uint8_t* data, size_t size) {
  uint32_t first = 0;
  if (size < sizeof(first)) return;
  std::memcpy(&first, data, sizeof(first));
  const std::span<const uint8_t> rest(data + sizeof(first), size - sizeof(first));
  if (first > rest.size()) return;
  using Bytes = std::vector<std::byte>;
  const auto owner = std::make_shared<std::pair<Bytes, Bytes>>(first, rest.size() - first);
  if (first != 0) std::memcpy(owner->first.data(), rest.data(), first);
  if (first != rest.size()) std::memcpy(owner->second.data(), rest.data() + first, rest.size() - first);
  try {
    std::vector<edgellm::GgufFile> parts;
    parts.push_back(edgellm::ParseGguf(owner->first, "first"));
    parts.push_back(edgellm::ParseGguf(owner->second, "second"));
    const size_t tensors = parts[0].tensors.size() + parts[1].tensors.size();
    const auto joined = edgellm::JoinGgufParts(std::move(parts));
    Require(joined.tensors.size() == tensors, "every tensor of every part is there");
    edgellm::ImportParsedGguf(joined, owner, {});
  } catch (const edgellm::Error& error) {
    RequireOneLine(error);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Copied, so that reads beyond the end are seen; from the allocator, so that floats are aligned as in a mapped file.
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  if (size != 0) std::memcpy(bytes->data(), data, size);
  Import(bytes);
  ReadVocabulary(*bytes);
  ImportParts(data, size);
  return 0;
}
