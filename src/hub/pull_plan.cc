// PlanPull: which files make up a model, where they are, how large, with which digests. See pull.h.
#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/one_line.h"
#include "base/part_name.h"
#include "hub/curl_handles.h"
#include "hub/hub_answer.h"
#include "hub/pull.h"

namespace edgellm {
namespace {

constexpr size_t kMostListingBytes = size_t{64} << 20;
/// A hub that does not answer is told soon: nothing has been started yet.
constexpr int kListingAttempts = 4;

std::string FileName(std::string_view path) {
  return std::string(path.substr(path.rfind('/') + 1));
}

std::optional<uint64_t> Number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || failed != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

class Planner {
 public:
  Planner(const HubSource& source, const FetchOptions& options, const std::function<void()>& poll)
      : source_(source), options_(options), poll_(poll), loop_(options.timeouts) {
    options_.attempts = std::min(options_.attempts, kListingAttempts);
  }

  PullPlan Plan() {
    if (source_.is_repository()) return PlanRepository();
    return source_.is_folder_url() ? PlanFolder() : PlanFile();
  }

 private:
  Fetched Get(const std::string& url) { return FetchWhole(loop_, options_, url, {}, kMostListingBytes, false, poll_); }

  [[noreturn]] void FailRefused(const Fetched& answer, const std::string& what) const {
    const long status = answer.head.status;
    const bool had_token = !RequestHeaders(options_, answer.url).empty();
    throw Error(
        status == 404 || status == 410 ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
        ExplainRefusal(status, answer.head.Find("x-error-code"), answer.head.Find("x-error-message"), what, had_token));
  }

  PullPlan PlanRepository() {
    std::string revision = EscapePath(source_.revision);
    for (size_t at = 0; (at = revision.find('/', at)) != revision.npos;) revision.replace(at, 1, "%2F");
    const Fetched answer =
        Get(fmt::format("{}/api/models/{}/revision/{}?blobs=true", source_.endpoint, source_.repository, revision));
    const std::string label =
        source_.revision == "main" ? source_.repository : source_.repository + "@" + source_.revision;
    if (answer.head.status != 200) FailRefused(answer, label);
    const HubListing listing = ParseHubListing(answer.body, label);
    const ChosenFiles chosen = ChooseFiles(listing.files, source_.choice, label);
    PullPlan plan{chosen.form, {}, listing.commit};
    const std::string at = listing.commit.empty() ? revision : listing.commit;
    for (const auto& file : chosen.files) {
      RemoteFile remote;
      remote.path = FileName(file.path);
      remote.url = fmt::format("{}/{}/resolve/{}/{}", source_.endpoint, source_.repository, at, EscapePath(file.path));
      remote.size = file.size;
      remote.digest = file.digest;
      remote.version = listing.commit;
      if (!remote.size && !Probe(&remote))
        Fail(ErrorCode::kNotFound, "{}: {} is listed but not there", label, file.path);
      plan.files.push_back(std::move(remote));
    }
    return plan;
  }

  /// Fills in what the server says of a file: size, digest, version, whether it sends parts. False when there is none.
  bool Probe(RemoteFile* remote) {
    const Fetched answer = FetchWhole(loop_, options_, remote->url, {"Range: bytes=0-0"}, 0, true, poll_);
    const long status = answer.head.status;
    if (status == 404 || status == 410) return false;
    if (status == 416) {  // an empty file has no byte 0
      remote->size = 0;
      return true;
    }
    if (status != 200 && status != 206) FailRefused(answer, remote->path);
    if (status == 206) {
      if (const auto range = ParseContentRange(answer.head.Find("content-range"))) remote->size = range->total;
    } else {
      remote->size = Number(answer.head.Find("content-length"));
    }
    remote->ranges = status == 206 && remote->size.has_value();
    if (remote->version.empty()) remote->version = OneLine(answer.head.Find("etag"));
    // The hub says what a file in its large-file store must be where it sends us there.
    for (const auto& hop : answer.redirects) ReadLinkedHeaders(hop, remote);
    ReadLinkedHeaders(answer.head, remote);
    return true;
  }

