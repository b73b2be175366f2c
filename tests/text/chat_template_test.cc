// The chat template's promises beyond what it prints: error texts with positions, limits that hold against hostile
// templates, independence of renderings, and tojson as an inverse of parsing.
#include "text/chat_template.h"

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>

#include "base/error.h"

namespace edgellm::text {
namespace {

using nlohmann::ordered_json;

std::string Render(const std::string& source, const ordered_json& context = ordered_json::object(),
                   const TemplateLimits& limits = {}) {
  return ChatTemplate(source, "t", limits).Render(context, 0);
}

/// The error of parsing or rendering; fails the test where there is none.
Error ErrorOf(const std::string& source, const ordered_json& context = ordered_json::object(),
              const TemplateLimits& limits = {}) {
  try {
    const std::string output = Render(source, context, limits);
    ADD_FAILURE() << "rendered: " << output.substr(0, 200) << "\nfrom: " << source.substr(0, 200);
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    EXPECT_LT(std::string(error.what()).size(), 1200u);
    return error;
  }
  return Error(ErrorCode::kIo, "");
}

std::string Times(int count, const std::string& text) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

TEST(ChatTemplate, KeepsItsSource) {
  const std::string source = "a\r\n{{ b }}\n";
  ChatTemplate first(source, "t");
  const ChatTemplate moved = std::move(first);
  EXPECT_EQ(moved.source(), source);
  EXPECT_EQ(moved.Render({{"b", 1}}, 0), "a\n1");
}

TEST(ChatTemplate, KeepsTheOrderOfKeys) {
  const auto context = ordered_json::parse(R"({"x": {"z": 1, "a": {"y": 2, "b": []}}})");
  EXPECT_EQ(Render("{{ x | tojson }}", context), R"({"z": 1, "a": {"y": 2, "b": []}})");
}

TEST(ChatTemplate, FormatsTheTimeItIsGiven) {
  const ChatTemplate parsed("{{ strftime_now('%d %b %Y %H:%M:%S') }}", "t");
  EXPECT_EQ(parsed.Render(ordered_json::object(), 0), "01 Jan 1970 00:00:00");
  EXPECT_EQ(parsed.Render(ordered_json::object(), 951827696), "29 Feb 2000 12:34:56");
  EXPECT_THROW(parsed.Render(ordered_json::object(), INT64_MAX), Error);
}

TEST(ChatTemplate, SaysWhereAndWhy) {
  const struct {
    const char* source;
    const char* text;
    ErrorCode code;
  } rows[] = {
      {"a\n  {{ x.y }}", "t:2:7: 'x' is undefined", ErrorCode::kInvalidArgument},
      {"{{ messages[0].role.first.second }}", "t:1:26: a str has no attribute 'first'", ErrorCode::kInvalidArgument},
      {"{{ raise_exception('Roles must\nalternate') }}", "t:1:19: Roles must alternate", ErrorCode::kInvalidArgument},
      {"{% if x %}", "t:1:11: unexpected the end of the template, expected a tag 'endif'", ErrorCode::kCorrupt},
      {"{{ 1 + }}", "t:1:8: unexpected the end of the tag, expected an expression", ErrorCode::kCorrupt},
      {"é{{ 'a' + 1 }}", "t:1:9: unsupported operand types for +: 'str' and 'int'", ErrorCode::kInvalidArgument},
      {"{{ 1 | nope }}", "t:1:8: there is no filter 'nope'", ErrorCode::kUnsupported},
      {"{{ 1 is nope }}", "t:1:9: there is no test 'nope'", ErrorCode::kUnsupported},
      {"{% include 'x' %}", "t:1:4: the tag 'include' is not supported", ErrorCode::kUnsupported},
      {"{% frob %}", "t:1:4: the tag 'frob' is unknown or out of place", ErrorCode::kCorrupt},
      {"{{ messages.append(1) }}", "t:1:19: the method 'append' of a list is not allowed: it changes its object",
       ErrorCode::kInvalidArgument},
      {"{{ 9223372036854775807 + 1 }}", "t:1:24: an integer does not fit in 64 bits", ErrorCode::kInvalidArgument},
      {"\xff", "t: not valid UTF-8", ErrorCode::kCorrupt},
  };
  const auto context = ordered_json::parse(R"({"messages": [{"role": "user"}]})");
  for (const auto& row : rows) {
    const Error error = ErrorOf(row.source, context);
    EXPECT_EQ(std::string(error.what()), row.text);
    EXPECT_EQ(error.code(), row.code) << row.source;
  }
}

TEST(ChatTemplate, NeedsAnObjectAsContext) {
  EXPECT_THROW(Render("x", ordered_json::array()), Error);
}

TEST(ChatTemplate, MakesContextsValidUtf8) {
  EXPECT_EQ(Render("{{ a }}", {{"a", "x\xffy"}}), "x\xef\xbf\xbdy");
}

TEST(ChatTemplate, CodeOfOneHundredThousandLevelsIsAnError) {
  const int n = 100'000;
  const std::string sources[] = {
      "{{ " + Times(n, "(") + "1" + Times(n, ")") + " }}",
      "{{ " + Times(n, "["),
      "{{ " + Times(n, "[") + "1" + Times(n, "]") + " }}",
      "{{ 1" + Times(n, " + 1") + " }}",
      "{{ " + Times(n, "not ") + "1 }}",
      "{{ " + Times(n, "-") + "1 }}",
      "{{ a" + Times(n, ".b") + " }}",
      "{{ a" + Times(n, "()") + " }}",
      "{{ a" + Times(n, "|trim") + " }}",
      "{{ 1" + Times(n, " and 1") + " }}",
      "{{ 1" + Times(n, " if 1") + " }}",
      "{{ 1" + Times(n / 2, " if 1 else 2") + " }}",
      "{{ 1" + Times(n, "**1") + " }}",
      Times(n / 2, "{% if a %}"),
      Times(n / 2, "{% set x %}"),
      Times(n / 3, "{% macro f() %}"),
      "{% for " + Times(n, "("),
      Times(n, "{{"),
      Times(n, "{%"),
      Times(n, "{# "),
  };
  for (const std::string& source : sources) {
    const ErrorCode code = ErrorOf(source).code();
    EXPECT_TRUE(code == ErrorCode::kLimit || code == ErrorCode::kCorrupt) << source.substr(0, 40);
  }
}

TEST(ChatTemplate, LongSourcesThatAreNotDeepWork) {
  const int n = 20'000;
  EXPECT_EQ(Render("{% if 0 %}" + Times(n, "{% elif 0 %}") + "{% else %}x{% endif %}"), "x");
  EXPECT_EQ(Render("{{ ''" + Times(n, " ~ 'a'") + " }}"), Times(n, "a"));
  EXPECT_EQ(Render("{{ 1" + Times(n, " == 1") + " }}"), "True");
  EXPECT_EQ(ErrorOf(Times(300'000, "{# #}")).code(), ErrorCode::kLimit);
}

TEST(ChatTemplate, EndlessWorkIsAnError) {
  const std::string loop = "{% for i in range(100000) %}", end = "{% endfor %}";
  const std::string with_text = "{% set s = 'a' * 5000000 %}{% set b = s ~ 'b' %}" + loop;
  const std::string sources[] = {
      loop + loop + end + end,
      "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
      "{% macro f(x) %}{% for a in [1] %}{% set q %}{{ [f(x)] }}{% endset %}{% endfor %}{% endmacro %}{{ f(1) }}",
      "{% macro f() %}{% call f() %}x{% endcall %}{% endmacro %}{{ f() }}",
      loop + "{% set x = range(100000) %}" + end,
      "{{ range(100001) }}",
      with_text + "{{ b in s }}" + end,
      with_text + "{{ s[-1] }}" + end,
      with_text + "{{ s | length }}" + end,
      with_text + "{{ s == b[:-1] }}" + end,
      with_text + "{{ s.strip() }}" + end,
      with_text + "{% set x = s | upper %}" + end,
      with_text + "{{ {s: 1}[b] }}" + end,
      with_text + "{% set x = s.split('a') %}" + end,
      "{% set l = range(100000) | list %}" + loop + "{{ -1 in l }}" + end,
      "{% set l = range(100000) | list %}" + loop + "{% set x = l | sort %}" + end,
      "{% set l = range(100000) | list %}" + loop + "{% set x = l[::-1] %}" + end,
  };
  TemplateLimits limits;
  limits.steps = 200'000;  // the default would do, but take long under sanitizers
  for (const std::string& source : sources) {
    EXPECT_EQ(ErrorOf(source, ordered_json::object(), limits).code(), ErrorCode::kLimit) << source.substr(0, 120);
  }
}

TEST(ChatTemplate, BoundlessMemoryIsAnError) {
  const auto repeated = [](const std::string& body) {
    return "{% set ns = namespace(s='ab', l=[1], x=1) %}{% for i in range(100000) %}" + body + "{% endfor %}";
  };
  const std::string sources[] = {
      "{{ 'a' * 1000000000 }}",
      "{{ 'a' * 9000000000000000000 }}",
      "{{ [[]] * 4000000000000000000 }}",
      "{{ [1] * 1000000000 }}",
      repeated("{% set ns.s = ns.s ~ ns.s %}"),
      repeated("{% set ns.s = ns.s + ns.s %}"),
      repeated("{% set ns.l = ns.l + ns.l %}"),
      repeated("{% set ns.x = [ns.x] %}"),
      repeated("{% set ns.x = {'a': ns.x} %}"),
      repeated("{% set ns.x = [ns.x].index %}"),
      repeated("{% set ns.x = cycler(ns.x).next %}"),
      repeated("{% for q in [ns.x] %}{% set ns.x = loop %}{% endfor %}"),
      repeated("{% set ns.l = ns.l + [i ~ 'a' * 100000] %}"),
      "{% set s = 'a' * 1000000 %}{{ s.replace('', s) }}",
      "{% set s = 'a' * 1000000 %}{{ s.join(range(1000) | map('string')) }}",
      "{{ ('\\n' * 1000000) | indent(1000000, blank=true) }}",
      "{{ 'a'.center(10000000000) }}",
      "{{ 'a'.zfill(10000000000) }}",
      "{{ '%999999999d' % 1 }}",
      "{{ [1] | tojson(indent=1000000000000) }}",
      "{{ [1] | batch(1000000000, 0) | list }}",
  };
  TemplateLimits limits;
  limits.output_bytes = 4u << 20;  // the default would do, but take long under sanitizers
  for (const std::string& source : sources) {
    EXPECT_EQ(ErrorOf(source, ordered_json::object(), limits).code(), ErrorCode::kLimit) << source.substr(0, 120);
  }
}

TEST(ChatTemplate, SharedValuesThatUnfoldExponentiallyAreAnError) {
  // A hundred lists, each holding the one before twice: small in memory, 2^100 items when walked.
  const std::string build =
      "{% set ns = namespace(x=1, y=1) %}{% for i in range(100) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  for (const char* use : {"{{ ns.x }}", "{{ ns.x | tojson }}", "{{ ns.x == ns.y }}", "{{ ns.x < ns.y }}",
                          "{{ [ns.x] | sort | length }}{{ [ns.x, ns.y] | sort }}", "{{ ns.x in [ns.y] }}"}) {
    EXPECT_EQ(ErrorOf(build + use).code(), ErrorCode::kLimit) << use;
  }
}

TEST(ChatTemplate, LimitsAreThoseGiven) {
  TemplateLimits limits;
  limits.output_bytes = 10;
  EXPECT_EQ(Render("0123456789", ordered_json::object(), limits), "0123456789");
  EXPECT_EQ(ErrorOf("0123456789{{ 'a' }}", ordered_json::object(), limits).code(), ErrorCode::kLimit);
  limits = {};
  limits.steps = 50;
  EXPECT_EQ(Render("{% for x in range(3) %}{{ x }}{% endfor %}", ordered_json::object(), limits), "012");
  EXPECT_EQ(ErrorOf("{% for x in range(30) %}{{ x }}{% endfor %}", ordered_json::object(), limits).code(),
            ErrorCode::kLimit);
  limits = {};
  limits.depth = 10;
  EXPECT_EQ(Render("{{ [[[1]]] }}", ordered_json::object(), limits), "[[[1]]]");
  EXPECT_EQ(ErrorOf("{{ [[[[[[1]]]]]] }}", ordered_json::object(), limits).code(), ErrorCode::kLimit);
  auto deep = ordered_json::parse("[[[[[[[[[[[[1]]]]]]]]]]]]");
  EXPECT_EQ(ErrorOf("{{ a }}", {{"a", deep}}, limits).code(), ErrorCode::kLimit);
}

TEST(ChatTemplate, NamespacesMayHoldThemselves) {
  EXPECT_EQ(Render("{% set a = namespace() %}{% set a.a = a %}{% set a.l = [a, {'k': a}] %}{{ a.l }}"),
            "[<Namespace>, {'k': <Namespace>}]");
}

TEST(ChatTemplate, MacrosOutliveTheBlockTheyWereDefinedIn) {
  // jinja2 prints "missing" here: its generated code forgets the variable. Ours keeps it.
  EXPECT_EQ(Render("{% set ns = namespace() %}{% for x in [1, 2] %}{% macro f() %}{{ x }}{% endmacro %}"
                   "{% set ns.f = f %}{% endfor %}{{ ns.f() }}"),
            "2");
}

TEST(ChatTemplate, RendersInManyThreadsAtOnce) {
  const ChatTemplate parsed(
      "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + m %}{% endfor %}{{ ns.n }}", "t");
  std::vector<std::thread> threads;
  std::vector<std::string> outputs(4);
  for (size_t t = 0; t < outputs.size(); ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) outputs[t] = parsed.Render({{"messages", {t, t, 1}}}, 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t t = 0; t < outputs.size(); ++t) EXPECT_EQ(outputs[t], std::to_string(2 * t + 1));
}

/// A random JSON value whose strings are valid UTF-8.
rc::Gen<ordered_json> AnyJson(int depth) {
  const auto text = rc::gen::map(
      rc::gen::container<std::string>(rc::gen::element('a', '"', '\\', '\n', '\x01', '/', '<', '\x7f', ' ')),
      [](std::string s) { return ordered_json(s + (s.size() % 3 == 0 ? "é🤖" : "")); });
  const auto scalar = rc::gen::oneOf(
      text, rc::gen::map(rc::gen::arbitrary<int64_t>(), [](int64_t n) { return ordered_json(n); }),
      rc::gen::map(rc::gen::arbitrary<double>(), [](double d) { return ordered_json(std::isfinite(d) ? d : 0.5); }),
      rc::gen::element(ordered_json(nullptr), ordered_json(true), ordered_json(false), ordered_json(1e22),
                       ordered_json(-0.0)));
  if (depth == 0) return scalar;
  const auto list = rc::gen::map(rc::gen::container<std::vector<ordered_json>>(AnyJson(depth - 1)),
                                 [](const std::vector<ordered_json>& items) { return ordered_json(items); });
  const auto object = rc::gen::map(list, [text](const ordered_json& items) {
    ordered_json made = ordered_json::object();
    for (size_t i = 0; i < items.size(); ++i) made["k\"é" + std::to_string(i * 7919 % 100)] = items[i];
    return made;
  });
  return rc::gen::oneOf(scalar, list, object);
}

TEST(ChatTemplate, ToJsonIsReadBackAsTheSameValue) {
  const ChatTemplate plain("{{ x | tojson }}", "t"), styled("{{ x | tojson(indent=2, ensure_ascii=true) }}", "t");
  EXPECT_TRUE(rc::check([&] {
    const ordered_json value = *rc::gen::resize(12, AnyJson(2));
    const ordered_json context = {{"x", value}};
    const std::string text = plain.Render(context, 0), pretty = styled.Render(context, 0);
    RC_ASSERT(ordered_json::parse(text) == value);
    RC_ASSERT(ordered_json::parse(pretty) == value);
    RC_ASSERT(text.find('\n') == std::string::npos);
  }));
}

TEST(ChatTemplate, SplittingAndJoiningAreInverse) {
  const ChatTemplate parsed(
      "{{ sep.join(s.split(sep)) == s and sep.join(s.rsplit(sep, 2)) == s and s[::-1][::-1] == s }}", "t");
  EXPECT_TRUE(rc::check([&] {
    const auto text = *rc::gen::container<std::string>(rc::gen::element('a', 'b', ' ', ','));
    const auto separator = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::element('a', ',')));
    RC_ASSERT(parsed.Render({{"s", text + "é"}, {"sep", separator}}, 0) == "True");
  }));
}

}  // namespace
}  // namespace edgellm::text
