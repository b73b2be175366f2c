// See tool_call_parser.h.
#include "constrain/tool_call_parser.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/philox.h"

namespace edgellm::constrain {
namespace {

constexpr std::string_view kWhite = " \t\r\n";

std::string CallId(ToolCallFamily family, uint64_t seed, int index) {
  static constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  constexpr int kBlocks = 6;  // of four letters each
  std::string id = IsMistral(family) ? "" : "call_";
  for (uint64_t block = 0; block < kBlocks; ++block) {
    for (uint32_t word : Philox(seed, static_cast<uint64_t>(index), block)) id += kLetters[word % kLetters.size()];
  }
  if (IsMistral(family)) id.resize(kMistralIdLength);
  return id;
}

/// What a function's name may be made of where it stands bare; longer ones are no names.
constexpr size_t kMostNameBytes = 256;
bool IsNameByte(char c) {
  return c != '[' && c != ']' && c != '{' && c != '}' && c != '"' && static_cast<unsigned char>(c) > ' ';
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
      state_(family == ToolCallFamily::kLlama3 ? State::kStart : State::kContent) {
  if (family == ToolCallFamily::kTagged) {
    open_ = kToolCallOpen;
    close_ = kToolCallClose;
  } else if (IsMistral(family)) {
    open_ = close_ = kMistralOpen;  // another call: the one before it is over
  }
}

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
      case State::kHead:
        more = RunHead(at_end, output);
        break;
      case State::kObject:
        more = RunObject(at_end, output);
        break;
      case State::kClose:
        more = in_list_ ? RunNext(at_end) : RunClose(at_end);
        break;
    }
  }
}

/// A call's JSON is expected from there on.
void ToolCallParser::Enter(size_t begin) {
  state_ = State::kObject;
  opened_ = scanned_ = begin;
  depth_ = 0;
  in_string_ = escaped_ = false;
}

bool ToolCallParser::RunStart(bool at_end, ToolCallOutput* output) {
  const size_t begin = std::min(held_.find_first_not_of(calls_ > 0 ? " \t\r\n;" : kWhite), held_.size());
  const std::string_view rest = std::string_view(held_).substr(begin);
  const bool tag = rest.starts_with(kPythonTag);
  if (tag || rest.starts_with('{')) {
    Enter(begin + (tag ? kPythonTag.size() : 0));
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
  const bool tags = !open_.empty();
  if (const size_t open = tags ? held_.find(open_) : std::string::npos; open != std::string::npos) {
    const size_t end = held_.find_last_not_of(kWhite, open == 0 ? 0 : open - 1);
    const size_t text = open == 0 || end == std::string::npos ? 0 : end + 1;
    output->content.append(held_, 0, text);
    held_.erase(0, text);
    Enter(open - text + open_.size());
    in_list_ = false;
    name_.clear();
    if (IsMistral(family_)) state_ = State::kHead;
    return true;
  }
  size_t keep = 0;  // what may be a tag, and white space, which is dropped before one
  if (tags && !at_end) {
    keep = BegunTag(held_, open_);
    while (keep < held_.size() && kWhite.find(held_[held_.size() - keep - 1]) != std::string_view::npos) ++keep;
  } else if (tags && calls_ > 0 && held_.find_first_not_of(kWhite) == std::string::npos) {
    held_.clear();  // white space after the last call
  }
  GiveUp(held_.size() - keep, output);
  return false;
}

/// A list's bracket, or a function's name with [ARGS] after it.
bool ToolCallParser::RunHead(bool at_end, ToolCallOutput* output) {
  const size_t begin = std::min(held_.find_first_not_of(kWhite, opened_), held_.size());
  std::string_view rest = std::string_view(held_).substr(begin);
  if (rest.empty()) return at_end ? GiveUpCall(held_.size(), output) : false;
  if (rest.front() == '[' && !rest.starts_with(open_.substr(0, 2))) {
    if (rest.size() == 1 && !at_end) return false;  // it may begin a tag
    in_list_ = true;
    Enter(begin + 1);
    return true;
  }
  const size_t name = static_cast<size_t>(std::find_if_not(rest.begin(), rest.end(), IsNameByte) - rest.begin());
  if (name == rest.size() && name <= kMostNameBytes && !at_end) return false;
  if (name == 0 || name == rest.size() || name > kMostNameBytes) return GiveUpCall(begin + name, output);
  size_t at = name;
  const auto follows = [&](std::string_view tag) { return rest.substr(at).starts_with(tag); };
  const auto may_follow = [&](std::string_view tag) { return !at_end && tag.starts_with(rest.substr(at)); };
  if (follows(kMistralId)) {
    at += kMistralId.size();
    while (at < rest.size() && IsNameByte(rest[at]) && at < name + kMostNameBytes) ++at;
  }
  if (may_follow(kMistralArguments) || may_follow(kMistralId)) return false;
  if (!follows(kMistralArguments)) return GiveUpCall(begin + at, output);
  name_ = rest.substr(0, name);
  Enter(begin + at + kMistralArguments.size());
  return true;
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
    } else if (!close_.empty() && c == close_.front() && CloseMayBegin(at_end)) {
      if (std::string_view(held_).substr(scanned_).starts_with(close_)) break;  // outside of a string: it is broken
      return false;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if ((c == '}' || c == ']') && --depth_ == 0) {
      const size_t end = scanned_ + 1;
      if (!ReadCall(std::string_view(held_).substr(opened_, end - opened_), output)) break;
      held_.erase(0, end);
      state_ = family_ == ToolCallFamily::kLlama3 ? State::kStart : State::kClose;
      if (IsMistral(family_) && !in_list_) state_ = State::kContent;
      return true;
    }
  }
  if (scanned_ >= held_.size() && !at_end) return false;
  return GiveUpCall(std::max(opened_, std::min(scanned_, held_.size())), output);
}

