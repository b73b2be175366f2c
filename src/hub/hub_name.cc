// See hub_name.h.
#include "hub/hub_name.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "base/error.h"
#include "base/one_line.h"
#include "base/part_name.h"
#include "hub/curl_handles.h"

namespace edgellm {
namespace {

/// Names that people write before OWNER/REPOSITORY, all for the same hub.
constexpr std::string_view kHubHosts[] = {"hf.co/", "huggingface.co/", "www.huggingface.co/"};

bool StartsWithIgnoringCase(std::string_view text, std::string_view start) {
  return text.size() >= start.size() && std::equal(start.begin(), start.end(), text.begin(), [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
         });
}

/// The hub's own rule: letters, digits, '-', '_', '.', no '.' in front.
bool IsHubPart(std::string_view part) {
  return !part.empty() && part.size() <= 96 && part.front() != '.' && part.front() != '-' &&
         std::all_of(part.begin(), part.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.'; });
}

std::vector<std::string_view> Split(std::string_view text, char by) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(by);
    parts.push_back(text.substr(0, end));
    if (end == text.npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// A name in the store allows letters, digits, '.', '_' and '-' in a part, and no '.' in front.
std::string AsNamePart(std::string_view text) {
  std::string part;
  for (const unsigned char c : text) {
    part += std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' ? static_cast<char>(c) : '-';
  }
  part.erase(0, part.find_first_not_of('.'));
  return part;
}

std::string Stem(std::string_view file) {
  file = file.substr(file.rfind('/') + 1);  // npos + 1 is 0
  for (const std::string_view suffix : {".gguf", ".edgellm", ".safetensors"}) {
    if (file.size() > suffix.size() && file.ends_with(suffix)) file.remove_suffix(suffix.size());
  }
  if (auto part = ParsePartName(file)) return std::move(part->name);  // one part stands for all
  return std::string(file);
}

std::string NameOf(const HubSource& source) {
  std::string tag = AsNamePart(Stem(source.choice));
  if (tag == "latest") tag.clear();
  return source.repository + (tag.empty() ? "" : ":" + tag);
}

[[noreturn]] void FailName(std::string_view text) {
  Fail(
      ErrorCode::kInvalidArgument,
      "'{}' is no model of a hub: OWNER/REPOSITORY[:QUANTISATION or FILE], hf.co/OWNER/REPOSITORY, or the address of a "
      "file",
      OneLine(text));
}

void SetRepository(HubSource* source, std::string_view owner, std::string_view repository, std::string_view text) {
  if (!IsHubPart(owner) || !IsHubPart(repository)) FailName(text);
  source->repository = fmt::format("{}/{}", owner, repository);
}

/// https://huggingface.co/OWNER/REPOSITORY, …/tree/REVISION, …/blob/REVISION/FILE, …/resolve/REVISION/FILE
void ReadHubPage(HubSource* source, const std::string& path, std::string_view text) {
  auto parts = Split(path, '/');
  std::erase(parts, std::string_view());
  if (parts.size() < 2) FailName(text);
  std::string repository(parts[1]);
  if (const size_t colon = repository.find(':'); colon != repository.npos && parts.size() == 2) {
    source->choice = repository.substr(colon + 1);
    repository.resize(colon);
  }
  SetRepository(source, parts[0], repository, text);
  if (parts.size() == 2) return;
  const bool file = parts[2] == "blob" || parts[2] == "resolve";
  if (parts.size() < 4 || (!file && parts[2] != "tree")) FailName(text);
  source->revision = UnescapePath(std::string(parts[3]));
  if (!file) return;
  for (size_t i = 4; i < parts.size(); ++i) source->choice += (i > 4 ? "/" : "") + UnescapePath(std::string(parts[i]));
  if (source->choice.empty()) FailName(text);
}

HubSource ParseAddress(std::string_view text, HubSource source) {
  const WebAddress address = ParseWebAddress(std::string(text));
  const bool hub = address.origin == ParseWebAddress(source.endpoint).origin || address.origin == kUsualHub ||
                   address.origin == "https://hf.co" || address.origin == "https://www.huggingface.co";
  if (hub) {
    ReadHubPage(&source, address.path, text);
    source.name = NameOf(source);
    return source;
  }
  source.endpoint.clear();
  source.url = std::string(text.substr(0, text.find('#')));
  const std::string path = UnescapePath(address.path);
  // A folder is told by its slash: an address without one may be anything.
  const std::string_view last = path.ends_with('/') ? std::string_view(path).substr(0, path.size() - 1) : path;
  source.name = AsNamePart(Stem(last));
  if (source.name.empty()) Fail(ErrorCode::kInvalidArgument, "'{}' names no file", OneLine(text));
  return source;
}

}  // namespace

HubSource ParseHubName(std::string_view text, std::string_view endpoint) {
  HubSource source;
  source.endpoint = std::string(endpoint.substr(0, endpoint.find_last_not_of('/') + 1));
  ParseWebAddress(source.endpoint);
  if (text.find("://") != text.npos) return ParseAddress(text, std::move(source));
  std::string_view rest = text;
  for (const auto host : kHubHosts) {
    if (StartsWithIgnoringCase(rest, host)) {
      rest.remove_prefix(host.size());
      break;
    }
  }
  const size_t colon = rest.find(':');
  if (colon != rest.npos) {
    source.choice = std::string(rest.substr(colon + 1));
    if (source.choice.empty() || source.choice.front() == '/') FailName(text);
  }
  const auto parts = Split(rest.substr(0, colon), '/');
  if (parts.size() != 2) FailName(text);
  SetRepository(&source, parts[0], parts[1], text);
  source.name = NameOf(source);
  return source;
}

bool LooksLikeHubName(std::string_view text) {
  return text.find("://") != text.npos || text.find('/') != text.npos;
}

}  // namespace edgellm
