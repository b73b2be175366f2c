// See json_fields.h.
#include "model/json_fields.h"

#include <set>

#include <nlohmann/json.hpp>

namespace edgellm {
namespace {

/// Watches a parse: limits, and keys that come twice.
template <typename Json>
class Watch {
 public:
  Watch(std::string_view name, const JsonLimits& limits) : name_(name), limits_(limits) {}

  bool operator()(int depth, typename Json::parse_event_t event, const Json& value) {
    using Event = typename Json::parse_event_t;
    if (depth > limits_.max_depth) Fail(ErrorCode::kCorrupt, "{}: JSON is nested too deeply", name_);
    if (event != Event::object_end && event != Event::array_end && ++values_ > limits_.max_values) {
      Fail(ErrorCode::kCorrupt, "{}: JSON holds more than {} values", name_, limits_.max_values);
    }
    if (!limits_.unique_keys) return true;
    if (event == Event::object_start) keys_.emplace_back();
    if (event == Event::object_end) keys_.pop_back();
    if (event == Event::key) {
      const auto& key = value.template get_ref<const std::string&>();
      if (!keys_.back().insert(key).second) {
        Fail(ErrorCode::kCorrupt, "{}: JSON has the key '{}' twice", name_, OneLine(key));
      }
    }
    return true;
  }

 private:
  std::string_view name_;
  JsonLimits limits_;
  size_t values_ = 0;
  std::vector<std::set<std::string>> keys_;
};

}  // namespace

template <typename Json>
Json ParseJson(std::string_view text, std::string_view name, const JsonLimits& limits) {
  // The parser takes a zero byte for the end of the text.
  if (text.find('\0') != text.npos) Fail(ErrorCode::kCorrupt, "{}: not valid JSON: a zero byte stands in it", name);
  Watch<Json> watch(name, limits);
  try {
    return Json::parse(text, std::ref(watch));
  } catch (const typename Json::exception& error) {
    Fail(ErrorCode::kCorrupt, "{}: not valid JSON: {}", name, OneLine(error.what()));
  }
}

template nlohmann::json ParseJson<nlohmann::json>(std::string_view, std::string_view, const JsonLimits&);
template nlohmann::ordered_json ParseJson<nlohmann::ordered_json>(std::string_view, std::string_view,
                                                                  const JsonLimits&);

JsonFields::JsonFields(const nlohmann::ordered_json& object, std::string_view name, std::string_view path)
    : object_(&object), name_(name), path_(path) {
  if (!object.is_object()) {
    Fail(ErrorCode::kCorrupt, "{}: {} is not a JSON object", name_, path_.empty() ? "the content" : path_);
  }
}

std::string JsonFields::Path(std::string_view key) const {
  return path_.empty() ? OneLine(key) : fmt::format("{}.{}", path_, OneLine(key));
}

const nlohmann::ordered_json* JsonFields::Find(std::string_view key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

void JsonFields::FailType(std::string_view key, std::string_view expected) const {
  if (Find(key) == nullptr) Fail(ErrorCode::kCorrupt, "{}: {} is missing", name_, Path(key));
  Fail(ErrorCode::kCorrupt, "{}: {} must be {}", name_, Path(key), expected);
}

bool JsonFields::Has(std::string_view key) const {
  return Find(key) != nullptr;
}

int64_t JsonFields::Integer(std::string_view key, int64_t least, int64_t most, std::optional<int64_t> fallback) const {
  const auto* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const std::string expected = fmt::format("a whole number from {} to {}", least, most);
  if (value == nullptr || !value->is_number_integer()) FailType(key, expected);
  // An unsigned value past int64_t's range would come back negative.
  if (value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) FailType(key, expected);
  const auto number = value->get<int64_t>();
  if (number < least || number > most) FailType(key, fmt::format("{}, not {}", expected, number));
  return number;
}

double JsonFields::Number(std::string_view key, double least, double most, std::optional<double> fallback) const {
  const auto* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  const std::string expected = fmt::format("a number from {} to {}", least, most);
  if (value == nullptr || !value->is_number()) FailType(key, expected);
  const auto number = value->get<double>();
  if (!(number >= least && number <= most)) FailType(key, fmt::format("{}, not {}", expected, number));
  return number;
}

bool JsonFields::Boolean(std::string_view key, std::optional<bool> fallback) const {
  const auto* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) FailType(key, "true or false");
  return value->get<bool>();
}

std::string JsonFields::Text(std::string_view key, std::optional<std::string> fallback) const {
  const auto* value = Find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_string()) FailType(key, "a string");
  return value->get<std::string>();
}

const nlohmann::ordered_json& JsonFields::Value(std::string_view key) const {
  const auto* value = Find(key);
  if (value == nullptr) FailType(key, "present");
  return *value;
}

JsonFields JsonFields::Object(std::string_view key) const {
  return {Value(key), name_, Path(key)};
}

std::vector<int32_t> JsonFields::Integers(std::string_view key) const {
  const auto* value = Find(key);
  if (value == nullptr) return {};
  const auto list = value->is_array() ? *value : nlohmann::ordered_json::array({*value});
  std::vector<int32_t> numbers;
  for (const auto& element : list) {
    if (!element.is_number_integer()) FailType(key, "a whole number or a list of them");
    const bool too_large = element.is_number_unsigned() && element.get<uint64_t>() > uint64_t{INT32_MAX};
    if (too_large || element.get<int64_t>() < INT32_MIN) FailType(key, "numbers of 32 bits");
    numbers.push_back(element.get<int32_t>());
  }
  return numbers;
}

std::vector<std::string> JsonFields::Texts(std::string_view key) const {
  const auto* value = Find(key);
  if (value == nullptr) return {};
  if (value->is_string()) return {value->get<std::string>()};
  if (!value->is_array()) FailType(key, "a string or a list of strings");
  std::vector<std::string> texts;
  for (const auto& element : *value) {
    if (!element.is_string()) FailType(key, "a string or a list of strings");
    texts.push_back(element.get<std::string>());
  }
  return texts;
}

std::vector<std::string> JsonFields::Keys() const {
  std::vector<std::string> keys;
  for (const auto& [key, value] : object_->items()) keys.push_back(key);
  return keys;
}

}  // namespace edgellm
