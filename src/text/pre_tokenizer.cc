// See pre_tokenizer.h.
#include "text/pre_tokenizer.h"

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "text/component_json.h"
#include "text/normalizer.h"

namespace edgellm::text {
namespace {

/// The expression that GPT-2 was trained with; "ByteLevel" means it unless told otherwise.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string EscapePattern(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80 && std::isalnum(byte) == 0 && byte > 0x20) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

PreTokenizer::PreTokenizer(const nlohmann::json& config, std::string_view name) {
  ForEachComponent(config, "pretokenizers", name,
                   [&](const std::string& type, const nlohmann::json& part) { Add(type, part, name); });
}

PreTokenizer::Behavior PreTokenizer::ReadBehavior(const nlohmann::json& part, std::string_view name) {
  const std::string behavior = StringMember(part, "behavior", name);
  if (behavior == "Isolated") return Behavior::kIsolated;
  if (behavior == "Removed") return Behavior::kRemoved;
  if (behavior == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (behavior == "MergedWithNext") return Behavior::kMergedWithNext;
  if (behavior == "Contiguous") return Behavior::kContiguous;
  Fail(ErrorCode::kUnsupported, "{}: split behavior \"{}\" is not supported", name, behavior);
}

void PreTokenizer::AddSplit(std::string_view pattern, Behavior behavior, bool invert, std::string_view name) {
  steps_.emplace_back(Split{RegularExpression(pattern, name), behavior, invert});
}

void PreTokenizer::Add(const std::string& type, const nlohmann::json& part, std::string_view name) {
  if (type == "ByteLevel") {
    byte_level_ = true;
    if (BoolMember(part, "add_prefix_space", true, name)) steps_.emplace_back(PrefixSpace{});
    if (BoolMember(part, "use_regex", true, name)) AddSplit(kGpt2Pattern, Behavior::kIsolated, false, name);
  } else if (type == "Split") {
    const auto pattern = part.find("pattern");
    if (pattern == part.end() || !pattern->is_object()) Fail(ErrorCode::kCorrupt, "{}: Split without pattern", name);
    const std::string expression = pattern->contains("Regex") ? StringMember(*pattern, "Regex", name)
                                                              : EscapePattern(StringMember(*pattern, "String", name));
    AddSplit(expression, ReadBehavior(part, name), BoolMember(part, "invert", false, name), name);
  } else if (type == "Digits") {
    const bool individual = BoolMember(part, "individual_digits", false, name);
    AddSplit(individual ? R"(\p{N})" : R"(\p{N}+)", Behavior::kIsolated, false, name);
  } else if (type == "Punctuation") {
    const bool has_behavior = part.contains("behavior");
    AddSplit(R"([\p{P}$+<=>^`|~])", has_behavior ? ReadBehavior(part, name) : Behavior::kIsolated, false, name);
  } else if (type == "WhitespaceSplit") {
    AddSplit(R"(\s+)", Behavior::kRemoved, false, name);
  } else if (type == "Metaspace") {
    SpaceMark step{StringMember(part, "replacement", name), SpaceMark::kAlways, BoolMember(part, "split", true, name)};
    if (step.mark.empty()) Fail(ErrorCode::kCorrupt, "{}: Metaspace with an empty replacement", name);
    if (part.contains("prepend_scheme")) {
      const std::string scheme = StringMember(part, "prepend_scheme", name);
      step.prepend = scheme == "never" ? SpaceMark::kNever : scheme == "first" ? SpaceMark::kFirst : SpaceMark::kAlways;
    } else if (!BoolMember(part, "add_prefix_space", true, name)) {
      step.prepend = SpaceMark::kNever;
    }
    steps_.emplace_back(std::move(step));
  } else {
    Fail(ErrorCode::kUnsupported, "{}: pre-tokenizer \"{}\" is not supported", name, type);
  }
}

void PreTokenizer::Run(std::string_view text, bool at_text_start, Pieces& pieces) const {
  pieces.altered.clear();
  pieces.list.clear();
  if (text.empty()) return;
  pieces.list.push_back(text);
  for (const Step& step : steps_) {
    if (const auto* split = std::get_if<Split>(&step)) {
      Apply(*split, pieces);
    } else if (const auto* mark = std::get_if<SpaceMark>(&step)) {
      Apply(*mark, at_text_start, pieces);
    } else {
      for (std::string_view& piece : pieces.list) {
        if (!piece.starts_with(' ')) piece = pieces.altered.emplace_back(" " + std::string(piece));
      }
    }
  }
}

void PreTokenizer::Apply(const SpaceMark& mark, bool at_text_start, Pieces& pieces) {
  pieces.scratch.clear();
  for (const std::string_view piece : pieces.list) {
    std::string text = ReplaceAll(piece, " ", mark.mark);
    const bool first = at_text_start && piece.data() == pieces.list.front().data();
    if ((mark.prepend == SpaceMark::kAlways || (mark.prepend == SpaceMark::kFirst && first)) &&
        !text.starts_with(mark.mark)) {
      text.insert(0, mark.mark);
    }
    std::string_view rest = pieces.altered.emplace_back(std::move(text));
    while (mark.split && !rest.empty()) {
      const size_t next = rest.find(mark.mark, rest.starts_with(mark.mark) ? mark.mark.size() : 0);
      pieces.scratch.push_back(rest.substr(0, next));
      rest.remove_prefix(pieces.scratch.back().size());
    }
    if (!rest.empty()) pieces.scratch.push_back(rest);
  }
  pieces.list.swap(pieces.scratch);
}

namespace {

struct Part {
  std::string_view text;
  bool is_match;
};

/// The matches of an expression in a text, and what lies between them. An empty match cuts. Where the engine gives up,
/// the rest is one part: text may be cut badly then, but none is lost.
void FindParts(RegularExpression::Search& search, std::string_view text, std::vector<Part>& parts) {
  parts.clear();
  RegularExpression::Match match{};
  size_t done = 0, from = 0;
  while (from < text.size() && search.Next(text, from, match) == RegularExpression::Result::kMatch) {
    if (match.begin > done) parts.push_back({text.substr(done, match.begin - done), false});
    if (match.end > match.begin) parts.push_back({text.substr(match.begin, match.end - match.begin), true});
    done = match.end;
    from = match.end;
    if (match.end == match.begin && from < text.size()) {
      from += static_cast<size_t>(utf8::Decode(text.substr(from)).length);
    }
  }
  if (done < text.size()) parts.push_back({text.substr(done), false});
}

std::string_view Join(std::string_view left, std::string_view right) {
  return {left.data(), left.size() + right.size()};
}

}  // namespace

void PreTokenizer::Apply(const Split& split, Pieces& pieces) {
  RegularExpression::Search search(split.pattern);
  std::vector<Part> parts;
  auto& out = pieces.scratch;
  out.clear();
  for (const std::string_view piece : pieces.list) {
    FindParts(search, piece, parts);
    bool previous_match = false;
    const size_t start = out.size();
    for (size_t i = 0; i < parts.size(); ++i) {
      const bool is_match = parts[i].is_match != split.invert;
      const bool joins = split.behavior == Behavior::kMergedWithPrevious ? is_match && !previous_match
                         : split.behavior == Behavior::kMergedWithNext   ? !is_match && previous_match
                         : split.behavior == Behavior::kContiguous       ? is_match == previous_match
                                                                         : false;
      if (split.behavior == Behavior::kRemoved && is_match) {
        // dropped
      } else if (joins && out.size() > start) {
        out.back() = Join(out.back(), parts[i].text);
      } else {
        out.push_back(parts[i].text);
      }
      previous_match = is_match;
    }
  }
  pieces.list.swap(out);
}

}  // namespace edgellm::text
