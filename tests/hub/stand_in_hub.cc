// See stand_in_hub.h.
#include "tests/hub/stand_in_hub.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "hub/file_digest.h"

namespace edgellm {
namespace {

constexpr std::string_view kApi = "/api/models/owner/model/revision/main";
const std::string kResolve = std::string("/owner/model/resolve/") + StandInHub::kCommit + "/";
const std::string kFarAway = "/far-away/";

std::string Digest(FileDigest::Kind kind, const std::string& content) {
  DigestStream stream(kind, content.size());
  stream.Update(std::as_bytes(std::span(content.data(), content.size())));
  return stream.Finish();
}

std::string Head(int status, const std::string& more) {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nConnection: close\r\n" + more + "\r\n";
}

std::string PathOf(const HttpRequest& request) {
  return request.path.substr(0, request.path.find('?'));
}

}  // namespace

std::string SampleBytes(size_t size, unsigned seed) {
  std::string bytes(size, '\0');
  for (char& c : bytes) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return bytes;
}

std::string HeaderOf(const HttpRequest& request, const std::string& name) {
  const size_t at = request.headers.find("\r\n" + name + ": ");
  if (at == std::string::npos) return {};
  const size_t begin = at + name.size() + 4;
  return request.headers.substr(begin, request.headers.find("\r\n", begin) - begin);
}

StandInHub::StandInHub() : server_([this](const HttpRequest& request) { return Serve(request); }) {}

size_t StandInHub::downloads(const std::string& path) const {
  const auto all = server_.requests();
  return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const auto& request) {
    return PathOf(request) == kFarAway + path || PathOf(request) == kResolve + path;
  }));
}

void StandInHub::Add(const std::string& path, File file) {
  const std::lock_guard lock(mutex_);
  files_[path] = std::move(file);
}

void StandInHub::SetFault(std::function<std::optional<HttpAnswer>(const HttpRequest&)> fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

HttpAnswer StandInHub::List() {
  nlohmann::json files = nlohmann::json::array();
  for (const auto& [path, file] : files_) {
    nlohmann::json entry = {{"rfilename", path}};
    if (file.listed_digest) {
      entry["size"] = file.content.size();
      entry["blobId"] = Digest(FileDigest::Kind::kGitBlob, file.content);
      if (file.large) {
        entry["lfs"] = {{"sha256", Digest(FileDigest::Kind::kSha256, file.content)}, {"size", file.content.size()}};
      }
    }
    files.push_back(std::move(entry));
  }
  return Answer(200, nlohmann::json{{"id", kRepository}, {"sha", kCommit}, {"siblings", files}}.dump());
}

HttpAnswer StandInHub::SendBytes(const HttpRequest& request, const std::string& content) {
  const std::string range = HeaderOf(request, "Range");
  size_t begin = 0, end = content.size();
  std::string head;
  if (!range.empty()) {
    begin = std::stoul(range.substr(6));
    const size_t last = std::stoul(range.substr(range.find('-') + 1));
    if (begin >= content.size()) return {{Head(416, "Content-Length: 0\r\n")}};
    end = std::min(end, last + 1);
    head =
        Head(206, "Content-Range: bytes " + std::to_string(begin) + "-" + std::to_string(end - 1) + "/" +
                      std::to_string(content.size()) + "\r\nContent-Length: " + std::to_string(end - begin) + "\r\n");
  } else {
    head = Head(200, "Content-Length: " + std::to_string(end) + "\r\n");
  }
  sent_ += end - begin;
  return {{head + content.substr(begin, end - begin)}};
}

HttpAnswer StandInHub::Serve(const HttpRequest& request) {
  std::function<std::optional<HttpAnswer>(const HttpRequest&)> fault;
  {
    const std::lock_guard lock(mutex_);
    fault = fault_;
  }
  if (fault) {
    if (auto answer = fault(request)) return *answer;
  }
  const std::lock_guard lock(mutex_);
  const std::string path = PathOf(request);
  if (path == kApi) return List();
  const bool far = path.starts_with(kFarAway);
  const std::string name = far ? path.substr(kFarAway.size())
                               : path.substr(std::min(path.size(), path.starts_with(kResolve) ? kResolve.size() : 1));
  const auto found = files_.find(name);
  if (found == files_.end()) return Answer(404, "Entry not found");
  const File& file = found->second;
  if (path.starts_with(kResolve) && file.large) {
    return {{Head(302, "Location: " + kFarAway + name + "?signature=1\r\nX-Linked-Size: " +
                           std::to_string(file.content.size()) + "\r\nX-Linked-Etag: \"" +
                           Digest(FileDigest::Kind::kSha256, file.content) + "\"\r\nContent-Length: 0\r\n")}};
  }
  return SendBytes(request, file.content);
}

}  // namespace edgellm
