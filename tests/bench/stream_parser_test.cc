// Streams of Ollama and of OpenAI's kin: every cut of the bytes gives the same events; failures in a stream give one
// line.
#include "bench/stream_parser.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

constexpr std::string_view kOllama =
    "{\"model\":\"m\",\"response\":\"Hel\",\"done\":false}\n"
    "\r\n"
    "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"lo \xE2\x82\xAC\"},\"done\":false}\r\n"
    "{\"model\":\"m\",\"response\":\"\",\"done\":true,\"prompt_eval_count\":11,\"eval_count\":2}\n";

constexpr std::string_view kOpenAi =
    ": a comment\n"
    "event: message\n"
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data:{\"choices\":[{\"delta\":{\"reasoning_content\":\"Hm\"}}]}\r\n\r\n"
    "data: {\"choices\":[{\"text\":\"Yes\",\n"
    "data: \"finish_reason\":null}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n"
    "data: [DONE]\n\n";

std::vector<StreamEvent> Parse(StreamFormat format, std::string_view stream, size_t piece) {
  StreamParser parser(format, "here");
  std::vector<StreamEvent> events;
  const auto add = [&](std::vector<StreamEvent> more) { events.insert(events.end(), more.begin(), more.end()); };
  for (; !stream.empty(); stream.remove_prefix(std::min(piece, stream.size())))
    add(parser.Push(stream.substr(0, piece)));
  add(parser.Finish());
  return events;
}

std::string FailureOf(StreamFormat format, std::string_view stream) {
  try {
    Parse(format, stream, stream.size());
  } catch (const Error& error) {
    return error.what();
  }
  return "no failure";
}

TEST(StreamParser, OllamaInPiecesOfAnySize) {
  const std::vector<StreamEvent> expected = {{"Hel", {}, {}}, {"lo \xE2\x82\xAC", {}, {}}, {"", 11, 2}};
  for (size_t piece = 1; piece <= kOllama.size(); ++piece) {
    EXPECT_EQ(Parse(StreamFormat::kJsonLines, kOllama, piece), expected) << "pieces of " << piece;
  }
}

TEST(StreamParser, OpenAiInPiecesOfAnySize) {
  const std::vector<StreamEvent> expected = {{"", {}, {}}, {"Hm", {}, {}}, {"Yes", {}, {}}, {"", {}, {}}, {"", 9, 2}};
  for (size_t piece = 1; piece <= kOpenAi.size(); ++piece) {
    EXPECT_EQ(Parse(StreamFormat::kServerEvents, kOpenAi, piece), expected) << "pieces of " << piece;
  }
}

TEST(StreamParser, TheLastLineNeedsNoNewline) {
  EXPECT_EQ(Parse(StreamFormat::kJsonLines, "{\"response\":\"a\",\"done\":true}", 7).size(), 1U);
  EXPECT_EQ(Parse(StreamFormat::kServerEvents, "data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]", 7).size(), 1U);
  // Some servers leave [DONE] out: a finish reason will do.
  EXPECT_EQ(Parse(StreamFormat::kServerEvents, "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}", 7).size(), 1U);
}

TEST(StreamParser, WhatComesAfterTheEndIsIgnored) {
  EXPECT_EQ(Parse(StreamFormat::kJsonLines, "{\"done\":true}\nrubbish\n", 3).size(), 1U);
  EXPECT_EQ(Parse(StreamFormat::kServerEvents, "data: [DONE]\n\ndata: rubbish\n\n", 3).size(), 0U);
}

TEST(StreamParser, CutStreams) {
  EXPECT_EQ(FailureOf(StreamFormat::kJsonLines, ""), "here: the stream was cut before its end");
  EXPECT_EQ(FailureOf(StreamFormat::kJsonLines, "{\"response\":\"a\",\"done\":false}\n"),
            "here: the stream was cut before its end");
  EXPECT_EQ(FailureOf(StreamFormat::kServerEvents, "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"),
            "here: the stream was cut before its end");
  EXPECT_NE(FailureOf(StreamFormat::kJsonLines, "{\"respon").find("here: not valid JSON"), std::string::npos);
}

TEST(StreamParser, FailuresInTheMiddle) {
  EXPECT_EQ(FailureOf(StreamFormat::kJsonLines, "{\"response\":\"a\"}\n{\"error\":\"out of\\nmemory\"}\n"),
            "here: the server reports: out of memory");
  for (const char* stream :
       {"data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n",
        "error: {\"message\":\"out of memory\",\"code\":500}\n\n", "{\"error\":{\"message\":\"out of memory\"}}\n"}) {
    EXPECT_EQ(FailureOf(StreamFormat::kServerEvents, stream), "here: the server reports: out of memory") << stream;
  }
}

TEST(StreamParser, ForeignShapesAreNoFailure) {
  const auto events =
      Parse(StreamFormat::kServerEvents,
            "data: {\"choices\":7}\n\ndata: {\"choices\":[null,{\"delta\":[1],\"text\":4}],\"usage\":\"x\"}\n\n"
            "data: {\"usage\":{\"prompt_tokens\":-1,\"completion_tokens\":1.5}}\n\ndata: [DONE]\n\n",
            1000);
  EXPECT_EQ(events, std::vector<StreamEvent>(3));
  EXPECT_EQ(FailureOf(StreamFormat::kJsonLines, "[1]\n"), "here: the stream has something that is no JSON object");
}

TEST(StreamParser, LinesHaveALimit) {
  const std::string line(size_t{2} << 20, ' ');
  EXPECT_EQ(FailureOf(StreamFormat::kJsonLines, line), "here: a line of more than 1 MiB in the stream");
  std::string event;
  for (int i = 0; i < 3000; ++i) event += "data: " + std::string(1000, ' ') + "\n";
  EXPECT_EQ(FailureOf(StreamFormat::kServerEvents, event), "here: an event of more than 1 MiB in the stream");
}

TEST(StreamParser, ServerMessages) {
  EXPECT_EQ(ServerMessage("{\"error\":\"model 'x' not found\"}"), "model 'x' not found");
  EXPECT_EQ(ServerMessage("{\"error\":{\"message\":\"no\",\"type\":\"t\"}}"), "no");
  EXPECT_EQ(ServerMessage("{\"error\":{\"reason\":1}}"), "{\"reason\":1}");
  EXPECT_EQ(ServerMessage("{\"detail\":\"Not Found\"}"), "Not Found");
  EXPECT_EQ(ServerMessage("404 page not found\n"), "404 page not found");
  EXPECT_EQ(ServerMessage("\xff\n\n<html>"), "\xEF\xBF\xBD  <html>");
  EXPECT_EQ(ServerMessage(""), "(nothing more was said)");
}

}  // namespace
}  // namespace edgellm
