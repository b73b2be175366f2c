// See tool_call_parser.h.
#include "constrain/tool_call_parser.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/philox.h"

namespace edgellm::constrain {
namespace {

constexpr std::string_view kWhite = " \t\r\n";

std::string CallId(uint64_t seed, int index) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr int kBlocks = 6;  // of four letters each
  std::string id = "call_";
  for (uint64_t block = 0; block < kBlocks; ++block) {
    for (uint32_t word : Philox(seed, static_cast<uint64_t>(index), block)) id += kLetters[word % kLetters.size()];
  }
  return id;
}

/// The length of the longest end of `text` that begins `tag`.
size_t BegunTag(std::string_view text, std::string_view tag) {
  for (size_t length = std::min(text.size(), tag.size() - 1); length > 0; --length) {
    if (text.ends_with(tag.substr(0, length))) return length;
  }
  return 0;
}

}  // namespace

ToolCallParser::ToolCallParser(ToolCallFamily family, ToolCallOptions options)
    : family_(family),
      options_(std::move(options)),
      state_(family == ToolCallFamily::kLlama3 ? State::kStart : State::kContent) {}

ToolCallOutput ToolCallParser::Push(std::string_view piece) {
  ToolCallOutput output;
  if (family_ == ToolCallFamily::kNone) {
    output.content = piece;
    return output;
  }
  held_ += piece;
  Run(/*at_end=*/false, &output);
  return output;
}

ToolCallOutput ToolCallParser::Finish() {
  ToolCallOutput output;
  if (family_ != ToolCallFamily::kNone) Run(/*at_end=*/true, &output);
  output.content += held_;
  held_.clear();
  return output;
}

/// Each state's function decides what it can, and says whether another should go on.
void ToolCallParser::Run(bool at_end, ToolCallOutput* output) {
  for (bool more = true; more && !held_.empty();) {
    switch (state_) {
      case State::kStart:
        more = RunStart(at_end, output);
        break;
      case State::kContent:
        more = RunContent(at_end, output);
        break;
      case State::kObject:
        more = RunObject(at_end, output);
        break;
      case State::kClose:
        more = RunClose(at_end);
        break;
    }
  }
}

bool ToolCallParser::RunStart(bool at_end, ToolCallOutput* output) {
  const size_t begin = std::min(held_.find_first_not_of(calls_ > 0 ? " \t\r\n;" : kWhite), held_.size());
  const std::string_view rest = std::string_view(held_).substr(begin);
  const bool tag = rest.starts_with(kPythonTag);
  if (tag || rest.starts_with('{')) {
    state_ = State::kObject;
    opened_ = scanned_ = begin + (tag ? kPythonTag.size() : 0);
    depth_ = 0;
    in_string_ = escaped_ = false;
    return true;
  }
  if (!at_end && kPythonTag.starts_with(rest)) return false;
  if (at_end && rest.empty() && calls_ > 0) {
    held_.clear();  // white space after the last call
    return false;
  }
  state_ = State::kContent;
  GiveUp(held_.size(), output);
  return false;
}

bool ToolCallParser::RunContent(bool at_end, ToolCallOutput* output) {
  const bool tags = family_ == ToolCallFamily::kTagged;
  if (const size_t open = tags ? held_.find(kToolCallOpen) : std::string::npos; open != std::string::npos) {
    const size_t end = held_.find_last_not_of(kWhite, open == 0 ? 0 : open - 1);
    const size_t text = open == 0 || end == std::string::npos ? 0 : end + 1;
    output->content.append(held_, 0, text);
    held_.erase(0, text);
    state_ = State::kObject;
    opened_ = scanned_ = open - text + kToolCallOpen.size();
    depth_ = 0;
    in_string_ = escaped_ = false;
    return true;
  }
  size_t keep = 0;  // what may be a tag, and white space, which is dropped before one
  if (tags && !at_end) {
    keep = BegunTag(held_, kToolCallOpen);
    while (keep < held_.size() && kWhite.find(held_[held_.size() - keep - 1]) != std::string_view::npos) ++keep;
  } else if (tags && calls_ > 0 && held_.find_first_not_of(kWhite) == std::string::npos) {
    held_.clear();  // white space after the last call
  }
  GiveUp(held_.size() - keep, output);
  return false;
}

bool ToolCallParser::RunObject(bool at_end, ToolCallOutput* output) {
  for (; scanned_ < held_.size(); ++scanned_) {
    const char c = held_[scanned_];
    if (depth_ == 0) {
      if (kWhite.find(c) != std::string_view::npos) continue;
      if (c != '{') break;
    }
    if (in_string_) {
      if (!escaped_ && c == '"') in_string_ = false;
      escaped_ = !escaped_ && c == '\\';
    } else if (c == '"') {
      in_string_ = true;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      const size_t end = scanned_ + 1;
      if (!ReadCall(std::string_view(held_).substr(opened_, end - opened_), output)) break;
      held_.erase(0, end);
      state_ = family_ == ToolCallFamily::kTagged ? State::kClose : State::kStart;
      return true;
    } else if (c == '<') {  // outside of a string: with the closing tag, the object is broken
      const std::string_view rest = std::string_view(held_).substr(scanned_);
      if (rest.starts_with(kToolCallClose)) break;
      if (!at_end && kToolCallClose.starts_with(rest)) return false;
    }
  }
  if (scanned_ >= held_.size() && !at_end) return false;
  state_ = State::kContent;
  // The opening tag at least is content; with it goes what was read, but for a tag that may begin after it.
  const size_t end = held_.find(kToolCallOpen, std::max<size_t>(opened_, 1));
  GiveUp(std::min({end, std::max(opened_, std::min(scanned_, held_.size())), held_.size()}), output);
  return true;
}

bool ToolCallParser::RunClose(bool at_end) {
  const size_t begin = std::min(held_.find_first_not_of(kWhite), held_.size());
  const std::string_view rest = std::string_view(held_).substr(begin);
  if (rest.starts_with(kToolCallClose)) {
    held_.erase(0, begin + kToolCallClose.size());
  } else if (!at_end && kToolCallClose.starts_with(rest)) {
    return false;
  } else if (rest.empty()) {
    held_.clear();
  }
  state_ = State::kContent;
  return true;
}

void ToolCallParser::GiveUp(size_t end, ToolCallOutput* output) {
  output->content.append(held_, 0, end);
  held_.erase(0, end);
}

bool ToolCallParser::ReadCall(std::string_view json, ToolCallOutput* output) {
  using Json = nlohmann::ordered_json;
  const Json call = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!call.is_object()) return false;
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string()) return false;
  const auto text = name->get<std::string>();
  const auto& names = options_.names;
  if (!names.empty() && std::find(names.begin(), names.end(), text) == names.end()) return false;
  Json arguments;
  for (const char* key : {"arguments", "parameters"}) {
    if (const auto found = call.find(key); found != call.end()) {
      arguments = *found;
      break;
    }
  }
  // Some models write the arguments as a string of JSON; some leave out what would be empty, inside of tags.
  if (arguments.is_string()) arguments = Json::parse(arguments.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  if (arguments.is_null() && family_ == ToolCallFamily::kTagged) arguments = Json::object();
  if (!arguments.is_object()) return false;
  output->calls.push_back({calls_, CallId(options_.seed, calls_), text, arguments.dump()});
  ++calls_;
  return true;
}

}  // namespace edgellm::constrain
