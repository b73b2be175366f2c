// See hub_answer.h.
#include "hub/hub_answer.h"

#include <algorithm>
#include <charconv>
#include <set>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/one_line.h"
#include "base/utf8.h"

namespace edgellm {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;
constexpr size_t kMaxFiles = 100'000;

Json ParseAnswer(std::string_view text, std::string_view name) {
  const auto shallow = [&](int depth, Json::parse_event_t, const Json&) {
    if (depth > kMaxDepth) Fail(ErrorCode::kCorrupt, "{}: JSON is nested too deeply", name);
    return true;
  };
  try {
    Json json = Json::parse(text, shallow);
    if (!json.is_object()) Fail(ErrorCode::kCorrupt, "{}: not a JSON object", name);
    return json;
  } catch (const Json::exception& error) {
    Fail(ErrorCode::kCorrupt, "{}: not valid JSON: {}", name, OneLine(error.what()));
  }
}

std::string TextOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<uint64_t> SizeOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  const uint64_t size = found->get<uint64_t>();
  return size > uint64_t{INT64_MAX} ? std::nullopt : std::optional(size);
}

std::string CheckedPath(const Json& object, const char* key, std::string_view name) {
  std::string path = TextOf(object, key);
  if (!IsSafePath(path)) Fail(ErrorCode::kCorrupt, "{}: a file is called '{}'", name, OneLine(path));
  return path;
}

HubFile ReadFileEntry(const Json& entry, std::string_view name) {
  if (!entry.is_object()) Fail(ErrorCode::kCorrupt, "{}: an entry of \"siblings\" is no object", name);
  HubFile file{CheckedPath(entry, "rfilename", name), SizeOf(entry, "size"), ParseDigest(TextOf(entry, "blobId"))};
  if (const auto lfs = entry.find("lfs"); lfs != entry.end() && lfs->is_object()) {
    // The blob id is that of the pointer here. Older answers say "oid".
    const std::string sha256 = TextOf(*lfs, "sha256");
    file.digest = ParseDigest(sha256.empty() ? TextOf(*lfs, "oid") : sha256);
    if (const auto size = SizeOf(*lfs, "size")) file.size = size;
  }
  return file;
}

bool TakeNumber(std::string_view* text, uint64_t* value) {
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), *value);
  if (failed != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

bool TakeText(std::string_view* text, std::string_view expected) {
  if (!text->starts_with(expected)) return false;
  text->remove_prefix(expected.size());
  return true;
}

}  // namespace

bool IsSafePath(std::string_view path) {
  if (path.empty() || path.size() > 1024 || !utf8::IsValid(path)) return false;
  for (const unsigned char c : path) {
    if (c < 0x20 || c == 0x7f || c == '\\') return false;
  }
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
    if (slash == path.npos) return true;
    path.remove_prefix(slash + 1);
  }
  return false;  // a slash at the end
}

HubListing ParseHubListing(std::string_view text, std::string_view name) {
  const Json json = ParseAnswer(text, name);
  HubListing listing;
  listing.repository = TextOf(json, "id");
  listing.commit = TextOf(json, "sha");
  const bool is_commit =
      std::all_of(listing.commit.begin(), listing.commit.end(), [](unsigned char c) { return std::isalnum(c) != 0; });
  if (!is_commit || listing.commit.size() > 64) Fail(ErrorCode::kCorrupt, "{}: \"sha\" is no commit", name);
  const auto files = json.find("siblings");
  if (files == json.end() || !files->is_array()) Fail(ErrorCode::kCorrupt, "{}: has no list \"siblings\"", name);
  if (files->size() > kMaxFiles) Fail(ErrorCode::kCorrupt, "{}: lists more than {} files", name, kMaxFiles);
  std::set<std::string> seen;
  for (const auto& entry : *files) {
    HubFile file = ReadFileEntry(entry, name);
    if (seen.insert(file.path).second) listing.files.push_back(std::move(file));
  }
  return listing;
}

std::vector<std::string> ParseWeightIndex(std::string_view text, std::string_view name) {
  const Json json = ParseAnswer(text, name);
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object()) Fail(ErrorCode::kCorrupt, "{}: has no \"weight_map\"", name);
  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !IsSafePath(file.get_ref<const std::string&>())) {
      Fail(ErrorCode::kCorrupt, "{}: tensor '{}' lies in no file", name, OneLine(tensor));
    }
    files.insert(file.get<std::string>());
    if (files.size() > kMaxFiles) Fail(ErrorCode::kCorrupt, "{}: names more than {} files", name, kMaxFiles);
  }
  if (files.empty()) Fail(ErrorCode::kCorrupt, "{}: names no file", name);
  return {files.begin(), files.end()};
}

std::optional<ContentRange> ParseContentRange(std::string_view text) {
  ContentRange range;
  uint64_t last = 0;
  if (!TakeText(&text, "bytes ") || !TakeNumber(&text, &range.begin) || !TakeText(&text, "-") ||
      !TakeNumber(&text, &last) || !TakeText(&text, "/") || last < range.begin || last == UINT64_MAX) {
    return std::nullopt;
  }
  range.end = last + 1;
  if (text == "*") return range;
  uint64_t total = 0;
  if (!TakeNumber(&text, &total) || !text.empty() || total < range.end) return std::nullopt;
  range.total = total;
  return range;
}

std::string ExplainRefusal(long status, std::string_view error_code, std::string_view message, std::string_view what,
                           bool had_token) {
  const std::string says = message.empty() ? "" : fmt::format(" (the hub says: {})", OneLine(message));
  if (error_code == "GatedRepo") {
    return had_token ? fmt::format(
                           "{}: the model is gated, and the account of HF_TOKEN has no access yet: ask for it on the "
                           "model's page{}",
                           what, says)
                     : fmt::format(
                           "{}: the model is gated: accept its terms on the model's page, and set HF_TOKEN to a token "
                           "of that account",
                           what);
  }
  if (status == 401 || status == 403) {
    return had_token ? fmt::format(
                           "{}: refused (HTTP {}): it does not exist, or the account of HF_TOKEN may not read "
                           "it{}",
                           what, status, says)
                     : fmt::format(
                           "{}: refused (HTTP {}): it does not exist, or is private or gated: then HF_TOKEN must "
                           "hold a token that may read it{}",
                           what, status, says);
  }
  if (status == 404 || status == 410) {
    const std::string_view missing = error_code == "RevisionNotFound" ? "no such revision"
                                     : error_code == "EntryNotFound"  ? "no such file"
                                     : error_code == "RepoNotFound"   ? "no such model"
                                                                      : "not found";
    return fmt::format("{}: {} (HTTP {})", what, missing, status);
  }
  return fmt::format("{}: the server answers HTTP {}{}", what, status, says);
}

}  // namespace edgellm
