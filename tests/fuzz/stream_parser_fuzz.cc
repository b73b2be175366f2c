// Fuzzes the reading of what servers stream. The first byte chooses the format and the size of the pieces: wherever the
// bytes are cut, the same events come, or the same failure in one line of UTF-8.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "bench/stream_parser.h"

namespace {

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

struct Outcome {
  std::vector<edgellm::StreamEvent> events;
  std::string failure;
};

Outcome Read(edgellm::StreamFormat format, std::string_view stream, size_t piece) {
  Outcome outcome;
  const auto add = [&](const std::vector<edgellm::StreamEvent>& more) {
    outcome.events.insert(outcome.events.end(), more.begin(), more.end());
  };
  try {
    edgellm::StreamParser parser(format, "fuzz");
    for (; !stream.empty(); stream.remove_prefix(std::min(piece, stream.size())))
      add(parser.Push(stream.substr(0, piece)));
    add(parser.Finish());
  } catch (const edgellm::Error& error) {
    outcome.failure = error.what();
    Require(outcome.failure.find('\n') == std::string::npos, "an error is one line");
    Require(edgellm::utf8::IsValid(outcome.failure), "an error is UTF-8");
  }
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto format = data[0] % 2 == 0 ? edgellm::StreamFormat::kJsonLines : edgellm::StreamFormat::kServerEvents;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = Read(format, stream, std::max<size_t>(stream.size(), 1));
  const Outcome pieces = Read(format, stream, data[0] / 2 + size_t{1});
  Require(whole.failure == pieces.failure, "a failure depends on the pieces");
  // A piece that fails gives none of its events.
  Require(!whole.failure.empty() || whole.events == pieces.events, "the events depend on the pieces");
  return 0;
}
