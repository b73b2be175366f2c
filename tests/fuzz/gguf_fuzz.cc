// Fuzzes the reading of GGUF files: container, metadata, vocabulary, block repacking. What is imported must be sound:
// its weights bind to its plan, and each row decodes. Any outcome is fine but a crash, a leak, a hang, or an exception
// that is not an Error of one line.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/utf8.h"
#include "convert/gguf_config.h"
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Copied, so that reads beyond the end are seen; from the allocator, so that floats are aligned as in a mapped file.
  auto bytes = std::make_shared<std::vector<std::byte>>(size);
  if (size != 0) std::memcpy(bytes->data(), data, size);
  Import(bytes);
  ReadVocabulary(*bytes);
  return 0;
}
