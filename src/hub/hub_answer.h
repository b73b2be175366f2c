// What a hub answers, read with suspicion: the list of a repository's files, an index of weight files, refusals. Pure
// functions over text; the facts are those of the Hugging Face hub's API (GET /api/models/OWNER/REPOSITORY/revision/…).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "hub/file_digest.h"

namespace edgellm {

struct HubFile {
  std::string path;              // inside the repository: relative, with '/', checked by IsSafePath
  std::optional<uint64_t> size;  // absent: the hub did not say
  FileDigest digest;

  bool operator==(const HubFile&) const = default;
};

struct HubListing {
  std::string repository;  // as the hub spells it
  std::string commit;      // what the revision stands for: files are taken from there, whatever is pushed meanwhile
  std::vector<HubFile> files;
};

/// The answer to …/revision/REVISION?blobs=true: "sha", "siblings":[{"rfilename", "size", "blobId", "lfs":{"sha256",
/// "size"}}]. `name` opens error texts. Throws Error(kCorrupt).
HubListing ParseHubListing(std::string_view json, std::string_view name);

/// The files that a model.safetensors.index.json names ("weight_map"), each once, sorted. Throws Error(kCorrupt).
std::vector<std::string> ParseWeightIndex(std::string_view json, std::string_view name);

/// True for a relative path that stays inside its folder and can stand on one line.
bool IsSafePath(std::string_view path);

/// "bytes 0-99/1000" → 0, 100 (one past the last), 1000. Absent where it is anything else; `total` is absent for '*'.
struct ContentRange {
  uint64_t begin = 0, end = 0;
  std::optional<uint64_t> total;
};
std::optional<ContentRange> ParseContentRange(std::string_view text);

/// What to tell a user whose request was refused with `status`; `error_code` and `message` are the hub's own
/// (X-Error-Code, X-Error-Message), empty where there are none. `had_token`: the request carried one.
std::string ExplainRefusal(long status, std::string_view error_code, std::string_view message, std::string_view what,
                           bool had_token);

}  // namespace edgellm
