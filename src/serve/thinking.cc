// See thinking.h.
#include "serve/thinking.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace edgellm {
namespace {

constexpr std::string_view kWhite = " \t\r\n";

size_t WhiteAtStart(std::string_view text) {
  return std::min(text.find_first_not_of(kWhite), text.size());
}

size_t WithoutWhiteAtEnd(std::string_view text) {
  const size_t last = text.find_last_not_of(kWhite);
  return last == std::string_view::npos ? 0 : last + 1;
}

/// The length of the longest end of `text` that begins `tag`.
size_t BegunTag(std::string_view text, std::string_view tag) {
  size_t length = std::min(text.size(), tag.size() - 1);
  while (length > 0 && !text.ends_with(tag.substr(0, length))) --length;
  return length;
}

}  // namespace

bool HasThinking(std::string_view chat_template) {
  return chat_template.find(kThinkClose) != std::string_view::npos;
}

ThinkingSplitter::ThinkingSplitter(Thinking begin) : skip_space_(begin == Thinking::kOpen) {
  switch (begin) {
    case Thinking::kNone:
      state_ = State::kContent;
      break;
    case Thinking::kMayOpen:
      state_ = State::kStart;
      break;
    case Thinking::kOpen:
      state_ = State::kThinking;
      break;
  }
}

void ThinkingSplitter::Push(std::string_view piece, std::string* thinking, std::string* content) {
  if (state_ == State::kContent) {
    content->append(piece);
    return;
  }
  held_ += piece;
  if (state_ == State::kStart) {
    const std::string_view rest = std::string_view(held_).substr(WhiteAtStart(held_));
    if (rest.starts_with(kThinkOpen)) {
      held_.erase(0, held_.size() - rest.size() + kThinkOpen.size());
      state_ = State::kThinking;
      skip_space_ = true;
    } else if (!kThinkOpen.starts_with(rest)) {
      state_ = State::kContent;
      content->append(std::exchange(held_, {}));
    }
  }
  if (state_ == State::kThinking) {
    if (skip_space_) held_.erase(0, WhiteAtStart(held_));
    skip_space_ = skip_space_ && held_.empty();
    const size_t close = held_.find(kThinkClose);
    const bool closed = close != std::string::npos;
    const size_t text = closed ? close : held_.size() - BegunTag(held_, kThinkClose);
    const size_t certain = WithoutWhiteAtEnd(std::string_view(held_).substr(0, text));
    thinking->append(held_, 0, certain);
    held_.erase(0, closed ? close + kThinkClose.size() : certain);
    if (closed) state_ = State::kAfter;
  }
  if (state_ == State::kAfter) {
    held_.erase(0, WhiteAtStart(held_));
    if (!held_.empty()) {
      state_ = State::kContent;
      content->append(std::exchange(held_, {}));
    }
  }
}

void ThinkingSplitter::Finish(std::string* thinking, std::string* content) {
  (state_ == State::kThinking ? thinking : content)->append(std::exchange(held_, {}));
}

constrain::Grammar AfterThinking(constrain::Grammar grammar, Thinking begin) {
  using constrain::ExpressionId;
  if (begin == Thinking::kNone) return grammar;
  // Text without the closing tag, cut at each '<': a part without one, then such that do not go on as the tag does.
  const ExpressionId any =
      grammar.Repeat(grammar.Class({{'<', '<'}}, /*negated=*/true), 0, constrain::Grammar::kUnlimited);
  ExpressionId no_tag = grammar.Text("");  // what may follow all of the tag but its last character … its first one
  for (size_t i = kThinkClose.size(); i-- > 1;) {
    const auto next = static_cast<char32_t>(kThinkClose[i]);
    std::vector<constrain::CodePointRange> expected = {{'<', '<'}, {next, next}};
    std::vector<ExpressionId> ways = {grammar.Text(""),
                                      grammar.Sequence({grammar.Class(std::move(expected), /*negated=*/true), any})};
    if (i + 1 < kThinkClose.size()) ways.push_back(grammar.Sequence({grammar.Text(kThinkClose.substr(i, 1)), no_tag}));
    no_tag = grammar.Choice(std::move(ways));
  }
  const ExpressionId other = grammar.Sequence({grammar.Text("<"), no_tag});
  ExpressionId part = grammar.Sequence({any, grammar.Repeat(other, 0, constrain::Grammar::kUnlimited),
                                        grammar.Text(kThinkClose), grammar.Repeat(grammar.Text("\n"), 0, 2)});
  if (begin == Thinking::kMayOpen) {
    part = grammar.Optional(grammar.Sequence({grammar.Text(kThinkOpen), part}));
  }
  const ExpressionId rest = grammar.Reference(grammar.root);
  grammar.root = grammar.AddRule("after thinking", grammar.Sequence({part, rest}));
  return grammar;
}

}  // namespace edgellm
