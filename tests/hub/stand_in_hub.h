// A hub in this process: lists the files that a test gives it, sends the large ones by way of a second place, as the
// real one does, and makes the faults that it is told to.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "tests/bench/stand_in_server.h"

namespace edgellm {

/// "abab…": bytes that differ from place to place.
std::string SampleBytes(size_t size, unsigned seed);

/// A header's value; empty where it is absent.
std::string HeaderOf(const HttpRequest& request, const std::string& name);

class StandInHub {
 public:
  struct File {
    std::string content;
    bool large = true;          // redirected, with a SHA-256; small ones have git's blob id
    bool listed_digest = true;  // the listing tells digests and sizes
  };

  StandInHub();

  std::string url() const { return server_.url(); }
  std::vector<HttpRequest> requests() const { return server_.requests(); }
  /// Requests for bytes of that file.
  size_t downloads(const std::string& path) const;
  /// Bytes of bodies that were sent.
  uint64_t sent() const { return sent_; }

  void Add(const std::string& path, File file);
  /// Asked first; what it answers is sent instead.
  void SetFault(std::function<std::optional<HttpAnswer>(const HttpRequest&)> fault);

  /// The whole or the part that the request asks for.
  HttpAnswer SendBytes(const HttpRequest& request, const std::string& content);

  static constexpr const char* kRepository = "owner/model";
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

 private:
  HttpAnswer Serve(const HttpRequest& request);
  HttpAnswer List();

  mutable std::mutex mutex_;
  std::map<std::string, File> files_;
  std::function<std::optional<HttpAnswer>(const HttpRequest&)> fault_;
  std::atomic<uint64_t> sent_ = 0;
  StandInServer server_;  // last: its threads use all of the above
};

}  // namespace edgellm
