// See regular_expression.h.
#include "text/regular_expression.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/error.h"

namespace edgellm::text {
namespace {

// Generous for every pattern in use (they scan runs of characters, without nested repetition); hostile ones stop here.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kDepthLimit = 100'000;
constexpr uint32_t kHeapLimitKilobytes = 64 * 1024;
constexpr size_t kJitStackStart = 32 * 1024, kJitStackLimit = 4 * 1024 * 1024;

constexpr std::string_view kWhiteSpace = "\\t-\\r\\x{85}\\p{Z}";  // White_Space, as the inside of a class

}  // namespace

std::string TranslatePattern(std::string_view pattern, std::string_view name) {
  std::string out;
  int class_depth = 0;  // Rust and Oniguruma nest classes; PCRE2 reads an inner [ as a character
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        (out += class_depth > 0 ? "" : "[").append(kWhiteSpace).append(class_depth > 0 ? "" : "]");
      } else if (escaped == 'S' && class_depth == 0) {
        out.append("[^").append(kWhiteSpace).append("]");
      } else if (escaped == 'h' || escaped == 'H') {
        Fail(ErrorCode::kUnsupported, "{}: \\{} in a regular expression means different things to different engines",
             name, escaped);
      } else {
        out += c;
        out += escaped;
      }
      continue;
    }
    if (class_depth > 0 && c == '&' && pattern.substr(i).starts_with("&&")) {
      Fail(ErrorCode::kUnsupported, "{}: class intersection (&&) in a regular expression", name);
    }
    if (c == '[' && class_depth > 0 && !pattern.substr(i).starts_with("[:")) {
      Fail(ErrorCode::kUnsupported, "{}: a class within a class in a regular expression", name);
    }
    out += c;
    if (c == '[' && class_depth == 0) {
      class_depth = 1;
      if (pattern.substr(i + 1).starts_with('^')) out += pattern[++i];
      if (pattern.substr(i + 1).starts_with(']')) out += pattern[++i];  // a ] that opens a class is itself
    } else if (c == '[') {
      const size_t end = pattern.find(":]", i);  // a POSIX class: [:alpha:]
      if (end == std::string_view::npos) Fail(ErrorCode::kUnsupported, "{}: an unfinished class", name);
      out.append(pattern.substr(i + 1, end + 1 - i));
      i = end + 1;
    } else if (c == ']' && class_depth > 0) {
      class_depth = 0;
    }
  }
  return out;
}

struct RegularExpression::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

RegularExpression::RegularExpression(std::string_view pattern, std::string_view name) {
  const std::string translated = TranslatePattern(pattern, name);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_unique<Code>();
  code->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  if (code->code == nullptr) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    Fail(ErrorCode::kUnsupported, "{}: regular expression not understood at byte {}: {}", name, offset,
         reinterpret_cast<const char*>(message));
  }
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // where it fails, the interpreter runs the same code
  code_ = std::move(code);
}

RegularExpression::RegularExpression(RegularExpression&&) noexcept = default;
RegularExpression& RegularExpression::operator=(RegularExpression&&) noexcept = default;
RegularExpression::~RegularExpression() = default;

struct RegularExpression::Search::State {
  const pcre2_code* code = nullptr;
  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* stack = nullptr;  // taken only when the 32 KiB of the machine stack do not suffice
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
};

RegularExpression::Search::Search(const RegularExpression& expression) : state_(std::make_unique<State>()) {
  state_->code = expression.code_->code;
  state_->data = pcre2_match_data_create(1, nullptr);
  state_->context = pcre2_match_context_create(nullptr);
  if (state_->data == nullptr || state_->context == nullptr) Fail(ErrorCode::kLimit, "out of memory");
  pcre2_set_match_limit(state_->context, kMatchLimit);
  pcre2_set_depth_limit(state_->context, kDepthLimit);
  pcre2_set_heap_limit(state_->context, kHeapLimitKilobytes);
}

RegularExpression::Search::~Search() = default;

RegularExpression::Result RegularExpression::Search::Next(std::string_view text, size_t from, Match& match) {
  const auto run = [&] {
    return pcre2_match(state_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from, PCRE2_NO_UTF_CHECK,
                       state_->data, state_->context);
  };
  int count = run();
  if (count == PCRE2_ERROR_JIT_STACKLIMIT && state_->stack == nullptr) {
    state_->stack = pcre2_jit_stack_create(kJitStackStart, kJitStackLimit, nullptr);
    pcre2_jit_stack_assign(state_->context, nullptr, state_->stack);
    count = run();
  }
  if (count == PCRE2_ERROR_NOMATCH) return Result::kNone;
  if (count < 0) return Result::kGaveUp;
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state_->data);
  // \K can put the start of a match after its end or before `from`; no tokenizer means that.
  if (bounds[0] > bounds[1] || bounds[0] < from) return Result::kGaveUp;
  match = {bounds[0], bounds[1]};
  return Result::kMatch;
}

}  // namespace edgellm::text