/// Whether the closing tag stands where the object is read, or may yet come to stand there.
bool ToolCallParser::CloseMayBegin(bool at_end) const {
  const std::string_view rest = std::string_view(held_).substr(scanned_);
  return rest.starts_with(close_) || (!at_end && close_.starts_with(rest));
}

/// The opening tag at least is content; with it goes what was read, but for a tag that may begin after it.
bool ToolCallParser::GiveUpCall(size_t end, ToolCallOutput* output) {
  const size_t tag = open_.empty() ? std::string::npos : held_.find(open_, std::max<size_t>(opened_, 1));
  state_ = State::kContent;
  GiveUp(std::min({tag, end, held_.size()}), output);
  return true;
}

/// Between the elements of a list, or after it.
bool ToolCallParser::RunNext(bool at_end) {
  const size_t begin = held_.find_first_not_of(kWhite);
  if (begin == std::string::npos) {
    if (at_end) held_.clear();
    return false;
  }
  if (held_[begin] == ',') {
    Enter(begin + 1);
    return true;
  }
  if (held_[begin] == ']') held_.erase(0, begin + 1);
  state_ = State::kContent;
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
  Json call = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!call.is_object()) return false;
  if (!name_.empty()) return TakeCall(name_, std::move(call), output);
  const auto name = call.find("name");
  if (name == call.end() || !name->is_string()) return false;
  Json arguments;
  for (const char* key : {"arguments", "parameters"}) {
    if (const auto found = call.find(key); found != call.end()) {
      arguments = *found;
      break;
    }
  }
  // Some models write the arguments as a string of JSON; some leave out what would be empty, inside of tags.
  if (arguments.is_string()) arguments = Json::parse(arguments.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  if (arguments.is_null() && !open_.empty()) arguments = Json::object();
  return TakeCall(name->get<std::string>(), std::move(arguments), output);
}

bool ToolCallParser::TakeCall(const std::string& name, nlohmann::ordered_json arguments, ToolCallOutput* output) {
  const auto& names = options_.names;
  if (!names.empty() && std::find(names.begin(), names.end(), name) == names.end()) return false;
  if (!arguments.is_object()) return false;
  output->calls.push_back({calls_, CallId(family_, options_.seed, calls_), name, arguments.dump()});
  ++calls_;
  return true;
}

}  // namespace edgellm::constrain
