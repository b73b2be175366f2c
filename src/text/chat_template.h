// Chat templates: messages to prompt, by the Jinja template that comes with a model. The interpreter runs what such templates
// use (docs of the subset in docs/chat-templates.md), under limits, because a template is a program from somewhere else.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace edgellm::text {

struct TemplateLimits {
  uint64_t steps = 2'000'000;           // statements and expressions evaluated, items and 128 bytes of text touched
  uint64_t output_bytes = 64u << 20;    // rendered text, and any string built on the way
  int depth = 200;                      // nesting: of the source, of calls, of values
};

/// A parsed template. Immutable, thread-safe.
class ChatTemplate {
 public:
  /// Throws Error(kCorrupt) with line and column where the source does not parse, kUnsupported where it uses something
  /// outside the subset, kLimit where it is too long or nests too deep. `name` opens error texts: "name:line:column: cause".
  ChatTemplate(std::string_view source, std::string_view name, const TemplateLimits& limits = {});
  ChatTemplate(ChatTemplate&&) noexcept;
  ChatTemplate& operator=(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// Renders with the variables of `context` (an object: messages, tools, add_generation_prompt, bos_token, eos_token, …;
  /// keys keep their order). `now_unix_seconds` is what strftime_now formats (UTC).
  /// Throws Error: kInvalidArgument (raise_exception: its message; a type error), kLimit (a limit was reached).
  std::string Render(const nlohmann::ordered_json& context, int64_t now_unix_seconds) const;

  const std::string& source() const;

 private:
  struct Impl;
  std::unique_ptr<const Impl> impl_;
};

}  // namespace edgellm::text
