// String formatting.
#include "text/jinja_format.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "text/jinja_operators.h"
#include "text/jinja_text.h"

namespace edgellm::text::jinja {

namespace {

/// One conversion of a percent format.
struct Conversion {
  std::string name;
  bool named = false, left = false, zero = false, plus = false, space = false;
  size_t width = 0;
  int precision = -1;
  char type = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const std::string& format, const Value& values)
      : runtime_(runtime), format_(format), values_(values) {}

  Value Run() {
    while (position_ < format_.size()) {
      const size_t percent = std::min(format_.find('%', position_), format_.size());
      out_.append(format_, position_, percent - position_);
      position_ = percent;
      if (position_ == format_.size()) break;
      ++position_;
      const Conversion conversion = Read();
      if (conversion.type == '%') {
        out_ += '%';
      } else {
        Append(conversion);
      }
    }
    const bool is_tuple = IsTuple();
    // Python forgives what has subscripts (but a str), since it might be meant for names.
    const bool forgiven = values_.IsDict() || values_.IsSequence();
    const bool left_over = is_tuple ? next_ < values_.sequence().items.size() : next_ == 0 && !forgiven;
    if (left_over && !used_name_) Fail(ErrorCode::kInvalidArgument, "not all arguments are used by the format");
    return runtime_.Text(std::move(out_));
  }

 private:
  bool IsTuple() const { return values_.IsSequence() && values_.sequence().kind == Sequence::Kind::kTuple; }

  char Peek() const {
    if (position_ >= format_.size()) Fail(ErrorCode::kInvalidArgument, "a format ends inside a conversion");
    return format_[position_];
  }

  int Number() {
    int number = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      number = std::min(number * 10 + (Peek() - '0'), 1 << 20);
      ++position_;
    }
    if (number > 4096) Fail(ErrorCode::kLimit, "a format asks for more than 4096 characters");
    return number;
  }

  Conversion Read() {
    Conversion conversion;
    if (Peek() == '(') {
      size_t close = position_;
      for (int depth = 0; close < format_.size(); ++close) {  // a name may hold parentheses of its own
        depth += (format_[close] == '(') - (format_[close] == ')');
        if (depth == 0) break;
      }
      conversion.named = true;
      conversion.name = format_.substr(position_ + 1, close - position_ - 1);
      position_ = close + 1;
    }
    for (;; ++position_) {
      const char flag = Peek();
      conversion.left |= flag == '-';
      conversion.zero |= flag == '0';
      conversion.plus |= flag == '+';
      conversion.space |= flag == ' ';
      if (std::string_view("-0+ #").find(flag) == std::string_view::npos) break;
    }
    conversion.width = static_cast<size_t>(Number());
    if (Peek() == '.') {
      ++position_;
      conversion.precision = Number();
    }
    conversion.type = Peek();
    ++position_;
    return conversion;
  }

  const Value& NextValue(const Conversion& conversion) {
    if (conversion.named) {
      used_name_ = true;
      if (!values_.IsDict()) Fail(ErrorCode::kInvalidArgument, "the format needs a dict");
      const Value* found = values_.dict().Find(conversion.name);
      if (found == nullptr) Fail(ErrorCode::kInvalidArgument, "the format needs a value '{}'", conversion.name);
      return *found;
    }
    const bool enough = IsTuple() ? next_ < values_.sequence().items.size() : next_ == 0;
    if (!enough) Fail(ErrorCode::kInvalidArgument, "not enough arguments for the format");
    return IsTuple() ? values_.sequence().items[next_++] : (++next_, values_);
  }

