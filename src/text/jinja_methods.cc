// Methods of Python's str, list, tuple, range and dict that templates call. Those that change their object are absent,
// as in jinja2's immutable sandbox.
#include <algorithm>
#include <array>

#include "base/error.h"
#include "text/jinja_arguments.h"
#include "text/jinja_format.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

const std::string& TextOf(Runtime& runtime, const Value& self) {
  runtime.ChargeText(self.string().size());
  return self.string();
}

template <std::string (*kChange)(std::string_view)>
Value Change(Runtime& runtime, const Value& self, const BoundArguments&) {
  runtime.ChargeCharacters(self.string().size());
  return runtime.Text(kChange(self.string()));
}

template <Class kClass>
Value IsAll(Runtime& runtime, const Value& self, const BoundArguments&) {
  runtime.ChargeCharacters(self.string().size());
  return Value(AllOf(self.string(), kClass));
}

template <Side kSide>
Value StripMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string& text = self.string();
  runtime.ChargeCharacters(text.size());
  if (!Given(arguments[0])) return runtime.Text(std::string(Strip(text, kSide)));
  const std::string& characters = NeedText(*arguments[0], "the characters to strip");
  runtime.ChargeText(characters.size() * 16);  // they are sorted first
  return runtime.Text(std::string(Strip(text, kSide, characters)));
}

Value ListOfTexts(Runtime& runtime, const std::vector<std::string_view>& parts,
                  Sequence::Kind kind = Sequence::Kind::kList) {
  runtime.Charge(parts.size());
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(runtime.Text(std::string(part)));
  return runtime.MakeSequence(kind, std::move(items));
}

template <bool kFromRight>
Value Split(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string& text = TextOf(runtime, self);
  runtime.Charge(text.size() / 8);  // a list of parts takes more room than the text
  const int64_t most = IntegerOr(arguments[1], -1, "maxsplit");
  if (!Given(arguments[0])) return ListOfTexts(runtime, SplitAtSpace(text, most, kFromRight));
  const std::string& separator = NeedText(*arguments[0], "the separator");
  if (separator.empty()) Fail(ErrorCode::kInvalidArgument, "the separator is empty");
  return ListOfTexts(runtime, SplitAt(text, separator, most, kFromRight));
}

template <bool kFromRight>
Value Partition(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string_view text = TextOf(runtime, self);
  const std::string& separator = NeedText(*arguments[0], "the separator");
  if (separator.empty()) Fail(ErrorCode::kInvalidArgument, "the separator is empty");
  const size_t at = kFromRight ? FindLast(text, separator) : Find(text, separator);
  std::vector<std::string_view> parts = {text, "", ""};
  if (at != std::string_view::npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (kFromRight) {
    parts = {"", "", text};
  }
  return ListOfTexts(runtime, parts, Sequence::Kind::kTuple);
}

Value SplitLinesMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string& text = TextOf(runtime, self);
  runtime.Charge(text.size() / 8);
  return ListOfTexts(runtime, SplitLines(text, TruthOr(arguments[0], false)));
}

/// The part of a text between two code points, as the optional arguments of find, count and startswith bound it.
struct Window {
  std::string_view text;
  int64_t first = 0;   // the code point the window begins with
  bool exists = true;  // false where it begins past the text or after its own end
};

Window WindowOf(std::string_view text, const Value* start, const Value* end) {
  if (!Given(start) && !Given(end)) return {text};
  const auto length = static_cast<int64_t>(CodePointCount(text));
  const auto place = [&](const Value* bound, int64_t otherwise) {
    if (!Given(bound)) return otherwise;
    const int64_t index = NeedInteger(*bound, "a bound");
    return index < 0 ? std::max<int64_t>(index + length, 0) : index;
  };
  const int64_t first = place(start, 0), last = std::min(place(end, length), length);
  if (first > length || first > last) return {"", 0, false};
  const size_t begin = ByteOffset(text, static_cast<size_t>(first));
  return {text.substr(begin, ByteOffset(text, static_cast<size_t>(last)) - begin), first, true};
}

enum class Where { kStart, kEnd };

template <Where kWhere>
Value Affix(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const Window window = WindowOf(TextOf(runtime, self), arguments[1], arguments[2]);
  const auto matches = [&](const Value& affix) {
    const std::string& text = NeedText(affix, "what a str starts or ends with");
    runtime.Charge(1);
    return window.exists && (kWhere == Where::kStart ? window.text.starts_with(text) : window.text.ends_with(text));
  };
  const Value& affix = *arguments[0];
  if (!affix.IsSequence() || affix.sequence().kind != Sequence::Kind::kTuple) return Value(matches(affix));
  const auto& several = affix.sequence().items;
  return Value(std::any_of(several.begin(), several.end(), matches));
}

