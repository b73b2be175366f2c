// What one rendering may spend and where its objects live: steps, bytes, depth. Every function that can be made to work
// for long or to hold much takes a Runtime and charges it. It knows values, no syntax.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "text/chat_template.h"
#include "text/jinja_value.h"

namespace edgellm::text::jinja {

class Runtime {
 public:
  Runtime(const TemplateLimits& limits, int64_t now_unix_seconds)
      : limits_(limits), steps_left_(limits.steps), now_unix_seconds_(now_unix_seconds) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  /// Throws Error(kLimit) when the steps are used up.
  void Charge(uint64_t steps) {
    if (steps > steps_left_) FailSteps();
    steps_left_ -= steps;
  }
  /// For reading or copying text: a step is worth 128 bytes, which keeps what a rendering can hold at once within
  /// 128 * limits.steps bytes.
  void ChargeText(size_t bytes) { Charge(bytes / 128); }
  /// For work on each character of a text.
  void ChargeCharacters(size_t bytes) { Charge(bytes / 16); }
  /// Before a text of this length is built: throws Error(kLimit) where it would be longer than limits.output_bytes.
  void CheckLength(size_t bytes) const {
    if (bytes > limits_.output_bytes) FailLength();
  }

  Value Text(std::string text);
  Value List(std::vector<Value> items) { return MakeSequence(Sequence::Kind::kList, std::move(items)); }
  Value Generator(std::vector<Value> items) { return MakeSequence(Sequence::Kind::kGenerator, std::move(items)); }
  Value MakeSequence(Sequence::Kind kind, std::vector<Value> items);
  Value MakeDict(std::vector<Dict::Entry> entries);
  /// The object lives as long as the runtime, and values only point at it: a namespace may hold itself.
  Value Keep(std::unique_ptr<Object> object);
  /// Throws Error(kLimit) where values would nest deeper than the limit.
  void CheckDepth(int depth) const;

  const TemplateLimits& limits() const { return limits_; }
  int64_t now_unix_seconds() const { return now_unix_seconds_; }

 private:
  [[noreturn]] void FailSteps() const;
  [[noreturn]] void FailLength() const;

  TemplateLimits limits_;
  uint64_t steps_left_;
  int64_t now_unix_seconds_;
  std::vector<std::unique_ptr<Object>> kept_;
};

}  // namespace edgellm::text::jinja
