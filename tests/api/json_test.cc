// JSON in and out: what is written reads back, durations, limits.
#include <bit>
#include <cmath>
#include <limits>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>

#include "api/json_input.h"
#include "api/json_text.h"
#include "api/ollama_writer.h"
#include "api/request_parts.h"
#include "base/utf8.h"

namespace edgellm::api {
namespace {

TEST(JsonText, StringsReadBack) {
  EXPECT_EQ(Quoted("a\"b\\c\n\t\r\x01\x7f/é€😀"), "\"a\\\"b\\\\c\\n\\t\\r\\u0001\x7f/é€😀\"");
  EXPECT_EQ(Quoted("\xff\xe2\x82"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
  const bool holds = rc::check("any bytes", [](const std::string& text) {
    RC_ASSERT(nlohmann::json::parse(Quoted(text)).get<std::string>() == utf8::Sanitize(text));
  });
  EXPECT_TRUE(holds);
}

TEST(JsonText, NumbersReadBack) {
  const bool holds = rc::check("any float", [](uint32_t bits) {
    const auto value = std::bit_cast<float>(bits);
    if (!std::isfinite(value)) return;
    std::string text;
    AppendNumber(&text, value);
    RC_ASSERT(nlohmann::json::parse(text).get<float>() == value);
  });
  EXPECT_TRUE(holds);
  std::string text;
  for (const float value : {-std::numeric_limits<float>::infinity(), std::nanf(""), -0.5f}) {
    AppendNumber(&text, value);
    text += ' ';
  }
  EXPECT_EQ(text, "-9999 0 -0.5 ");
}

TEST(JsonText, Times) {
  EXPECT_EQ(TimeText(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(TimeText(1'709'210'096'000'000'050), "2024-02-29T12:34:56.000000050Z");
}

std::optional<double> Seconds(const std::string& value) {
  const Json json = Json::parse("{\"keep_alive\":" + value + "}");
  const auto time = ReadKeepAlive(Fields(json, ""), "keep_alive");
  if (!time) return std::nullopt;
  return static_cast<double>(time->count()) / 1e9;
}

TEST(KeepAlive, NumbersAndDurations) {
  EXPECT_EQ(Seconds("null"), std::nullopt);
  EXPECT_EQ(Seconds("0"), 0);
  EXPECT_EQ(Seconds("300"), 300);
  EXPECT_EQ(Seconds("0.5"), 0.5);
  EXPECT_EQ(Seconds("\"0\""), 0);
  EXPECT_EQ(Seconds("\"5m\""), 300);
  EXPECT_EQ(Seconds("\"1h30m10s\""), 5410);
  EXPECT_EQ(Seconds("\"1.5h\""), 5400);
  EXPECT_EQ(Seconds("\"300ms\""), 0.3);
  for (const char* for_ever : {"-1", "\"-1\"", "\"-1m\"", "1e300"}) EXPECT_LT(Seconds(for_ever), 0) << for_ever;
  for (const char* bad : {"\"\"", "\"5 m\"", "\"m\"", "\"5x\"", "\"5m3\"", "true", "[]", "\"nan\"", "\"inf\""}) {
    EXPECT_THROW(Seconds(bad), RequestError) << bad;
  }
}

TEST(JsonInput, WholeNumbersCountAsIntegers) {
  const Json json = Json::parse(R"({"a":5.0,"b":5.5,"c":-3,"d":9223372036854775808,"e":1e30})");
  const Fields fields(json, "x");
  EXPECT_EQ(fields.Integer("a", 0, 10), 5);
  EXPECT_EQ(fields.Integer("c", -3, 10), -3);
  EXPECT_EQ(fields.Integer("missing", 0, 1), std::nullopt);
  for (const char* key : {"b", "d", "e"}) EXPECT_THROW(fields.Integer(key, INT64_MIN, INT64_MAX), RequestError) << key;
  try {
    fields.Integer("c", 0, 1);
    FAIL();
  } catch (const RequestError& error) {
    EXPECT_EQ(error.field(), "x.c");
    EXPECT_STREQ(error.what(), "'x.c' must be an integer from 0 to 1");
  }
}

}  // namespace
}  // namespace edgellm::api
