// Targets, patterns, and which handler a request finds.
#include "http/router.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "http/url.h"

namespace edgellm::http {
namespace {

using Outcome = Router::Match::Outcome;
using Parts = std::vector<std::string>;

Router ModelRoutes() {
  Router router;
  const Handler none = [](const auto&) {};
  router.Add("GET", "/", none);
  router.Add("GET", "/v1/models", none);
  router.Add("GET", "/v1/models/{...}", none);
  router.Add("DELETE", "/v1/models/{...}", none);
  router.Add("GET", "/v1/models/special", none);
  router.Add("POST", "/api/blobs/{}", none);
  router.Add("HEAD", "/api/blobs/{}", none);
  router.AddWebSocket("/ws", [](const auto&) { return nullptr; });
  return router;
}

std::string PatternOf(const Router& router, std::string_view method, std::string_view path) {
  const auto match = router.Find(method, path);
  return match.outcome == Outcome::kFound ? match.route->method + " " + match.route->pattern : "";
}

TEST(Router, FindsLiteralsAndVariables) {
  const Router router = ModelRoutes();
  EXPECT_EQ(PatternOf(router, "GET", "/"), "GET /");
  EXPECT_EQ(PatternOf(router, "GET", "/v1/models"), "GET /v1/models");
  EXPECT_EQ(PatternOf(router, "GET", "/v1/models/a"), "GET /v1/models/{...}");
  EXPECT_EQ(PatternOf(router, "DELETE", "/v1/models/a"), "DELETE /v1/models/{...}");
  EXPECT_EQ(PatternOf(router, "POST", "/api/blobs/sha256:1"), "POST /api/blobs/{}");
  EXPECT_EQ(PatternOf(router, "GET", "/ws"), "GET /ws");
}

TEST(Router, TheMoreLiteralPatternAnswers) {
  const Router router = ModelRoutes();
  EXPECT_EQ(PatternOf(router, "GET", "/v1/models/special"), "GET /v1/models/special");
  EXPECT_EQ(PatternOf(router, "GET", "/v1/models/special/one"), "GET /v1/models/{...}");
  // The literal one has no DELETE: the other one does.
  EXPECT_EQ(PatternOf(router, "DELETE", "/v1/models/special"), "DELETE /v1/models/{...}");
}

TEST(Router, CapturesNamesWithSlashes) {
  const Router router = ModelRoutes();
  EXPECT_EQ(router.Find("GET", "/v1/models/someone/model:q4").captures, Parts{"someone/model:q4"});
  EXPECT_EQ(router.Find("GET", "/v1/models/someone%2Fmodel%20x").captures, Parts{"someone/model x"});
  EXPECT_EQ(router.Find("POST", "/api/blobs/a%2Fb").captures, Parts{"a/b"});
  EXPECT_EQ(router.Find("POST", "/api/blobs/a/b").outcome, Outcome::kNoSuchPath);
  EXPECT_EQ(router.Find("POST", "/api/blobs/").outcome, Outcome::kNoSuchPath);
  EXPECT_EQ(router.Find("GET", "/v1/models/").outcome, Outcome::kNoSuchPath);
}

TEST(Router, HeadIsAnsweredByGetUnlessItHasARoute) {
  const Router router = ModelRoutes();
  EXPECT_EQ(PatternOf(router, "HEAD", "/v1/models"), "GET /v1/models");
  EXPECT_EQ(PatternOf(router, "HEAD", "/api/blobs/x"), "HEAD /api/blobs/{}");
}

TEST(Router, TellsAWrongMethodFromAWrongPath) {
  const Router router = ModelRoutes();
  const auto match = router.Find("POST", "/v1/models/special");
  EXPECT_EQ(match.outcome, Outcome::kNoSuchMethod);
  EXPECT_EQ(match.allow, "DELETE, GET, HEAD, OPTIONS");
  EXPECT_EQ(router.Find("PUT", "/api/blobs/x").allow, "HEAD, OPTIONS, POST");
  EXPECT_EQ(router.Find("GET", "/absent").outcome, Outcome::kNoSuchPath);
  EXPECT_EQ(router.Find("GET", "//").outcome, Outcome::kNoSuchPath);
  EXPECT_EQ(router.Find("GET", "/v1/models%zz").outcome, Outcome::kBadPath);
  EXPECT_EQ(router.Find("GET", "/v1/models/%00").outcome, Outcome::kBadPath);
  EXPECT_EQ(router.Find("GET", "").outcome, Outcome::kBadPath);
}

// Any name can be asked for, once it is encoded, and comes out as it went in.
RC_GTEST_PROP(Router, WhatIsEncodedComesOut, ()) {
  const auto bytes = *rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)));
  std::string path = "/v1/models/";
  for (const char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    path += '%';
    path += kDigits[static_cast<unsigned char>(c) >> 4];
    path += kDigits[static_cast<unsigned char>(c) & 15];
  }
  static const Router router = ModelRoutes();
  const auto match = router.Find("DELETE", path);
  RC_ASSERT(match.captures == Parts{bytes});
}

TEST(Target, TakesItsForms) {
  const auto origin = ParseTarget("/a/b?x=1&y=%20#z");
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->path, "/a/b");
  EXPECT_EQ(origin->query, "x=1&y=%20");
  const auto absolute = ParseTarget("http://name:80/a?b");
  ASSERT_TRUE(absolute);
  EXPECT_EQ(absolute->authority, "name:80");
  EXPECT_EQ(absolute->path, "/a");
  EXPECT_EQ(ParseTarget("http://name?q")->path, "/");
  EXPECT_EQ(ParseTarget("http://name?q")->query, "q");
  EXPECT_EQ(ParseTarget("*")->path, "*");
  EXPECT_FALSE(ParseTarget("name:443"));
  EXPECT_FALSE(ParseTarget("http:///a"));
  EXPECT_FALSE(ParseTarget(""));
}

TEST(Query, KeepsOrderAndForgives) {
  const Headers expected = {{"a", "1 2"}, {"b", ""}, {"a", "%zz"}, {"c", "d=e"}};
  EXPECT_EQ(ParseQuery("a=1+2&b&&a=%zz&c=d%3De"), expected);
  EXPECT_TRUE(ParseQuery("").empty());
}

}  // namespace
}  // namespace edgellm::http
