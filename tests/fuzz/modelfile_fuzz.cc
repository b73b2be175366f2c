// Fuzzes Modelfiles: what is read can be written, and what is written reads back as the same, or cannot be written.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "serve/modelfile.h"

namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  edgellm::Modelfile modelfile;
  try {
    modelfile = edgellm::ParseModelfile({reinterpret_cast<const char*>(data), size}, "fuzz");
  } catch (const edgellm::Error& error) {
    Require(std::string_view(error.what()).find('\n') == std::string_view::npos, "an error is one line");
    Require(edgellm::utf8::IsValid(error.what()), "an error is UTF-8");
    return 0;
  }
  std::string written;
  try {
    written = edgellm::WriteModelfile(modelfile);
  } catch (const edgellm::Error&) {
    return 0;
  }
  Require(edgellm::ParseModelfile(written, "fuzz") == modelfile, "what is written reads back");
  return 0;
}