  static void ReadLinkedHeaders(const ReplyHead& head, RemoteFile* remote) {
    if (const FileDigest digest = ParseDigest(head.Find("x-linked-etag")); digest.kind == FileDigest::Kind::kSha256) {
      remote->digest = digest;
    }
    if (const auto size = Number(head.Find("x-linked-size")); size && !remote->size) remote->size = size;
  }

  PullPlan PlanFile() {
    RemoteFile remote;
    remote.path = FileName(UnescapePath(ParseWebAddress(source_.url).path));
    remote.url = source_.url;
    if (!IsSafePath(remote.path)) Fail(ErrorCode::kInvalidArgument, "'{}' names no file", OneLine(source_.url));
    if (remote.path.ends_with(".safetensors")) {
      Fail(ErrorCode::kInvalidArgument,
           "{}: weights alone are no model; give the address of their folder, with a '/' at its end", remote.path);
    }
    if (!remote.path.ends_with(".gguf") && !remote.path.ends_with(".edgellm")) {
      Fail(ErrorCode::kUnsupported, "{}: neither a GGUF (.gguf) nor a model file (.edgellm)", remote.path);
    }
    if (auto parts = PlanParts(remote)) return std::move(*parts);
    if (!Probe(&remote)) Fail(ErrorCode::kNotFound, "{}: not found (HTTP 404)", OneLine(source_.url));
    return {ChosenFiles::Form::kFile, {std::move(remote)}, ""};
  }

  /// All parts of a split GGUF, where the address is that of one of them.
  std::optional<PullPlan> PlanParts(const RemoteFile& named) {
    const auto part = ParsePartName(named.path.substr(0, named.path.rfind('.')));
    if (!part || part->count == 1 || !named.path.ends_with(".gguf")) return std::nullopt;
    const std::string ending = PartEnding(part->number, part->count);
    const size_t place = named.url.rfind(ending, named.url.find('?'));
    if (place == named.url.npos) return std::nullopt;
    PullPlan plan{ChosenFiles::Form::kFolder, {}, ""};
    for (int number = 1; number <= part->count; ++number) {
      RemoteFile remote;
      const std::string own = PartEnding(number, part->count);
      remote.path = part->name + own + ".gguf";
      remote.url = std::string(named.url).replace(place, ending.size(), own);
      if (!Probe(&remote)) {
        Fail(ErrorCode::kNotFound, "{}: part {} of {} is not there (HTTP 404)", remote.path, number, part->count);
      }
      plan.files.push_back(std::move(remote));
    }
    return plan;
  }

  /// A folder of a plain web server: nothing lists it, so the files that a checkpoint may have are asked for.
  PullPlan PlanFolder() {
    PullPlan plan{ChosenFiles::Form::kFolder, {}, ""};
    const std::string base = source_.url.substr(0, source_.url.find('?'));
    const auto add = [&](const std::string& path) {
      RemoteFile remote;
      remote.path = path;
      remote.url = base + EscapePath(path);
      if (!Probe(&remote)) return false;
      plan.files.push_back(std::move(remote));
      return true;
    };
    for (const auto& name : CompanionFiles()) {
      if (!add(name) && name == "config.json") {
        Fail(ErrorCode::kNotFound, "{}: there is no config.json: no checkpoint's folder", OneLine(base));
      }
    }
    std::vector<std::string> weights = {"model.safetensors"};
    if (plan.files.back().path == "model.safetensors.index.json") {
      weights = ParseWeightIndex(Get(plan.files.back().url).body, plan.files.back().path);
    }
    for (const auto& name : weights) {
      if (!add(name)) Fail(ErrorCode::kNotFound, "{}: there is no {}", OneLine(base), name);
    }
    std::stable_sort(plan.files.begin(), plan.files.end(),
                     [](const auto& a, const auto& b) { return a.size.value_or(0) > b.size.value_or(0); });
    return plan;
  }

  const HubSource& source_;
  FetchOptions options_;
  const std::function<void()>& poll_;
  TransferLoop loop_;
};

}  // namespace

uint64_t PullPlan::Bytes() const {
  uint64_t bytes = 0;
  for (const auto& file : files) bytes += file.size.value_or(0);
  return bytes;
}

PullPlan PlanPull(const HubSource& source, const FetchOptions& options, const std::function<void()>& poll) {
  return Planner(source, options, poll).Plan();
}

}  // namespace edgellm