template <Where kWhere>
Value RemoveAffix(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  std::string_view text = TextOf(runtime, self);
  const std::string& affix = NeedText(*arguments[0], "what is removed from a str");
  if (kWhere == Where::kStart && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (kWhere == Where::kEnd && text.ends_with(affix)) text.remove_suffix(affix.size());
  return runtime.Text(std::string(text));
}

template <bool kFromRight, bool kMustFind>
Value FindMethodOfText(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const Window window = WindowOf(TextOf(runtime, self), arguments[1], arguments[2]);
  const std::string& wanted = NeedText(*arguments[0], "what is looked for");
  const size_t at = !window.exists ? std::string_view::npos
                    : kFromRight   ? FindLast(window.text, wanted)
                                   : Find(window.text, wanted);
  if (at == std::string_view::npos) {
    if (kMustFind) Fail(ErrorCode::kInvalidArgument, "substring not found");
    return Value(int64_t{-1});
  }
  return Value(window.first + static_cast<int64_t>(CodePointCount(window.text.substr(0, at))));
}

Value CountMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const Window window = WindowOf(TextOf(runtime, self), arguments[1], arguments[2]);
  const std::string& wanted = NeedText(*arguments[0], "what is counted");
  return Value(window.exists ? static_cast<int64_t>(CountOf(window.text, wanted)) : int64_t{0});
}

Value ReplaceMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string_view text = TextOf(runtime, self);
  const std::string& old_text = NeedText(*arguments[0], "what is replaced");
  const std::string& new_text = NeedText(*arguments[1], "what replaces it");
  const int64_t asked = IntegerOr(arguments[2], -1, "the count");
  const size_t most = asked < 0 ? SIZE_MAX : static_cast<size_t>(asked);
  std::string out;
  const auto append = [&](std::string_view part) {
    runtime.CheckLength(out.size() + part.size());
    out += part;
  };
  size_t position = 0;
  for (size_t done = 0; done < most; ++done) {
    const size_t at = Find(text, old_text, position);
    if (at == std::string_view::npos) break;
    append(text.substr(position, at - position));
    append(new_text);
    position = at + old_text.size();
    runtime.Charge(new_text.size() / 128);
    if (!old_text.empty()) continue;
    // An empty text stands before each code point and at the end.
    if (position == text.size()) return runtime.Text(std::move(out));
    const size_t length = ByteOffset(text.substr(position), 1);
    append(text.substr(position, length));
    position += length;
  }
  append(text.substr(position));
  return runtime.Text(std::move(out));
}

Value JoinMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string& separator = TextOf(runtime, self);
  std::string out;
  bool is_first = true;
  const auto given = ItemsOf(runtime, *arguments[0]);
  for (const Value& item : given->items) {
    if (!is_first) out += separator;
    is_first = false;
    runtime.ChargeText(separator.size());
    NeedText(item, "what is joined");
    AppendText(runtime, out, item);
  }
  return runtime.Text(std::move(out));
}

enum class Align { kLeft, kRight, kCenter };

template <Align kAlign>
Value Justify(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const std::string& text = TextOf(runtime, self);
  const std::string fill = arguments[1] == nullptr ? " " : NeedText(*arguments[1], "the fill character");
  if (CodePointCount(fill) != 1) Fail(ErrorCode::kInvalidArgument, "the fill character must be one character");
  const int64_t width = NeedInteger(*arguments[0], "the width"), length = static_cast<int64_t>(CodePointCount(text));
  if (width <= length) return self;
  const auto missing = static_cast<size_t>(width - length);
  runtime.CheckLength(missing);
  // Python puts the odd space left when the width is odd.
  const size_t left = kAlign == Align::kLeft    ? 0
                      : kAlign == Align::kRight ? missing
                                                : missing / 2 + (missing & static_cast<size_t>(width) & 1);
  std::string out;
  for (size_t i = 0; i < left; ++i) out += fill;
  out += text;
  for (size_t i = left; i < missing; ++i) out += fill;
  return runtime.Text(std::move(out));
}

Value ZeroFill(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  std::string text = TextOf(runtime, self);
  const int64_t width = NeedInteger(*arguments[0], "the width"), length = static_cast<int64_t>(CodePointCount(text));
  if (width <= length) return self;
  runtime.CheckLength(static_cast<size_t>(width));
  const bool signed_text = !text.empty() && (text[0] == '+' || text[0] == '-');
  text.insert(signed_text ? 1 : 0, static_cast<size_t>(width - length), '0');
  return runtime.Text(std::move(text));
}

Value FormatMethod(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  return FormatBraces(runtime, self.string(), *arguments.all);
}

