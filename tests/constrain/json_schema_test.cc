// JSON schemas keyword by keyword: documents that the grammar takes, documents that it does not, and every refusal with
// its place.
#include "constrain/json_schema.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tests/constrain/matching.h"

namespace edgellm::constrain {
namespace {

struct Case {
  const char* schema;
  std::vector<std::string> takes, refuses;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.schema;
}

const std::vector<Case>& Cases() {
  static const std::vector<Case> cases = {
      // Any value.
      {"{}",
       {"{}", "[]", "null", "true", "-1.5e3", R"("x")", R"({"a": [1, {"b": null}]})"},
       {"", "{", "nul", "[1,]", "01", " 1", "1 "}},
      {"true", {"1", "{}"}, {"x"}},
      {R"({"title": "x", "description": "y", "default": 1, "examples": [1], "$comment": "z", "deprecated": true})",
       {"1"},
       {}},
      // Types.
      {R"({"type": "string"})",
       {R"("")", R"("a\n\"\\\/é\u00e9😀\ud83d\ude00")"},
       {"1", R"("a)", "\"a\nb\"", R"("\x")", R"("\ud83d")", R"("\ude00")", "\"\x80\"", "\"\xed\xa0\x80\""}},
      {R"({"type": "number"})",
       {"0", "1", "-1", "1.5", "-0.5", "1e5", "1E-10", "123456789012345678"},
       {"-0", "01", "1.", ".5", "1e", "1e999", "+1", "\"1\"", "1234567890123456789", "Infinity", "NaN"}},
      {R"({"type": "integer"})",
       {"0", "7", "-7", "999999999999999999"},
       {"1.0", "-0", "00", "1e3", "1000000000000000000"}},
      {R"({"type": "boolean"})", {"true", "false"}, {"0", "True"}},
      {R"({"type": "null"})", {"null"}, {"nil", "0"}},
      {R"({"type": ["integer", "null"]})", {"3", "null"}, {"3.5", "\"3\""}},
      {R"({"type": ["string", "array"], "minLength": 2, "maxItems": 1})",
       {R"("ab")", "[]", "[1]"},
       {R"("a")", "[1,2]", "1"}},
      // Objects.
      {R"({"type": "object"})", {"{}", R"({"a":1,"b":{}})"}, {"[]", R"({"a":1,})", R"({a:1})"}},
      {R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}, "c": {}}, "required": ["b"]})",
       {R"({"b":"x"})", R"({"a":1,"b":"x"})", R"({"b":"x","c":[]})", R"({"a": 1, "b": "x", "c": null})"},
       {"{}", R"({"a":1})", R"({"b":"x","a":1})", R"({"b":1})", R"({"b":"x","d":1})", R"({"a":1,,"b":"x"})",
        R"({,"b":"x"})", R"({"b":"x","b":"y"})"}},
      {R"({"properties": {"a": {"type": "null"}}, "required": ["a"]})", {R"({"a":null})"}, {"{}", "1"}},
      {R"({"type": "object", "properties": {}})", {"{}"}, {R"({"a":1})", "{ }"}},
      {R"({"type": "object", "additionalProperties": false})", {"{}"}, {R"({"a":1})"}},
      {R"({"type": "object", "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"x":1,"y":2})"},
       {R"({"x":"1"})"}},
      {R"({"type": "object", "properties": {"ab": {"type": "string"}, "ac\n": {}}, "additionalProperties": {"type": "integer"}})",
       {"{}", R"({"ab":"x"})", R"({"ab":"x","z":1})", R"({"a":1,"abc":2,"b":3,"":4})", R"({"ac":1})",
        R"({"ac\n":null,"ac\nx":1})", R"({"a\"b":1,"é":2})"},
       {R"({"ab":1})", R"({"z":1,"ab":1})", R"({"z":"x"})", R"({"\u0061b":1})", R"({"z":1,"ac\n":2})"}},
      {R"({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["z"], "additionalProperties": {"type": "integer"}})",
       {R"({"z":1})", R"({"a":null,"z":1,"y":2})"},
       {"{}", R"({"y":1})", R"({"z":null})"}},
      {R"({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": {"type": "integer"}})",
       {R"({"ab":1})", "{}"},
       {R"({"A":1})", R"({"":1})"}},
      {R"({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}})", {R"({"A":[]})"}, {}},
      {R"({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"], "minProperties": 1, "maxProperties": 2})",
       {R"({"a":1})"},
       {"{}"}},
      {R"({"type": "object", "properties": {"a": false, "b": {"type": "null"}}})",
       {"{}", R"({"b":null})"},
       {R"({"a":1})"}},
      {R"({"type": "object", "properties": {"a\"\\é\u0001": {"type": "null"}}, "required": ["a\"\\é\u0001"]})",
       {"{\"a\\\"\\\\é\\u0001\":null}"},
       {"{}"}},
      // Arrays.
      {R"({"type": "array"})", {"[]", "[1,\"x\",[]]"}, {"[,]", "[1"}},
      {R"({"type": "array", "items": {"type": "integer"}})", {"[]", "[1]", "[1, 2,3]"}, {"[null]", "[1,]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 1})", {"[1]", "[1,2]"}, {"[]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
       {"[1,2]", "[1,2,3]"},
       {"[1]", "[1,2,3,4]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "maxItems": 0})", {"[]"}, {"[1]"}},
      {R"({"type": "array", "items": {"type": "integer"}, "maxItems": 1})", {"[]", "[1]"}, {"[1,2]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": {"type": "null"}})",
       {"[]", "[1]", R"([1,"a"])", R"([1,"a",null,null])"},
       {R"(["a"])", "[1,null]", R"([1,"a",1])"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "items": false, "minItems": 1})",
       {"[1]", R"([1, "a"])"},
       {"[]", R"([1,"a",1])"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}], "items": {"type": "null"}, "minItems": 2, "maxItems": 3})",
       {"[1,null]", "[1,null,null]"},
       {"[1]", "[1,null,null,null]"}},
      {R"({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "maxItems": 1})",
       {"[]", "[1]"},
       {"[1,null]"}},
      {R"({"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "null"}})",
       {"[]", "[1,null]"},
       {"[null]", "[1,2]"}},
      {R"({"type": "array", "uniqueItems": false, "items": {"type": "integer"}})", {"[1,1]"}, {}},
      {R"({"items": {"items": {"type": "integer"}}})", {"[[1],[]]"}, {"[1]"}},
      // Constants.
      {R"({"enum": ["a", "é\n", 1, 1.5, null, true, [1, {"x": 2}], {}]})",
       {R"("a")", R"("é\n")", "1", "1.5", "null", "true", "[1,{\"x\":2}]", "[ 1, { \"x\": 2 } ]", "{}"},
       {"2", R"("b")", "[1]", "\"\xc3\xa9\n\""}},
      {R"({"const": {"a": 1, "b": [2]}})", {R"({"a":1,"b":[2]})"}, {R"({"b":[2],"a":1})", R"({"a":1})"}},
      {R"({"type": "string", "enum": ["a", 1, "b"]})", {R"("a")", R"("b")"}, {"1"}},
      {R"({"enum": [1, 2, 3], "const": 2.0})", {"2"}, {"1", "3"}},
      // Strings.
      {R"({"type": "string", "minLength": 2, "maxLength": 3})",
       {R"("ab")", R"("éé😀")", R"("\n\u00e9")", R"("\ud83d\ude00x")"},
       {R"("a")", R"("abcd")", R"("\ud83d\ude00")"}},
      {R"({"type": "string", "maxLength": 0})", {R"("")"}, {R"("a")"}},
      {R"({"type": "string", "minLength": 3})", {R"("abc")", R"("abcdefgh")"}, {R"("ab")"}},
      {R"({"type": "string", "pattern": "^[A-Z]{2}-\\d+$"})",
       {R"("AB-1")", R"("ZZ-123")"},
       {R"("A-1")", R"("AB-")", R"("AB-1 ")", R"("xAB-1")"}},
      {R"({"type": "string", "pattern": "b+"})", {R"("b")", R"("abbc")", R"("\n\"b")"}, {R"("ac")", R"("")"}},
      {R"({"type": "string", "pattern": "^a|b$"})", {R"("ax")", R"("xb")"}, {R"("xa")", R"("bx")"}},
      {R"({"type": "string", "pattern": "^(?:a|(b|c){2})?d??[^x-z\\s]$"})",
       {R"("ae")", R"("bcde")", R"("é")", R"("ad")"},
       {R"("ax")", R"("abe")", R"(" ")", R"("bce ")"}},
      {R"({"type": "string", "pattern": "^\\w\\W\\S\\.[\\w.-]\\u00e9\\x41\\n\"\\\\$"})",
       {R"("a!x.-éA\n\"\\")"},
       {R"("a!x.-éB\n\"\\")"}},
      {R"({"type": "string", "pattern": "^.$"})",
       {R"("x")", R"("\"")", R"("\u0001")", R"("😀")"},
       {R"("\n")", R"("")", R"("ab")"}},
      {R"({"type": "string", "format": "date"})",
       {R"("2024-02-29")", R"("2023-12-31")", R"("2000-02-29")", R"("0001-01-01")"},
       {R"("2023-02-29")", R"("1900-02-29")", R"("2024-04-31")", R"("2024-13-01")", R"("2024-00-10")",
        R"("0000-01-01")", R"("24-01-01")"}},
      {R"({"type": "string", "format": "time"})",
       {R"("23:59:59Z")", R"("00:00:00.123+02:00")"},
       {R"("24:00:00Z")", R"("12:00:00")", R"("12:60:00Z")"}},
      {R"({"type": "string", "format": "date-time"})",
       {R"("2024-02-29T12:00:00Z")", R"("2024-01-01T00:00:00.5-11:30")"},
       {R"("2024-02-30T12:00:00Z")", R"("2024-01-01 00:00:00Z")"}},
      {R"({"type": "string", "format": "duration"})",
       {R"("P1D")", R"("PT5M")", R"("P1Y2M3DT4H5M6S")", R"("P2W")"},
       {R"("P")", R"("PT")", R"("1D")", R"("P1Y3D")", R"("PT1H5S")"}},
      {R"({"type": "string", "format": "uuid"})",
       {R"("123e4567-e89b-12d3-A456-426614174000")"},
       {R"("123e4567e89b12d3a456426614174000")", R"("123e4567-e89b-12d3-a456-42661417400g")"}},
      {R"({"type": "string", "format": "email"})",
       {R"("a@b.c")", R"("first.last+tag@mail.example-site.org")"},
       {R"("a@b")", R"("@b.c")", R"(".a@b.c")", R"("a@-b.c")", R"("a b@c.d")"}},
      {R"({"type": "string", "format": "hostname"})",
       {R"("localhost")", R"("a-b.example.org")"},
       {R"("-a")", R"("a..b")", R"("")"}},
      {R"({"type": "string", "format": "ipv4"})",
       {R"("0.0.0.0")", R"("255.249.199.9")"},
       {R"("256.0.0.1")", R"("1.2.3")", R"("01.2.3.4")"}},
      {R"({"type": "string", "format": "ipv6"})",
       {R"("::")", R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("fe80::1:abcd")", R"("1::8")", R"("1:2:3:4:5:6:7::")"},
       {R"("1:2:3:4:5:6:7")", R"("1::2::3")", R"(":1")", R"("12345::")", R"("1:2:3:4:5:6:7:8::")"}},
      // Integers.
      {R"({"type": "integer", "minimum": 0, "maximum": 150})",
       {"0", "9", "10", "99", "100", "149", "150"},
       {"-1", "151", "200", "1000", "007"}},
      {R"({"type": "integer", "minimum": -5, "maximum": 12})", {"-5", "-1", "0", "12"}, {"-6", "13", "-0", "-10"}},
      {R"({"type": "integer", "maximum": -17})", {"-17", "-100", "-999999999999999999"}, {"-16", "0", "5", "-9"}},
      {R"({"type": "integer", "exclusiveMinimum": 7, "exclusiveMaximum": 9})", {"8"}, {"7", "9"}},
      {R"({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 3.5})", {"1", "3"}, {"0", "4"}},
      {R"({"type": "integer", "minimum": -9007199254740991, "maximum": 9007199254740991})",
       {"9007199254740991", "-9007199254740991"},
       {"9007199254740992", "-9007199254740992"}},
      {R"({"type": "integer", "minimum": -1e300, "maximum": 18446744073709551615, "multipleOf": 1})", {"1"}, {}},
      {R"({"type": "integer", "minimum": 1234, "maximum": 5678})",
       {"1234", "1999", "5678", "5599"},
       {"1233", "5679", "999", "10000"}},
      // Combinations.
      {R"({"anyOf": [{"type": "integer"}, {"type": "null"}, {"const": "x"}]})", {"1", "null", R"("x")"}, {R"("y")"}},
      {R"({"type": "object", "properties": {"k": {"type": "string"}}, "anyOf": [{"required": ["k"]}, {"properties": {"l": {"type": "null"}}, "required": ["l"]}]})",
       {R"({"k":"v"})", R"({"k":"v","l":null})", R"({"l":null})"},
       {"{}"}},
      {R"({"oneOf": [{"type": "integer"}, {"type": "string"}]})", {"1", R"("a")"}, {"null"}},
      {R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "a"}, "x": {"type": "null"}}, "required": ["kind"]},
                     {"type": "object", "properties": {"kind": {"enum": ["b", "c"]}}, "required": ["kind"]}]})",
       {R"({"kind":"a","x":null})", R"({"kind":"c"})"},
       {R"({"kind":"b","x":null})", "{}"}},
      {R"({"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": false},
                     {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": false}]})",
       {R"({"a":1})", R"({"b":1})"},
       {R"({"a":1,"b":1})", "{}"}},
      {R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
                     {"properties": {"b": {"type": "null"}, "a": {"maximum": 5}}}]})",
       {R"({"a":3})", R"({"a":5,"b":null})"},
       {R"({"a":2})", R"({"a":6})", "{}"}},
      {R"({"allOf": [{"enum": [1, 2, 3]}, {"enum": [3, 2, 9]}]})", {"2", "3"}, {"1", "9"}},
      {R"({"type": ["string", "integer"], "allOf": [{"type": ["number", "null"]}]})", {"4"}, {"null", "1.5", R"("a")"}},
      // References.
      {R"({"$defs": {"p": {"type": "integer"}}, "type": "array", "items": {"$ref": "#/$defs/p"}})",
       {"[1,2]"},
       {"[null]"}},
      {R"({"definitions": {"a b/c": {"type": "null"}}, "$ref": "#/definitions/a%20b~1c"})", {"null"}, {"1"}},
      {R"({"type": "object", "properties": {"value": {"type": "integer"}, "next": {"$ref": "#"}}, "required": ["value"]})",
       {R"({"value":1})", R"({"value":1,"next":{"value":2,"next":{"value":3}}})"},
       {R"({"value":1,"next":{}})"}},
      {R"({"$defs": {"n": {"type": "integer", "minimum": 2}}, "properties": {"x": {"$ref": "#/$defs/n", "maximum": 4, "description": "d"}}, "required": ["x"]})",
       {R"({"x":2})", R"({"x":4})"},
       {R"({"x":1})", R"({"x":5})"}},
      {R"({"$defs": {"even": {"type": "array", "prefixItems": [{"$ref": "#/$defs/odd"}]}, "odd": {"type": "array", "items": {"$ref": "#/$defs/even"}, "maxItems": 2}}, "$ref": "#/$defs/even"})",
       {"[]", "[[]]", "[[[],[[]]]]"},
       {"[1]", "[[[],[],[]]]"}},
  };
  return cases;
}

