// Hosts, origins and keys; what is decided by a request's head alone.
#include "http/access.h"

#include <gtest/gtest.h>

#include "http/admission.h"
#include "http/status.h"

namespace edgellm::http {
namespace {

TEST(Access, OnLoopbackOnlyLoopbackNamesAreHosts) {
  const Access access(true, {"box.lan", "*.home"}, {}, {});
  for (const char* host : {"localhost", "LocalHost:11434", "127.0.0.1", "127.9.8.7:1", "[::1]:80", "a.localhost",
                           "localhost.", "box.lan:3", "a.b.home"}) {
    EXPECT_TRUE(access.HostAllowed(host)) << host;
  }
  for (const char* host : {"", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "128.0.0.1", "[::2]",
                           "localhost:x", "[::1", "[::1]x", "xlocalhost", "home", "0.0.0.0"}) {
    EXPECT_FALSE(access.HostAllowed(host)) << host;
  }
  EXPECT_TRUE(Access(false, {}, {}, {}).HostAllowed("any.example"));
}

TEST(Access, OriginsAreLoopbackOrListed) {
  const Access access(true, {}, {"https://*.Example.com", "chrome-extension://*/"}, {});
  for (const char* origin :
       {"http://localhost:3000", "https://127.0.0.1", "http://[::1]:5", "app://obsidian.md", "https://a.example.com",
        "HTTPS://A.EXAMPLE.COM", "chrome-extension://abc", "http://mine:7"}) {
    EXPECT_TRUE(access.OriginAllowed(origin, "mine:7")) << origin;
  }
  for (const char* origin : {"http://evil.example", "null", "https://example.com.evil", "http://localhost.evil",
                             "file://", "http://mine:8", "http://", "localhost", "https://a.example.com.evil.org"}) {
    EXPECT_FALSE(access.OriginAllowed(origin, "mine:7")) << origin;
  }
  EXPECT_TRUE(Access(true, {}, {"*"}, {}).OriginAllowed("null", ""));
}

TEST(Access, KeysAreComparedWhole) {
  const Access access(true, {}, {}, {"first", "second"});
  EXPECT_TRUE(access.wants_key());
  EXPECT_TRUE(access.KeyAllowed("first"));
  EXPECT_TRUE(access.KeyAllowed("second"));
  for (const char* key : {"", "firs", "firstx", "First"}) EXPECT_FALSE(access.KeyAllowed(key)) << key;
}

TEST(Access, FindsTheKeyOfARequest) {
  Request request;
  request.headers = {{"authorization", "bEARER  abc"}, {"x-api-key", "def"}};
  EXPECT_EQ(KeyOf(request), "abc");
  request.headers[0].second = "Basic abc";
  EXPECT_EQ(KeyOf(request), "def");
  request.headers.clear();
  EXPECT_EQ(KeyOf(request), "");
}

TEST(Wildcard, MatchesAnyText) {
  EXPECT_TRUE(MatchesWildcard("*", ""));
  EXPECT_TRUE(MatchesWildcard("a*b*c", "a--b-b-c"));
  EXPECT_FALSE(MatchesWildcard("a*b", "a-b-"));
  EXPECT_FALSE(MatchesWildcard("", "a"));
  EXPECT_TRUE(MatchesWildcard("a**", "a"));
}

TEST(Admission, TokensOfLists) {
  EXPECT_TRUE(HasToken("keep-alive, Upgrade", "upgrade"));
  EXPECT_TRUE(HasToken(" websocket ", "WebSocket"));
  EXPECT_FALSE(HasToken("upgraded", "upgrade"));
  EXPECT_FALSE(HasToken("", "upgrade"));
}

TEST(ResponseHead, LeavesOutWhatWouldBreakIt) {
  const std::string head =
      ResponseHead({.status = 200, .length = 3, .content_type = "text/plain"},
                   {{"good", "v\t\xc3\xa9"}, {"bad", "a\r\nset-cookie: x"}, {"b ad", "v"}, {"", "v"}});
  EXPECT_TRUE(head.starts_with("HTTP/1.1 200 OK\r\ndate: "));
  EXPECT_NE(head.find("\r\ncontent-length: 3\r\ncontent-type: text/plain\r\ngood: v\t\xc3\xa9\r\n\r\n"), head.npos)
      << head;
  EXPECT_EQ(head.find("set-cookie"), head.npos);
}

TEST(ErrorBody, IsJsonWhateverIsSaid) {
  EXPECT_EQ(PlainErrorBody({"/x", 400, "a \"b\" \xff"}).body, "{\"error\":\"a \\\"b\\\" \xef\xbf\xbd\"}");
}

}  // namespace
}  // namespace edgellm::http
