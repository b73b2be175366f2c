// See answer_stream.h.
#include "serve/answer_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/utf8.h"

namespace edgellm {

std::vector<int32_t> SpelledTags(const text::Tokenizer& tokenizer) {
  std::vector<int32_t> ids;
  for (const std::string_view tag :
       {kThinkOpen, kThinkClose, constrain::kToolCallOpen, constrain::kToolCallClose, constrain::kPythonTag,
        constrain::kMistralOpen, constrain::kMistralId, constrain::kMistralArguments}) {
    const auto id = tokenizer.Find(tag);
    if (id && tokenizer.IsSpecial(*id)) ids.push_back(*id);
  }
  return ids;
}

AnswerStream::AnswerStream(const text::Tokenizer& tokenizer, AnswerStreamOptions options)
    : tokenizer_(&tokenizer),
      options_(std::move(options)),
      decoder_(tokenizer, /*spell_special=*/false, options_.at_text_start),
      stops_(options_.stop),
      thinking_(options_.thinking) {
  if (options_.tools != constrain::ToolCallFamily::kNone) parser_.emplace(options_.tools, options_.tool_options);
}

TokenFacts AnswerStream::FactsOf(const text::Tokenizer& tokenizer, const Token& token) {
  TokenFacts facts;
  facts.id = token.id;
  facts.bytes = tokenizer.TokenBytes(token.id, /*spell_special=*/true);
  facts.log_probability = token.log_probability;
  for (const TokenLogProbability& other : token.likeliest) {
    facts.likeliest.push_back(
        {other.token, std::string(tokenizer.TokenBytes(other.token, /*spell_special=*/true)), other.log_probability});
  }
  return facts;
}

void AnswerStream::Push(const Token& token, AnswerPiece* piece) {
  if (ended_) return;
  tokens_.push_back(token.id);
  const bool spelled = std::find(options_.spelled.begin(), options_.spelled.end(), token.id) != options_.spelled.end();
  const std::string text = decoder_.PushBytes(tokenizer_->TokenBytes(token.id, spelled));
  if (options_.token_facts) {
    waiting_.push_back({FactsOf(*tokenizer_, token), decoded_, decoded_ + text.size()});
  }
  decoded_ += text.size();
  if (!text.empty()) Take(text, piece);
  if (options_.token_facts) TellTokens(/*finished=*/false, piece);
}

void AnswerStream::Take(const std::string& text, AnswerPiece* piece) {
  const std::string passed = stops_.Push(text);
  certain_ += passed.size();
  std::string content;
  thinking_.Push(passed, &piece->thinking, &content);
  TakeContent(content, piece);
  ended_ = ended_ || stops_.matched();
}

void AnswerStream::TakeContent(std::string_view content, AnswerPiece* piece) {
  if (!parser_) {
    piece->content += content;
    return;
  }
  // Where the first call ends the answer, what comes after it in the same token is no part of it.
  while (!content.empty() && !call_ends_it()) {
    const size_t length = options_.one_call ? static_cast<size_t>(utf8::Decode(content).length) : content.size();
    TakeParsed(parser_->Push(content.substr(0, length)), piece);
    content.remove_prefix(length);
  }
}

void AnswerStream::TakeParsed(constrain::ToolCallOutput output, AnswerPiece* piece) {
  piece->content += output.content;
  if (options_.one_call && output.calls.size() > 1) output.calls.resize(1);
  calls_ += static_cast<int>(output.calls.size());
  std::move(output.calls.begin(), output.calls.end(), std::back_inserter(piece->tool_calls));
  ended_ = ended_ || call_ends_it();
}

void AnswerStream::Finish(AnswerPiece* piece) {
  if (!ended_) Take(decoder_.Finish(), piece);
  if (!call_ends_it()) {
    const std::string rest = stops_.Finish();
    certain_ += rest.size();
    std::string content;
    thinking_.Push(rest, &piece->thinking, &content);
    thinking_.Finish(&piece->thinking, &content);
    TakeContent(content, piece);
  }
  if (parser_ && !call_ends_it()) TakeParsed(parser_->Finish(), piece);
  ended_ = true;
  TellTokens(/*finished=*/true, piece);
}

/// A token without text of its own (a part of a character, a special token) goes with the one after it.
void AnswerStream::TellTokens(bool finished, AnswerPiece* piece) {
  size_t count = 0;
  for (size_t i = 0; i < waiting_.size(); ++i) {
    const Waiting& waiting = waiting_[i];
    const bool whole = waiting.end > waiting.begin && waiting.end <= certain_;
    const bool begun = finished && (stops_.matched() ? waiting.begin < certain_ : true);
    if (whole || begun) count = i + 1;
  }
  for (size_t i = 0; i < count; ++i) piece->tokens.push_back(std::move(waiting_[i].facts));
  waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
  if (finished) waiting_.clear();
}

}  // namespace edgellm