Value IndexOf(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const auto& items = self.sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (Equal(runtime, items[i], *arguments[0])) return Value(static_cast<int64_t>(i));
  }
  Fail(ErrorCode::kInvalidArgument, "the value is not in the list");
}

Value CountItems(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const auto& items = self.sequence().items;
  return Value(static_cast<int64_t>(std::count_if(
      items.begin(), items.end(), [&](const Value& item) { return Equal(runtime, item, *arguments[0]); })));
}

Value Copy(Runtime&, const Value& self, const BoundArguments&) {
  return self;
}

Value Get(Runtime& runtime, const Value& self, const BoundArguments& arguments) {
  const Value& key = *arguments[0];
  if (key.IsSequence() || key.IsDict()) Fail(ErrorCode::kInvalidArgument, "{} cannot be a key", key.TypeWithArticle());
  if (key.IsString()) runtime.ChargeText(key.string().size());
  const Value* found = self.dict().Find(key);
  if (found != nullptr) return *found;
  return arguments[1] != nullptr ? *arguments[1] : Value(None{});
}

template <Sequence::Kind kKind>
Value View(Runtime& runtime, const Value& self, const BoundArguments&) {
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict().entries()) {
    if (kKind == Sequence::Kind::kKeys) {
      items.push_back(key);
    } else if (kKind == Sequence::Kind::kValues) {
      items.push_back(value);
    } else {
      items.push_back(runtime.MakeSequence(Sequence::Kind::kTuple, {key, value}));
    }
  }
  return runtime.MakeSequence(kKind, std::move(items));
}

constexpr std::array<Builtin, 37> kOfText = {{
    {"strip", StripMethod<Side::kBoth>, "chars"},
    {"lstrip", StripMethod<Side::kLeft>, "chars"},
    {"rstrip", StripMethod<Side::kRight>, "chars"},
    {"split", Split<false>, "sep maxsplit"},
    {"rsplit", Split<true>, "sep maxsplit"},
    {"splitlines", SplitLinesMethod, "keepends"},
    {"partition", Partition<false>, "sep!"},
    {"rpartition", Partition<true>, "sep!"},
    {"startswith", Affix<Where::kStart>, "prefix! start end"},
    {"endswith", Affix<Where::kEnd>, "suffix! start end"},
    {"removeprefix", RemoveAffix<Where::kStart>, "prefix!"},
    {"removesuffix", RemoveAffix<Where::kEnd>, "suffix!"},
    {"upper", Change<Upper>},
    {"lower", Change<Lower>},
    {"casefold", Change<Lower>},
    {"title", Change<Title>},
    {"capitalize", Change<Capitalize>},
    {"replace", ReplaceMethod, "old! new! count"},
    {"find", FindMethodOfText<false, false>, "sub! start end"},
    {"rfind", FindMethodOfText<true, false>, "sub! start end"},
    {"index", FindMethodOfText<false, true>, "sub! start end"},
    {"rindex", FindMethodOfText<true, true>, "sub! start end"},
    {"count", CountMethod, "sub! start end"},
    {"join", JoinMethod, "iterable!"},
    {"format", FormatMethod, "*"},
    {"isalpha", IsAll<Class::kAlpha>},
    {"isdigit", IsAll<Class::kDigit>},
    {"isdecimal", IsAll<Class::kDigit>},
    {"isnumeric", IsAll<Class::kDigit>},
    {"isalnum", IsAll<Class::kAlphanumeric>},
    {"isspace", IsAll<Class::kSpace>},
    {"isupper", IsAll<Class::kUpper>},
    {"islower", IsAll<Class::kLower>},
    {"ljust", Justify<Align::kLeft>, "width! fillchar"},
    {"rjust", Justify<Align::kRight>, "width! fillchar"},
    {"center", Justify<Align::kCenter>, "width! fillchar"},
    {"zfill", ZeroFill, "width!"},
}};

constexpr std::array<Builtin, 3> kOfSequences = {
    {{"index", IndexOf, "value!"}, {"count", CountItems, "value!"}, {"copy", Copy}}};

constexpr std::array<Builtin, 5> kOfDict = {{
    {"get", Get, "key! default"},
    {"items", View<Sequence::Kind::kItems>},
    {"keys", View<Sequence::Kind::kKeys>},
    {"values", View<Sequence::Kind::kValues>},
    {"copy", Copy},
}};

}  // namespace

std::span<const Builtin> TextMethods() {
  return kOfText;
}
std::span<const Builtin> SequenceMethods() {
  return kOfSequences;
}
std::span<const Builtin> DictMethods() {
  return kOfDict;
}

}  // namespace edgellm::text::jinja