  void Append(const Conversion& conversion) {
    const Value& value = NextValue(conversion);
    std::string text;
    bool numeric = true;
    switch (conversion.type) {
      case 's':
      case 'r':
        numeric = false;
        conversion.type == 's' ? AppendText(runtime_, text, value) : AppendRepr(runtime_, text, value);
        if (conversion.precision >= 0) text.resize(ByteOffset(text, static_cast<size_t>(conversion.precision)));
        break;
      case 'd':
      case 'i':
      case 'u':
        text = std::to_string(WholeNumber(value));
        break;
      case 'x':
        text = Based("{:x}", NeedInteger(value, "the value of %x"));
        break;
      case 'X':
        text = Based("{:X}", NeedInteger(value, "the value of %X"));
        break;
      case 'o':
        text = Based("{:o}", NeedInteger(value, "the value of %o"));
        break;
      case 'e':
      case 'f':
      case 'g':
        if (!value.IsNumber()) Fail(ErrorCode::kInvalidArgument, "a number is needed, not {}", value.TypeWithArticle());
        text = Floating(conversion, value.number());
        break;
      default:
        Fail(ErrorCode::kUnsupported, "the format %{} is not supported", conversion.type);
    }
    if (numeric && text[0] != '-' && conversion.plus) text.insert(0, "+");
    if (numeric && text[0] != '-' && !conversion.plus && conversion.space) text.insert(0, " ");
    const size_t length = CodePointCount(text);
    if (length < conversion.width) Pad(text, conversion.width - length, conversion, numeric);
    runtime_.CheckLength(out_.size() + text.size());
    out_ += text;
  }

  static void Pad(std::string& text, size_t count, const Conversion& conversion, bool numeric) {
    if (conversion.left) {
      text.append(count, ' ');
    } else if (conversion.zero && numeric) {
      text.insert(std::string_view("+- ").find(text[0]) == std::string_view::npos ? 0 : 1, count, '0');
    } else {
      text.insert(0, count, ' ');
    }
  }

  static int64_t WholeNumber(const Value& value) {
    if (!value.Is(Value::Kind::kFloat)) return NeedInteger(value, "the value of %d");
    if (!(std::abs(value.floating()) < 9e18)) Fail(ErrorCode::kInvalidArgument, "this number is too large for %d");
    return static_cast<int64_t>(value.floating());
  }

  static std::string Based(const char* pattern, int64_t value) { return fmt::format(fmt::runtime(pattern), value); }

  static std::string Floating(const Conversion& conversion, double value) {
    const int precision = conversion.precision < 0 ? 6 : conversion.precision;
    if (conversion.type == 'f') return fmt::format("{:.{}f}", value, precision);
    return conversion.type == 'e' ? fmt::format("{:.{}e}", value, precision) : fmt::format("{:.{}g}", value, precision);
  }

  Runtime& runtime_;
  const std::string& format_;
  const Value& values_;
  size_t position_ = 0;
  size_t next_ = 0;
  bool used_name_ = false;
  std::string out_;
};

const Value& ArgumentFor(const std::string& field, size_t& next, const Arguments& arguments) {
  const bool numbered = field.find_first_not_of("0123456789") == std::string::npos;
  if (!numbered) {
    for (const auto& [name, value] : arguments.keyword) {
      if (name == field) return value;
    }
    if (field.find_first_of(".[!:") != std::string::npos) {
      Fail(ErrorCode::kUnsupported, "format fields like '{{{}}}' are not supported", field);
    }
    Fail(ErrorCode::kInvalidArgument, "the format needs a value '{}'", field);
  }
  const size_t index = field.empty() ? next++ : field.size() > 6 ? arguments.positional.size() : std::stoul(field);
  if (index >= arguments.positional.size()) Fail(ErrorCode::kInvalidArgument, "not enough arguments for the format");
  return arguments.positional[index];
}

}  // namespace

Value FormatPercent(Runtime& runtime, const std::string& format, const Value& values) {
  runtime.ChargeText(format.size());
  return PercentFormatter(runtime, format, values).Run();
}

Value FormatBraces(Runtime& runtime, const std::string& format, const Arguments& arguments) {
  runtime.ChargeText(format.size());
  std::string out;
  size_t next = 0;
  for (size_t i = 0; i < format.size(); ++i) {
    const char c = format[i];
    if (c != '{' && c != '}') {
      out += c;
      continue;
    }
    if (i + 1 < format.size() && format[i + 1] == c) {
      out += c;
      ++i;
      continue;
    }
    const size_t close = format.find('}', i);
    if (c == '}' || close == std::string::npos) Fail(ErrorCode::kInvalidArgument, "a format has a single '{}'", c);
    AppendText(runtime, out, ArgumentFor(format.substr(i + 1, close - i - 1), next, arguments));
    i = close;
  }
  return runtime.Text(std::move(out));
}

}  // namespace edgellm::text::jinja
