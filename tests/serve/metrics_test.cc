// Counters and histograms, and the text that Prometheus reads.
#include "serve/metrics.h"

#include <regex>
#include <sstream>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace edgellm {
namespace {

TEST(Histogram, CountsByUpperBounds) {
  const double bounds[] = {1, 2.5};
  Histogram histogram(bounds);
  for (const double value : {0.5, 1.0, 2.0, 2.5, 7.0}) histogram.Observe(value);
  histogram.Observe(std::numeric_limits<double>::quiet_NaN());
  std::string text;
  histogram.AppendTo(&text, "t", "a=\"b\"");
  EXPECT_EQ(text,
            "t_bucket{a=\"b\",le=\"1\"} 2\nt_bucket{a=\"b\",le=\"2.5\"} 4\nt_bucket{a=\"b\",le=\"+Inf\"} 5\n"
            "t_sum{a=\"b\"} 13\nt_count{a=\"b\"} 5\n");
  text.clear();
  histogram.AppendTo(&text, "t", "");
  EXPECT_TRUE(text.starts_with("t_bucket{le=\"1\"} 2\n"));
  EXPECT_TRUE(text.ends_with("t_sum 13\nt_count 5\n"));
}

TEST(Histogram, LosesNothingAmongThreads) {
  const double bounds[] = {1, 2};
  Histogram histogram(bounds);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 10000; ++i) histogram.Observe(i % 3 + 0.5);
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(histogram.count(), 40000u);
  EXPECT_EQ(histogram.bucket(0), 13336u);
  EXPECT_DOUBLE_EQ(histogram.sum(), 4 * (3334 * 0.5 + 3333 * 1.5 + 3333 * 2.5));
}

RC_GTEST_PROP(Histogram, EveryValueIsInTheFirstBucketThatTakesIt, (std::vector<double> values)) {
  const double bounds[] = {-1, 0, 0.5, 100};
  Histogram histogram(bounds);
  std::vector<uint64_t> expected(5);
  for (const double value : values) {
    if (std::isnan(value)) continue;
    histogram.Observe(value);
    size_t at = 0;
    while (at < 4 && value > bounds[at]) ++at;
    ++expected[at];
  }
  for (size_t i = 0; i < 5; ++i) RC_ASSERT(histogram.bucket(i) == expected[i]);
}

TEST(Label, EscapesWhatTheFormatReserves) {
  EXPECT_EQ(Label("a", "x\"y\\z\n"), "a=\"x\\\"y\\\\z\\n\"");
}

/// Value of a sample, as text; empty where there is none.
std::string Find(const std::string& text, const std::string& sample) {
  const size_t at = ("\n" + text).find("\n" + sample + " ");
  if (at == std::string::npos) return "";
  const size_t begin = at + sample.size() + 1;
  return text.substr(begin, text.find('\n', begin) - begin);
}

AnswerEnd SampleEnd() {
  AnswerEnd end;
  end.reason = AnswerEnd::Reason::kLength;
  const int64_t second = 1000000000;
  end.statistics = {.prompt_tokens = 100,
                    .cached_tokens = 60,
                    .generated_tokens = 11,
                    .submitted = second,
                    .first_scheduled = 2 * second,
                    .first_token = 5 * second,
                    .last_token = 6 * second,
                    .finished = 7 * second};
  return end;
}

TEST(Metrics, TakesTheEnginesStamps) {
  Metrics metrics;
  metrics.Model("m")->Ended(SampleEnd());
  AnswerEnd second = SampleEnd();
  second.sample = 1;  // of the same request
  metrics.Model("m")->Ended(second);
  AnswerEnd cancelled;  // before it came to anything
  cancelled.reason = AnswerEnd::Reason::kCancelled;
  cancelled.statistics.submitted = 5;
  cancelled.statistics.finished = 6;
  metrics.Model("m")->Ended(cancelled);
  const std::string text = metrics.Render({}, 3);
  const auto value = [&](const std::string& name) { return Find(text, "edgellm_" + name + "{model=\"m\"}"); };
  EXPECT_EQ(value("time_to_first_token_seconds_sum"), "4");
  EXPECT_EQ(value("time_to_first_token_seconds_count"), "1");
  EXPECT_EQ(value("queue_seconds_sum"), "1");
  EXPECT_EQ(value("prefill_seconds_sum"), "3");
  EXPECT_EQ(value("decode_seconds_sum"), "2");
  EXPECT_EQ(value("time_per_output_token_seconds_sum"), "0.2");
  EXPECT_EQ(value("request_seconds_count"), "3");
  EXPECT_EQ(value("prompt_tokens_total"), "100");
  EXPECT_EQ(value("prompt_tokens_cached_total"), "60");
  EXPECT_EQ(value("generation_tokens_total"), "22");
  EXPECT_EQ(Find(text, "edgellm_answers_finished_total{model=\"m\",reason=\"length\"}"), "2");
  EXPECT_EQ(Find(text, "edgellm_answers_finished_total{model=\"m\",reason=\"cancelled\"}"), "1");
  EXPECT_EQ(Find(text, "edgellm_http_connections"), "3");
}

