// Addresses, durations and lists as people write them.
#include "serve/serve_settings.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

std::string Address(std::string_view text) {
  const ListenAddress address = ParseListenAddress(text);
  return address.host + " " + std::to_string(address.port);
}

TEST(ListenAddress, TakesWhatOllamaTakes) {
  EXPECT_EQ(Address(""), "127.0.0.1 11434");
  EXPECT_EQ(Address("0.0.0.0"), "0.0.0.0 11434");
  EXPECT_EQ(Address(":8080"), "127.0.0.1 8080");
  EXPECT_EQ(Address("box.lan:80"), "box.lan 80");
  EXPECT_EQ(Address("http://127.0.0.1:5/"), "127.0.0.1 5");
  EXPECT_EQ(Address("[::1]:99"), "::1 99");
  EXPECT_EQ(Address("[::]"), ":: 11434");
  EXPECT_EQ(Address("::1"), "::1 11434");
  EXPECT_EQ(Address(" localhost:0 "), "localhost 0");
  EXPECT_EQ(ParseListenAddress(":7", {"::", 1}).host, "::");
  for (const char* wrong : {"a:", "a:x", "a:65536", "a:-1", "a b", "a/b", "[::1"}) {
    EXPECT_THROW(ParseListenAddress(wrong), Error) << wrong;
  }
}

TEST(Duration, TakesUnitsAndSeconds) {
  using namespace std::chrono_literals;
  EXPECT_EQ(ParseDuration("5m"), 5min);
  EXPECT_EQ(ParseDuration("1h30m"), 90min);
  EXPECT_EQ(ParseDuration("500ms"), 500ms);
  EXPECT_EQ(ParseDuration("1.5s"), 1500ms);
  EXPECT_EQ(ParseDuration("90"), 90s);
  EXPECT_EQ(ParseDuration("0"), 0s);
  EXPECT_EQ(ParseDuration("3µs4ns"), 3004ns);
  EXPECT_LT(ParseDuration("-1"), 0s);
  EXPECT_LT(ParseDuration("-5m"), 0s);
  EXPECT_GT(ParseDuration("999999999h"), 24h * 365 * 200);
  for (const char* wrong : {"", "-", "m", "5x", "5m3", "1e5", "nan", "inf", "5 m", "--1", "0x10s"}) {
    EXPECT_THROW(ParseDuration(wrong), Error) << wrong;
  }
}

RC_GTEST_PROP(Duration, WholeNumbersOfUnitsAreExact, ()) {
  const int hours = *rc::gen::inRange(0, 100), minutes = *rc::gen::inRange(0, 60), seconds = *rc::gen::inRange(0, 60);
  const auto text = std::to_string(hours) + "h" + std::to_string(minutes) + "m" + std::to_string(seconds) + "s";
  RC_ASSERT(ParseDuration(text) == std::chrono::seconds(hours * 3600 + minutes * 60 + seconds));
}

TEST(List, LeavesOutNothings) {
  EXPECT_EQ(SplitList(" a, b c,,d ,"), (std::vector<std::string>{"a", "b c", "d"}));
  EXPECT_TRUE(SplitList(" , ").empty());
}

}  // namespace
}  // namespace edgellm
