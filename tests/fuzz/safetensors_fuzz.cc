// Fuzzes the safetensors reader. What is accepted must lie within the file and cover it; what is refused, in one line.
#include <cstdio>
#include <cstdlib>

#include "base/error.h"
#include "base/utf8.h"
#include "model/safetensors.h"

namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  try {
    const auto file = edgellm::ParseSafetensors(bytes, "fuzz");
    size_t total = 0;
    for (const auto& [name, entry] : file.tensors) {
      const bool inside =
          entry.bytes.data() >= bytes.data() && entry.bytes.data() + entry.bytes.size() <= bytes.data() + bytes.size();
      Require(inside, "a tensor lies outside of the file");
      total += entry.bytes.size();
    }
    Require(total < size, "the tensors are larger than the file");
  } catch (const edgellm::Error& error) {
    const std::string_view text = error.what();
    Require(text.find('\n') == std::string_view::npos && edgellm::utf8::IsValid(text),
            "an error is not one line of UTF-8");
  }
  return 0;
}
