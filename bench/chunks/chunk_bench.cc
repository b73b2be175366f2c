// What a token costs between the model's text and the connection, in each API's stream: nanoseconds and bytes a chunk.
//
//   chunk_bench [CHUNKS]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "api/anthropic_writer.h"
#include "api/ollama_writer.h"
#include "api/openai_writer.h"
#include "api/responses_writer.h"

namespace edgellm::api {
namespace {

void Measure(const char* name, StreamWriter& writer, int chunks, bool log_probabilities) {
  Opening opening;
  opening.id = "0123456789abcdefghijklmn";
  opening.created = opening.received = 1;
  opening.tickets.emplace_back();
  std::string out;
  writer.Begin(opening, &out);
  const std::vector<std::string> words = {" the", " quick", " brown", " fox", " \"jumps\"", " über", ".\n"};
  std::vector<AnswerPiece> pieces;
  for (const std::string& word : words) {
    pieces.emplace_back();
    pieces.back().content = word;
    if (!log_probabilities) continue;
    TokenFacts token{.id = 1, .bytes = word, .log_probability = -0.123456f, .likeliest = {}};
    for (int i = 0; i < 5; ++i) token.likeliest.push_back({i, word, -1.234567f});
    pieces.back().tokens.push_back(std::move(token));
  }
  size_t bytes = 0;
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < chunks; ++i) {
    std::string chunk;  // as the flow does: each is handed on
    writer.Piece(0, pieces[static_cast<size_t>(i) % pieces.size()], &chunk);
    bytes += chunk.size();
  }
  const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
  fmt::print("{:<34} {:>7.0f} ns {:>6.0f} bytes\n", name, took.count() / chunks, static_cast<double>(bytes) / chunks);
}

void Run(int chunks) {
  OllamaAsk generate, chat;
  generate.load.model = chat.load.model = "some-model:latest";
  chat.chat = true;
  const OpenAiShape plain{.model = "some-model:latest"};
  OpenAiShape scored = plain;
  scored.log_probabilities = true;
  Measure("Ollama generate", *OllamaStream(generate, Clock::System()), chunks, false);
  Measure("Ollama chat", *OllamaStream(chat, Clock::System()), chunks, false);
  Measure("OpenAI chat", *OpenAiChatStream(plain), chunks, false);
  Measure("OpenAI chat, 5 log-probabilities", *OpenAiChatStream(scored), chunks, true);
  Measure("OpenAI completions", *OpenAiCompletionStream(plain, nullptr), chunks, false);
  Measure("OpenAI responses", *ResponsesStream({plain.model, Json::object()}), chunks, false);
  Measure("Anthropic messages", *AnthropicStream(plain.model), chunks, false);
}

}  // namespace
}  // namespace edgellm::api

int main(int count, char** arguments) {
  edgellm::api::Run(count > 1 ? std::atoi(arguments[1]) : 1'000'000);
}
