// Fuzzes what hubs answer. The first byte chooses: a list of files (and a choice among them), an index of weights,
// Content-Range, a name, notes of byte ranges. Paths that come out stay inside their folder.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "base/utf8.h"
#include "hub/file_choice.h"
#include "hub/hub_answer.h"
#include "hub/hub_name.h"
#include "hub/range_set.h"

namespace {

using namespace edgellm;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void RequireInside(const std::string& path) {
  Require(!path.empty() && path.front() != '/' && ("/" + path + "/").find("/../") == path.npos,
          "a path leaves its folder");
}

void Try(uint8_t kind, std::string_view text) {
  if (kind == 0) {
    const HubListing listing = ParseHubListing(text, "fuzz");
    for (const auto& file : listing.files) RequireInside(file.path);
    for (const char* choice : {"", "safetensors", "Q4_0", "a.gguf"}) {
      try {
        Require(!ChooseFiles(listing.files, choice, "fuzz").files.empty(), "a choice is some file");
      } catch (const Error&) {
      }
    }
  } else if (kind == 1) {
    for (const auto& path : ParseWeightIndex(text, "fuzz")) RequireInside(path);
  } else if (kind == 2) {
    if (const auto range = ParseContentRange(text)) {
      Require(range->begin < range->end && (!range->total || range->end <= *range->total), "a range is one");
    }
    ParseDigest(text);
  } else if (kind == 3) {
    const HubSource source = ParseHubName(text);
    Require(!source.name.empty() && source.is_repository() == source.url.empty(), "a name names something");
  } else {
    const RangeSet ranges = RangeSet::Parse(text);
    Require(RangeSet::Parse(ranges.ToText()) == ranges, "ranges read back");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  try {
    Try(data[0] % 5, {reinterpret_cast<const char*>(data) + 1, size - 1});
  } catch (const Error& error) {
    Require(std::string_view(error.what()).find('\n') == std::string_view::npos, "an error is one line");
    Require(utf8::IsValid(error.what()), "an error is UTF-8");
  }
  return 0;
}
