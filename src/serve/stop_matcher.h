// Stop strings in a stream of text: what comes before one is passed on, no byte of one ever is, however the pieces
// fall. Text only: stop tokens are the engine's.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace edgellm {

class StopMatcher {
 public:
  /// Throws Error(kInvalidArgument) for an empty stop string or one that is not UTF-8.
  explicit StopMatcher(std::vector<std::string> stops);

  /// The text that became certain with `piece`: it can no longer be part of a stop string.
  std::string Push(std::string_view piece);

  /// What was held back, when the stream ends without a stop string.
  std::string Finish();

  /// True once a stop string has come; pieces after it are ignored. Of several the one that is complete first counts,
  /// of those the longest: the cuts between pieces decide nothing.
  bool matched() const { return matched_; }
  /// Which one; empty before.
  const std::string& stop() const { return stop_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;  // a suffix of the text so far that begins some stop string
  std::string stop_;
  bool matched_ = false;
};

}  // namespace edgellm
