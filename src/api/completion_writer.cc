// OpenAI's text completions. See openai_writer.h.
#include <optional>

#include "api/openai_writer.h"

namespace edgellm::api {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

/// The old form of log-probabilities: lists side by side, with places counted in code points from where the choice's
/// text begins.
class TokenLists {
 public:
  bool empty() const { return count_ == 0; }

  /// The prompt's first token, which nothing predicts.
  void AddFirst(std::string_view text) { Add(text, "null", "null"); }

  void Add(const TokenFacts& token) {
    std::string value, likeliest = "{";
    AppendNumber(&value, token.log_probability);
    for (const auto& other : token.likeliest) {
      if (likeliest.size() > 1) likeliest += ',';
      AppendString(&likeliest, other.bytes);
      likeliest += ':';
      AppendNumber(&likeliest, other.log_probability);
    }
    Add(token.bytes, value, likeliest + '}');
  }

  /// What was added since the last time.
  std::string Take() {
    std::string text = "{\"tokens\":[" + tokens_ + "],\"token_logprobs\":[" + values_ + "],\"top_logprobs\":[" +
                       likeliest_ + "],\"text_offset\":[" + offsets_ + "]}";
    tokens_.clear();
    values_.clear();
    likeliest_.clear();
    offsets_.clear();
    count_ = 0;
    return text;
  }

 private:
  void Add(std::string_view bytes, std::string_view value, std::string_view likeliest) {
    if (count_++ > 0) {
      for (std::string* list : {&tokens_, &values_, &likeliest_, &offsets_}) *list += ',';
    }
    AppendString(&tokens_, bytes);
    values_ += value;
    likeliest_ += likeliest;
    AppendInteger(&offsets_, offset_);
    for (const char c : bytes) offset_ += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }

  std::string tokens_, values_, likeliest_, offsets_;
  int64_t offset_ = 0;
  int count_ = 0;
};

class CompletionStream final : public CompletionsStream {
 public:
  CompletionStream(OpenAiShape shape, std::shared_ptr<const PromptEcho> echo)
      : CompletionsStream(std::move(shape), "cmpl-", "text_completion"),
        lists_(shape_.samples * shape_.prompts),
        prompts_(std::move(echo)) {}

  void Open(std::string* out) override {
    if (!shape_.echo) return;
    for (size_t i = 0; i < lists_.size(); ++i) {
      if (shape_.log_probabilities) lists_[i].AddFirst(prompts_->first_tokens[i / shape_.samples]);
      Append(out, i, prompts_->texts[i / shape_.samples], "null");
    }
  }

  void Piece(size_t request, const AnswerPiece& piece, std::string* out) override {
    if (!shape_.want_text && !piece.prompt) return;
    const size_t index = request * shape_.samples + static_cast<size_t>(piece.sample);
    if (shape_.log_probabilities) {
      for (const TokenFacts& token : piece.tokens) lists_[index].Add(token);
    }
    Append(out, index, piece.content, "null");
  }

  void Ended(size_t request, const AnswerEnd& end, std::string* out) override {
    usage_.Add(end);
    if (!shape_.want_text) usage_.generated = 0;
    Append(out, request * shape_.samples + static_cast<size_t>(end.sample), "",
           Quoted(shape_.want_text ? FinishReasonText(end.reason) : "length"));
  }

 private:
  void Append(std::string* out, size_t index, std::string_view text, std::string_view finish) {
    *out += choice_start_;
    AppendInteger(out, static_cast<int64_t>(index));
    *out += ",\"text\":";
    AppendString(out, text);
    *out += ",\"logprobs\":";
    *out += lists_[index].empty() ? "null" : lists_[index].Take();
    *out += ",\"finish_reason\":";
    *out += finish;
    *out += choice_end_;
  }

  std::vector<TokenLists> lists_;  // of each choice
  std::shared_ptr<const PromptEcho> prompts_;
};

Json LogProbabilitiesOf(const OpenAiShape& shape, const WholeAnswer& answer, const PromptEcho& echo, size_t prompt) {
  if (!shape.log_probabilities) return nullptr;
  TokenLists lists;
  if (shape.echo) {
    lists.AddFirst(echo.first_tokens[prompt]);
    for (const TokenFacts& token : answer.prompt_tokens) lists.Add(token);
  }
  if (shape.want_text) {
    for (const TokenFacts& token : answer.tokens) lists.Add(token);
  }
  return Json::parse(lists.Take());
}

}  // namespace

std::unique_ptr<StreamWriter> OpenAiCompletionStream(OpenAiShape shape, std::shared_ptr<const PromptEcho> echo) {
  return std::make_unique<CompletionStream>(std::move(shape), std::move(echo));
}

std::string OpenAiCompletionBody(const OpenAiShape& shape, const PromptEcho& echo, const Opening& opening,
                                 const WholeAnswers& answers) {
  Json choices = Json::array();
  for (size_t i = 0; i < answers.size(); ++i) {
    for (const WholeAnswer& answer : answers[i]) {
      std::string text = shape.echo ? echo.texts[i] : "";
      if (shape.want_text) text += answer.content;
      choices.push_back({{"index", choices.size()},
                         {"text", std::move(text)},
                         {"logprobs", LogProbabilitiesOf(shape, answer, echo, i)},
                         {"finish_reason", shape.want_text ? FinishReasonText(answer.end.reason) : "length"}});
    }
  }
  Usage usage = UsageOf(opening, answers);
  if (!shape.want_text) usage.generated = 0;
  return Dump({{"id", "cmpl-" + opening.id},
               {"object", "text_completion"},
               {"created", opening.created / kSecond},
               {"model", shape.model},
               {"choices", std::move(choices)},
               {"usage", usage.ToJson()},
               {"system_fingerprint", kFingerprint}});
}

}  // namespace edgellm::api