class JsonSchemaCase : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Keywords, JsonSchemaCase, testing::ValuesIn(Cases()));

TEST_P(JsonSchemaCase, TakesAndRefuses) {
  Language language(CompileJsonSchemaText(GetParam().schema));
  for (const auto& text : GetParam().takes) EXPECT_TRUE(language.Takes(text)) << "should take " << text;
  for (const auto& text : GetParam().refuses) EXPECT_FALSE(language.Takes(text)) << "should refuse " << text;
}

std::string ErrorOf(const std::string& schema, ErrorCode* code = nullptr) {
  try {
    CompileGrammar(CompileJsonSchemaText(schema));
  } catch (const Error& error) {
    if (code != nullptr) *code = error.code();
    return error.what();
  }
  return "no error";
}

TEST(JsonSchema, UnsupportedKeywordsAreNamedWithTheirPlace) {
  for (const char* keyword : {"not", "if", "then", "else", "patternProperties", "dependentRequired", "dependentSchemas",
                              "contains", "minContains", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef",
                              "$recursiveRef", "nullable", "discriminator", "madeUp"}) {
    ErrorCode code{};
    const std::string schema = std::string(R"({"type": "object", "properties": {"a/b": {")") + keyword + R"(": {}}}})";
    EXPECT_EQ(ErrorOf(schema, &code), std::string("schema: at '/properties/a~1b/") + keyword + "': the keyword '" +
                                          keyword + "' is not supported");
    EXPECT_EQ(code, ErrorCode::kUnsupported);
  }
}

TEST(JsonSchema, RefusesWhatItDoesNotEnforce) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {R"({"type": "number", "minimum": 0})", "'/minimum': 'minimum' is supported for integers only"},
      {R"({"type": "number", "exclusiveMaximum": 0})", "'exclusiveMaximum' is supported for integers only"},
      {R"({"type": "integer", "multipleOf": 5})", "'/multipleOf': multipleOf is not supported"},
      {R"({"minimum": 3})", "'minimum' is supported for integers only"},
      {R"({"type": "array", "uniqueItems": true})", "'/uniqueItems': uniqueItems is not supported"},
      {R"({"type": "array", "additionalItems": false})", "'/additionalItems'"},
      {R"({"type": "object", "minProperties": 1})", "'/minProperties'"},
      {R"({"type": "object", "maxProperties": 1})", "'/maxProperties'"},
      {R"({"type": "object", "properties": {"a": {}}, "propertyNames": {"maxLength": 3}})", "'/propertyNames'"},
      {R"({"type": "object", "propertyNames": {"type": "integer"}})", "'/propertyNames': must be a schema of strings"},
      {R"({"type": "string", "format": "iri"})", "'/format': the format 'iri' is not supported"},
      {R"({"type": "string", "pattern": "^a$", "maxLength": 3})",
       "only one of pattern, format and minLength/maxLength"},
      {R"J({"type": "string", "pattern": "(?=a)"})J",
       "'/pattern': at byte 2 of the pattern: look-around or a named group is not supported"},
      {R"({"type": "string", "pattern": "\\bword"})", "the escape \\b is not supported"},
      {R"({"type": "string", "pattern": "(a)\\1"})", "the escape \\1 is not supported"},
      {R"({"type": "string", "pattern": "\\p{L}"})", "the escape \\p is not supported"},
      {R"({"type": "string", "pattern": "a^b"})", "an anchor inside a pattern is not supported"},
      {R"({"type": "string", "pattern": "a$b"})", "$ before the end is not supported"},
      {R"J({"type": "string", "pattern": "(^a$)"})J", "an anchor inside a pattern is not supported"},
      {R"({"enum": ["a"], "minLength": 1})", "'/minLength': 'minLength' beside enum or const"},
      {R"({"minLength": 1, "minItems": 1})", "keywords for several types without 'type'"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "'/oneOf': branches 0 and 1 of oneOf may both hold"},
      {R"({"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"]}, {"type": "object", "properties": {"b": {}}, "required": ["b"]}]})",
       "may both hold"},
      {R"({"oneOf": [{"type": "object", "properties": {"k": {"const": 1}}}, {"type": "object", "properties": {"k": {"const": 2}}}]})",
       "may both hold"},
      {R"({"oneOf": [{"const": 1}, {"const": 1.0}]})", "may both hold"},
      {R"({"$ref": "other.json#/a"})", "'/$ref': $ref to 'other.json#/a'"},
      {R"({"$ref": "#anchor"})", "'/$ref': $ref to '#anchor'"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}], "type": "string"})", "'pattern' twice"},
      {R"({"allOf": [{"additionalProperties": false}, {"properties": {"a": {}}}]})",
       "additionalProperties in one of two schemas"},
      {R"({"allOf": [{"items": {"type": "null"}}, {"prefixItems": [{}]}]})", "prefixItems in one of two schemas"},
      {R"({"anyOf": [{"anyOf": [{"type": "null"}]}], "allOf": [{"anyOf": [{"type": "string"}]}]})", "'anyOf' twice"},
  };
  for (const auto& [schema, expected] : cases) {
    ErrorCode code{};
    EXPECT_NE(ErrorOf(schema, &code).find(expected), std::string::npos) << schema << ": " << ErrorOf(schema);
    EXPECT_EQ(code, ErrorCode::kUnsupported) << schema;
  }
}

TEST(JsonSchema, RefusesWhatIsNoSchemaOrCannotBeSatisfied) {
  const std::vector<std::pair<std::string, const char*>> cases = {
      {"{", "parse error"},
      {"3", "at '': a schema must be an object"},
      {"false", "nothing satisfies the schema false"},
      {R"({"type": "text"})", "'/type': there is no type \"text\""},
      {R"({"type": []})", "an empty list of types"},
      {R"({"type": "object", "properties": []})", "'/properties': must be an object"},
      {R"({"type": "object", "properties": {"a": 1}})", "'/properties/a': a schema must be"},
      {R"({"type": "object", "required": "a"})", "'/required': must be a list of names"},
      {R"({"type": "object", "properties": {}, "required": ["a"]})", "'a' is required, but there is no such property"},
      {R"({"enum": []})", "no value of enum or const is allowed"},
      {R"({"enum": [1], "type": "string"})", "no value of enum or const is allowed"},
      {R"({"anyOf": []})", "'/anyOf': must be a list of schemas"},
      {R"({"type": "integer", "minimum": 5, "maximum": 4})", "no integer"},
      {R"({"type": "integer", "minimum": 1e30})", "no integer"},
      {R"({"type": "integer", "minimum": "1"})", "'/minimum': must be a number"},
      {R"({"type": "string", "minLength": -1})", "'/minLength': must be a whole number"},
      {R"({"type": "string", "minLength": 3, "maxLength": 2})", "minLength is above maxLength"},
      {R"({"type": "array", "minItems": 3, "maxItems": 2})", "no array has as many elements"},
      {R"({"type": "array", "prefixItems": [{}], "items": false, "minItems": 2})", "no array has as many elements"},
      {R"({"$ref": "#/$defs/a"})", "$ref: there is no '#/$defs/a'"},
      {R"({"$ref": "#"})", "'schema#' is left-recursive"},
      {R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", "no finite text"},
      {R"({"type": "string", "pattern": "(a"})", "a ( without its )"},
      {R"({"type": "string", "pattern": "a{2,1}"})", "the second number is below the first"},
      {R"({"allOf": [{"type": "string"}, {"type": "null"}]})", "nothing has both of the types"},
  };
  for (const auto& [schema, expected] : cases) {
    ErrorCode code{};
    EXPECT_NE(ErrorOf(schema, &code).find(expected), std::string::npos) << schema << ": " << ErrorOf(schema);
    EXPECT_EQ(code, ErrorCode::kInvalidArgument) << schema;
  }
}

TEST(JsonSchema, LimitsHold) {
  std::string deep, nested = "1";
  for (int i = 0; i < 300; ++i) deep += R"({"items":)";
  deep += "{}" + std::string(300, '}');
  EXPECT_NE(ErrorOf(deep).find("nests deeper than"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"type": "string", "maxLength": 1000000})").find("more than 20000"), std::string::npos);
  const char* large = R"({"type": "array", "minItems": 20000, "items": {"type": "array", "minItems": 20000, "items":
      {"type": "string", "maxLength": 20000}}})";
  EXPECT_NE(ErrorOf(large).find("the grammar needs more than"), std::string::npos) << ErrorOf(large);
  EXPECT_NE(ErrorOf(R"({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"minimum": 1}]}}, "$ref": "#/$defs/a"})")
                .find("deep"),
            std::string::npos);
}

TEST(JsonSchema, WhiteSpaceIsBounded) {
  const char* schema =
      R"({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}, "required": ["a"]})";
  Language bounded(CompileJsonSchemaText(schema));
  for (const char* text : {R"({"a":[1,2]})", R"({ "a": [ 1, 2 ] })", "{\n  \"a\": [\n    1,\n    2\n  ]\n}",
                           "{\n\t\"a\": [1]\n}", "{\n\"a\":[\n]}"}) {
    const bool empty_with_space = std::string_view(text).ends_with("[\n]}");
    EXPECT_EQ(bounded.Takes(text), !empty_with_space) << text;
  }
  for (const std::string text : {"{  \"a\":[]}", "{\"a\" :[]}", "{\"a\":  []}", "{\"a\":\n[]}", "{\"a\":[1 ,2]}",
                                 "{\n\n\"a\":[]}", " {\"a\":[]}", "{\"a\":[]} ", "{\"a\":[ ]}", "{\r\n\"a\":[]}"}) {
    EXPECT_FALSE(bounded.Takes(text)) << text;
  }
  EXPECT_FALSE(bounded.Begins("{\n" + std::string(JsonParts::kMaxIndent + 1, ' ')));
  EXPECT_TRUE(bounded.Begins("{\n" + std::string(JsonParts::kMaxIndent, ' ') + "\""));
  Language compact(CompileJsonSchemaText(schema, {.white_space = JsonStyle::WhiteSpace::kCompact}));
  EXPECT_TRUE(compact.Takes(R"({"a":[1,2]})"));
  EXPECT_FALSE(compact.Begins(R"({ )"));
  EXPECT_FALSE(compact.Begins(R"({"a": )"));
}

TEST(JsonMode, TakesObjectsOrValues) {
  Language object(JsonGrammar()), value(JsonGrammar(JsonRoot::kValue));
  EXPECT_TRUE(object.Takes(R"({"a": [1, {"b": "c"}], "d": {}})"));
  EXPECT_FALSE(object.Takes("[]"));
  EXPECT_TRUE(value.Takes("[[[]]]"));
  EXPECT_TRUE(value.Takes("\"x\""));
  EXPECT_FALSE(value.Takes("[[[]]"));
}

}  // namespace
}  // namespace edgellm::constrain
