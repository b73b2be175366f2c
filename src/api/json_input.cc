// See json_input.h.
#include "api/json_input.h"

#include <cmath>
#include <unordered_set>

#include "model/json_fields.h"

namespace edgellm::api {
namespace {

constexpr int kMaxDepth = 100;
constexpr size_t kMaxValues = 2'000'000;
constexpr size_t kMaxComparisons = 8'000'000;

/// A walk over the text that keeps nothing of it: what passes is then parsed into a document. The document's objects
/// compare a new key with all before it, so that the comparisons are counted here.
class Inspector final : public nlohmann::json_sax<Json> {
 public:
  bool null() override { return Value(); }
  bool boolean(bool) override { return Value(); }
  bool number_integer(number_integer_t) override { return Value(); }
  bool number_unsigned(number_unsigned_t) override { return Value(); }
  bool number_float(number_float_t, const string_t&) override { return Value(); }
  bool string(string_t&) override { return Value(); }
  bool binary(binary_t&) override { return Value(); }
  bool start_object(std::size_t) override {
    keys_.emplace_back();
    return Open();
  }
  bool key(string_t& key) override {
    comparisons_ += keys_.back().size();
    if (comparisons_ > kMaxComparisons) Refuse("", "the request's JSON has objects with too many keys");
    if (!keys_.back().insert(key).second) {
      Refuse(OneLine(key), fmt::format("the request's JSON has the key '{}' twice in one object", OneLine(key)));
    }
    return true;
  }
  bool end_object() override {
    keys_.pop_back();
    --depth_;
    return true;
  }
  bool start_array(std::size_t) override { return Open(); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& error) override {
    std::string_view what = error.what();
    const size_t name_end = what.find("] ");  // "[json.exception.parse_error.101] …"
    if (name_end != what.npos) what.remove_prefix(name_end + 2);
    Refuse("", fmt::format("the request is not valid JSON: {}", OneLine(what)));
  }

 private:
  bool Value() {
    if (++values_ > kMaxValues) Refuse("", fmt::format("the request's JSON holds more than {} values", kMaxValues));
    return true;
  }
  bool Open() {
    if (++depth_ > kMaxDepth) Refuse("", fmt::format("the request's JSON is nested deeper than {}", kMaxDepth));
    return Value();
  }

  size_t values_ = 0, comparisons_ = 0;
  int depth_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;
};

Json ParseJsonText(std::string_view text) {
  // The parser takes a zero byte for the end of the text.
  if (text.find('\0') != text.npos) Refuse("", "the request is not valid JSON: a zero byte stands in it");
  Inspector inspector;
  Json::sax_parse(text, &inspector);
  return Json::parse(text);
}

}  // namespace

void Refuse(const std::string& field, const std::string& message) {
  throw RequestError(ErrorCode::kInvalidArgument, field, message);
}

void RefuseUnsupported(const std::string& field, const std::string& message) {
  throw RequestError(ErrorCode::kUnsupported, field, message);
}

Json ParseBody(std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == text.npos) Refuse("", "missing request body");
  Json json = ParseJsonText(text);
  if (!json.is_object()) Refuse("", "the request must be a JSON object");
  return json;
}

std::string ItemPath(std::string_view list, size_t index) {
  return fmt::format("{}[{}]", list, index);
}

std::string ObjectText(const std::string& text, const std::string& field) {
  if (text.empty()) return "{}";
  try {
    const Json json = ParseJsonText(text);
    if (json.is_object()) return Dump(json);
  } catch (const RequestError&) {
  }
  Refuse(field, fmt::format("'{}' must be the JSON text of an object", field));
}

Fields::Fields(const Json& object, std::string path) : object_(&object), path_(std::move(path)) {
  if (!object.is_object()) Refuse(path_, fmt::format("'{}' must be an object", path_));
}

std::string Fields::Path(std::string_view key) const {
  return path_.empty() ? OneLine(key) : fmt::format("{}.{}", path_, OneLine(key));
}

const Json* Fields::Find(std::string_view key) const {
  for (const auto& [name, value] : object_->items()) {
    if (name == key) return value.is_null() ? nullptr : &value;
  }
  return nullptr;
}

void Fields::FailType(std::string_view key, std::string_view expected) const {
  Refuse(Path(key), fmt::format("'{}' must be {}", Path(key), expected));
}

void Fields::FailMissing(std::string_view key) const {
  Refuse(Path(key), fmt::format("'{}' is missing", Path(key)));
}

std::optional<std::string> Fields::Text(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) FailType(key, "a string");
  return value->get<std::string>();
}

std::optional<bool> Fields::Boolean(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) FailType(key, "true or false");
  return value->get<bool>();
}

std::optional<int64_t> Fields::Integer(std::string_view key, int64_t least, int64_t most) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  int64_t number = 0;
  bool fits = true;
  if (value->is_number_unsigned()) {
    fits = value->get<uint64_t>() <= static_cast<uint64_t>(INT64_MAX);
    number = static_cast<int64_t>(value->get<uint64_t>());
  } else if (value->is_number_integer()) {
    number = value->get<int64_t>();
  } else if (value->is_number_float()) {
    const double real = value->get<double>();
    if (real != std::floor(real)) FailType(key, "an integer");
    fits = std::abs(real) <= 9007199254740992.0;
    if (fits) number = static_cast<int64_t>(real);
  } else {
    FailType(key, "an integer");
  }
  if (!fits || number < least || number > most) FailType(key, fmt::format("an integer from {} to {}", least, most));
  return number;
}

std::optional<double> Fields::Number(std::string_view key, double least, double most) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) FailType(key, "a number");
  const auto number = value->get<double>();
  if (!(number >= least && number <= most)) FailType(key, fmt::format("a number from {} to {}", least, most));
  return number;
}

const Json* Fields::Array(std::string_view key) const {
  const Json* value = Find(key);
  if (value != nullptr && !value->is_array()) FailType(key, "a list");
  return value;
}

std::optional<Fields> Fields::Object(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  return Fields(*value, Path(key));
}

std::vector<std::string> Fields::Texts(std::string_view key, size_t most) const {
  const Json* value = Find(key);
  std::vector<std::string> texts;
  if (value == nullptr) return texts;
  if (value->is_string()) {
    texts.push_back(value->get<std::string>());
  } else if (value->is_array()) {
    for (const Json& item : *value) {
      if (!item.is_string()) FailType(key, "a string or a list of strings");
      texts.push_back(item.get<std::string>());
    }
  } else {
    FailType(key, "a string or a list of strings");
  }
  if (texts.size() > most) Refuse(Path(key), fmt::format("'{}' may have {} strings at most", Path(key), most));
  for (const std::string& text : texts) {
    if (text.empty()) Refuse(Path(key), fmt::format("'{}' must not hold an empty string", Path(key)));
  }
  return texts;
}

std::string Fields::NeedText(std::string_view key) const {
  auto text = Text(key);
  if (!text) FailMissing(key);
  return *std::move(text);
}

std::string Fields::NeedName(std::string_view key) const {
  std::string text = NeedText(key);
  if (text.empty()) Refuse(Path(key), fmt::format("'{}' must not be empty", Path(key)));
  return text;
}

const Json& Fields::NeedArray(std::string_view key) const {
  const Json* value = Array(key);
  if (value == nullptr) FailMissing(key);
  return *value;
}

Fields Fields::NeedObject(std::string_view key) const {
  auto object = Object(key);
  if (!object) FailMissing(key);
  return *object;
}

}  // namespace edgellm::api