AnswerPiece Piece(int sample, bool prompt = false) {
  AnswerPiece piece;
  piece.sample = sample;
  piece.prompt = prompt;
  return piece;
}

TEST(Metrics, MeasuresAListenerOnItsWay) {
  Metrics metrics;
  int pieces = 0, ends = 0;
  const AnswerListener listener =
      metrics.Measure("m", {[&](const AnswerPiece&) { ++pieces; }, [&](const AnswerEnd&) { ++ends; }});
  for (int i = 0; i < 3; ++i) listener.piece(Piece(0));
  listener.piece(Piece(1));
  listener.piece(Piece(0, true));
  listener.ended(SampleEnd());
  EXPECT_EQ(pieces, 5);
  EXPECT_EQ(ends, 1);
  EXPECT_EQ(metrics.Model("m")->inter_token.count(), 2u);
  EXPECT_EQ(metrics.Model("m")->finished[1].load(), 1u);
  const AnswerListener silent = metrics.Measure("m", {});
  silent.piece({});
  silent.ended({});
}

TEST(Metrics, ClientsCannotMakeItGrow) {
  Metrics metrics;
  for (int i = 0; i < 1000; ++i) {
    metrics.Model("model " + std::to_string(i))->prompt_tokens += 1;
    metrics.Requested("METHOD" + std::to_string(i), 400, 0.01, 10);
  }
  metrics.Requested("GET", 200, 0.01, 10);
  const std::string text = metrics.Render({}, 0);
  EXPECT_EQ(Find(text, "edgellm_prompt_tokens_total{model=\"other\"}"), "900");
  EXPECT_EQ(Find(text, "edgellm_http_requests_total{method=\"other\",status=\"400\"}"), "1000");
  EXPECT_EQ(Find(text, "edgellm_http_requests_total{method=\"GET\",status=\"200\"}"), "1");
  EXPECT_EQ(Find(text, "edgellm_http_sent_bytes_total"), "10010");
}

// Every line is a comment or a sample, every sample belongs to the family above it, and no family comes twice.
TEST(Metrics, IsTextThatPrometheusReads) {
  Metrics metrics;
  metrics.Model("a \"quoted\\ name\"\n")->Ended(SampleEnd());
  metrics.Model("b")->Ended(SampleEnd());
  metrics.Requested("POST", 200, 0.5, 7);
  Metrics::Loaded loaded{"b", {}, 1000};
  loaded.engine.pages = 8;
  loaded.engine.pages_held = 2;
  loaded.engine.shared_tokens = 3;
  loaded.engine.prompt_tokens = 4;
  const std::string text = metrics.Render(std::span(&loaded, 1), 1);
  const std::regex sample(
      R"re(([a-z_]+)(\{[a-z_]+="([^"\\\n]|\\["\\n])*"(,[a-z_]+="([^"\\\n]|\\["\\n])*")*\})? [-+0-9.e]+)re");
  const std::regex type("# TYPE ([a-z_]+) (counter|gauge|histogram)");
  std::istringstream lines(text);
  std::string line, family;
  std::vector<std::string> families;
  while (std::getline(lines, line)) {
    std::smatch match;
    if (line.starts_with("# HELP ")) continue;
    if (std::regex_match(line, match, type)) {
      family = match[1];
      EXPECT_EQ(std::count(families.begin(), families.end(), family), 0) << family;
      families.push_back(family);
      EXPECT_EQ(match[2] == "counter", family.ends_with("_total")) << family;
      continue;
    }
    ASSERT_TRUE(std::regex_match(line, match, sample)) << line;
    EXPECT_TRUE(match[1].str().starts_with(family)) << line;
  }
  EXPECT_GT(families.size(), 25u);
  EXPECT_EQ(Find(text, "edgellm_kv_used_ratio{model=\"b\"}"), "0.25");
  EXPECT_EQ(Find(text, "edgellm_prefix_cache_queries_total{model=\"b\"}"), "7");
  EXPECT_EQ(Find(text, "edgellm_prefix_cache_hits_total{model=\"b\"}"), "3");
}

}  // namespace
}  // namespace edgellm
