// See prompt.h.
#include "serve/prompt.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "serve/chat_context.h"

namespace edgellm {
namespace {

using constrain::ToolCallFamily;

constexpr int kUsualAnswer = 256;  // tokens that truncation leaves for an answer of unknown length

bool IsSystem(const ChatMessage& message) {
  return message.role == "system" || message.role == "developer";
}

/// How many of the oldest messages that are no system messages can be dropped, fewest first: whole turns, which begin
/// with a user's message, then within the last turn; never the last message.
std::vector<size_t> PossibleCuts(const std::vector<ChatMessage>& messages) {
  std::vector<std::string_view> roles;
  for (const ChatMessage& message : messages) {
    if (!IsSystem(message)) roles.push_back(message.role);
  }
  size_t last_user = 0;
  for (size_t i = 0; i < roles.size(); ++i) {
    if (roles[i] == "user") last_user = i;
  }
  std::vector<size_t> cuts;
  for (size_t i = 1; i < roles.size(); ++i) {
    const bool turn = roles[i] == "user", in_last_turn = i > last_user;
    const bool orphan = roles[i] == "tool" && i + 1 < roles.size();  // a result without its call
    if (turn || (in_last_turn && !orphan)) cuts.push_back(i);
  }
  return cuts;
}

/// The messages without the first `dropped` that are no system messages, and without a last one that says nothing: an
/// answer that has not begun.
std::vector<const ChatMessage*> Kept(const std::vector<ChatMessage>& messages, size_t dropped) {
  std::vector<const ChatMessage*> kept;
  for (const ChatMessage& message : messages) {
    if (!IsSystem(message) && dropped > 0) {
      --dropped;
    } else {
      kept.push_back(&message);
    }
  }
  if (!kept.empty()) {
    const ChatMessage& last = *kept.back();
    if (last.role == "assistant" && last.content.empty() && last.thinking.empty() && last.tool_calls.empty()) {
      kept.pop_back();
    }
  }
  return kept;
}

/// A text that stands nowhere in the last message: put behind it, it tells where the template has written its end.
std::string ContinuationMark(const ChatMessage& last) {
  std::string mark;
  do {
    utf8::Append(mark, U'\uE0F1');  // of a private use area
  } while (last.content.find(mark) != std::string::npos);
  return mark;
}

bool EndsInside(std::string_view text) {
  const size_t open = text.rfind(kThinkOpen), close = text.rfind(kThinkClose);
  return open != std::string_view::npos && (close == std::string_view::npos || close < open);
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

bool OpensThinking(std::string_view prompt) {
  const size_t last = prompt.find_last_not_of(" \t\r\n");
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(kThinkOpen);
}

}  // namespace

/// A parsed template and what its source tells.
struct PromptMaker::ChatForm {
  ChatForm(const std::string& source, const std::string& name)
      : parsed(source, name), family(constrain::DetectToolCallFamily(source)), thinks(HasThinking(source)) {
    // Some templates tell a message that only calls tools by its content, which is none there.
    for (const char* test : {"content is not none", "'content'] is not none", "\"content\"] is not none"}) {
      null_content = null_content || source.find(test) != std::string::npos;
    }
  }

  text::ChatTemplate parsed;
  ToolCallFamily family;
  bool thinks;
  bool null_content = false;
};

struct PromptMaker::Rendering {
  std::string text;
  bool continues = false;
  Thinking thinking = Thinking::kNone;
};

struct PromptMaker::GapTokens {
  int32_t before = -1, after = -1, middle = -1;
  bool middle_last = true;  // before text after suffix middle; else before text middle suffix after
  std::vector<int32_t> stops;
};

PromptMaker::PromptMaker(const Model& model, const text::Tokenizer* tokenizer, int context)
    : model_(model), tokenizer_(tokenizer), context_(context) {
  if (model.chat_template.empty()) return;
  try {
    form_ = std::make_shared<const ChatForm>(model.chat_template, model.Label() + ": chat template");
    family_ = form_->family;
    thinks_ = form_->thinks;
  } catch (const Error& error) {
    broken_ = error.what();
    broken_code_ = error.code();
  }
}

PromptMaker::~PromptMaker() = default;

const text::Tokenizer& PromptMaker::tokenizer() const {
  if (tokenizer_ == nullptr) Fail(ErrorCode::kUnsupported, "{}: the model came without a tokenizer", model_.Label());
  return *tokenizer_;
}

int PromptMaker::Room(const GenerateRequest& request) const {
  const int asked = request.options.max_tokens.value_or(-1);
  return context_ - std::max(1, std::min(asked > 0 ? asked : kUsualAnswer, context_ / 4));
}

void PromptMaker::FailLength(size_t tokens) const {
  Fail(ErrorCode::kLimit, "the prompt has {} tokens, which leaves no room for an answer in a context of {}", tokens,
       context_);
}

std::shared_ptr<const PromptMaker::ChatForm> PromptMaker::FormOf(const ChatInput& chat) const {
  if (chat.chat_template) return std::make_shared<const ChatForm>(*chat.chat_template, "chat template");
  if (!has_chat_template()) Fail(ErrorCode::kUnsupported, "{}: the model has no chat template", model_.Label());
  if (!form_) throw Error(broken_code_, broken_);
  return form_;
}

PromptMaker::Rendering PromptMaker::RenderChat(const ChatForm& form, const ChatInput& chat, size_t dropped) const {
  const auto messages = Kept(chat.messages, dropped);
  const auto spelling = [&](std::optional<text::TokenId> id) {
    return id ? std::string(tokenizer().TokenBytes(*id, true)) : std::string();
  };
  Rendering rendering;
  rendering.continues =
      !messages.empty() && messages.back()->role == "assistant" && messages.back()->tool_calls.empty();
  ContextOptions options;
  options.null_content = form.null_content;
  options.short_ids = constrain::IsMistral(form.family);
  options.bos = spelling(tokenizer().bos());
  options.eos = spelling(tokenizer().eos());
  if (rendering.continues) options.continuation = ContinuationMark(*messages.back());
  const bool calls = std::any_of(messages.begin(), messages.end(),
                                 [](const ChatMessage* message) { return !message->tool_calls.empty(); });
  try {
    rendering.text = form.parsed.Render(ChatContext(chat, messages, options), std::time(nullptr));
  } catch (const Error& error) {
    if (!calls || error.code() != ErrorCode::kInvalidArgument) throw;
    const Error first = error;
    try {
      options.arguments = ArgumentsForm::kText;
      rendering.text = form.parsed.Render(ChatContext(chat, messages, options), std::time(nullptr));
    } catch (const Error&) {
      throw first;
    }
  }
  rendering.thinking = form.thinks ? Thinking::kMayOpen : Thinking::kNone;
  if (rendering.continues) {
    const size_t mark = rendering.text.rfind(options.continuation);
    if (mark == std::string::npos) {
      Fail(ErrorCode::kUnsupported, "the chat template does not show the assistant's message that is to be continued");
    }
    rendering.text.resize(mark);
    const std::string& begun = messages.back()->content;
    if (!IsBlank(begun) && form.thinks) rendering.thinking = EndsInside(begun) ? Thinking::kOpen : Thinking::kNone;
  } else if (form.thinks && OpensThinking(rendering.text)) {
    rendering.thinking = Thinking::kOpen;
    if (chat.think == false) {  // the template has no way to say so: an empty part does
      rendering.text += "\n" + std::string(kThinkClose) + "\n\n";
      rendering.thinking = Thinking::kMayOpen;
    }
  }
  return rendering;
}

std::vector<int32_t> PromptMaker::EncodeChat(const Rendering& rendering) const {
  // Nothing is put around it: a template writes its own BOS.
  return tokenizer().Encode(rendering.text, {.add_special = false, .parse_special = true});
}

MadePrompt PromptMaker::MakeChat(const ChatInput& chat, const GenerateRequest& request) const {
  const auto form = FormOf(chat);
  if (chat.messages.empty()) Fail(ErrorCode::kInvalidArgument, "there are no messages");
  CheckTools(chat);
  if (ShowsTools(chat) && form->family == ToolCallFamily::kNone) {
    Fail(ErrorCode::kUnsupported, "{} does not support tools", model_.Label());
  }
  if (chat.think == true && !form->thinks) {
    Fail(ErrorCode::kUnsupported, "{} does not support thinking", model_.Label());
  }
  Rendering rendering = RenderChat(*form, chat, 0);
  MadePrompt prompt;
  prompt.tokens = EncodeChat(rendering);
  const size_t whole = prompt.tokens.size();
  if (!Fits(whole)) {
    if (!request.truncate) FailLength(whole);
    const std::vector<size_t> cuts = PossibleCuts(chat.messages);
    const auto room = static_cast<size_t>(Room(request));
    // The fewest that must go: a conversation gets shorter with each.
    size_t low = 0, high = cuts.size();
    while (low < high) {
      const size_t middle = low + (high - low) / 2;
      const bool fits = EncodeChat(RenderChat(*form, chat, cuts[middle])).size() <= room;
      (fits ? high : low) = fits ? middle : middle + 1;
    }
    if (cuts.empty()) FailLength(whole);
    const size_t dropped = cuts[std::min(low, cuts.size() - 1)];
    rendering = RenderChat(*form, chat, dropped);
    prompt.tokens = EncodeChat(rendering);
    if (!Fits(prompt.tokens.size())) {
      Fail(ErrorCode::kLimit,
           "the last message and the system's have {} tokens, which leaves no room for an answer in a context of {}",
           prompt.tokens.size(), context_);
    }
    prompt.facts.dropped_messages = static_cast<int>(dropped);
    prompt.facts.dropped_tokens = static_cast<int>(whole) - static_cast<int>(prompt.tokens.size());
  }
  prompt.stands_alone = !rendering.continues;
  prompt.thinking = rendering.thinking;
  prompt.family = form->family;
  return prompt;
}

/// Drops from the front, behind `kept_front` tokens.
void PromptMaker::CutFront(MadePrompt* prompt, const GenerateRequest& request, size_t kept_front) const {
  const size_t size = prompt->tokens.size();
  if (Fits(size)) return;
  if (!request.truncate) FailLength(size);
  const auto room = static_cast<size_t>(Room(request));
  const size_t excess = size - std::min(size, room);
  if (excess + kept_front > size) FailLength(size);
  const auto begin = prompt->tokens.begin() + static_cast<std::ptrdiff_t>(kept_front);
  prompt->tokens.erase(begin, begin + static_cast<std::ptrdiff_t>(excess));
  prompt->facts.dropped_tokens = static_cast<int>(excess);
}

PromptMaker::GapTokens PromptMaker::FindGapTokens() const {
  struct Names {
    const char *before, *after, *middle;
    bool middle_last;
  };
  // Qwen2.5-Coder and CodeGemma; StarCoder and Granite; Code Llama; DeepSeek-Coder; Codestral has no text for it.
  static constexpr Names kKnown[] = {
      {"<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", true},
      {"<fim_prefix>", "<fim_suffix>", "<fim_middle>", true},
      {"▁<PRE>", "▁<SUF>", "▁<MID>", true},
      {"<｜fim▁begin｜>", "<｜fim▁end｜>", "<｜fim▁hole｜>", false},
  };
  GapTokens found;
  for (const Names& names : kKnown) {
    const auto before = tokenizer().Find(names.before), after = tokenizer().Find(names.after),
               middle = tokenizer().Find(names.middle);
    if (!before || !after || !middle) continue;
    found = {*before, *after, *middle, names.middle_last, {}};
    for (const char* stop : {"<|endoftext|>", "<|fim_pad|>", "<|file_sep|>", "<|repo_name|>", "<|file_separator|>",
                             "<file_sep>", "▁<EOT>"}) {
      if (const auto id = tokenizer().Find(stop)) found.stops.push_back(*id);
    }
    return found;
  }
  Fail(ErrorCode::kUnsupported, "{} does not support a suffix: its vocabulary has no tokens for filling in",
       model_.Label());
}

MadePrompt PromptMaker::MakeText(const TextInput& input, const GenerateRequest& request) const {
  const text::Tokenizer& t = tokenizer();
  MadePrompt prompt;
  if (input.suffix.empty()) {
    prompt.tokens = t.Encode(input.text, {.add_special = input.special_tokens, .parse_special = input.special_tokens});
    const bool bos = !prompt.tokens.empty() && t.bos() == prompt.tokens.front();
    CutFront(&prompt, request, bos ? 1 : 0);
    return prompt;
  }
  const GapTokens gap = FindGapTokens();
  const text::EncodeOptions plain = {.add_special = false, .parse_special = input.special_tokens};
  const auto add = [&](std::string_view text) {
    const auto ids = t.Encode(text, plain);
    prompt.tokens.insert(prompt.tokens.end(), ids.begin(), ids.end());
  };
  if (t.adds_bos() && t.bos()) prompt.tokens.push_back(*t.bos());
  prompt.tokens.push_back(gap.before);
  const size_t front = prompt.tokens.size();
  add(input.text);
  const size_t text_end = prompt.tokens.size();
  prompt.tokens.push_back(gap.middle_last ? gap.after : gap.middle);
  add(input.suffix);
  prompt.tokens.push_back(gap.middle_last ? gap.middle : gap.after);
  prompt.stop_tokens = gap.stops;
  const size_t whole = prompt.tokens.size();
  CutFront(&prompt, request, front);
  // Of what comes before the gap alone: the suffix must stay whole.
  if (static_cast<size_t>(prompt.facts.dropped_tokens) > text_end - front) FailLength(whole);
  return prompt;
}

MadePrompt PromptMaker::MakeTokens(const TokenInput& input, const GenerateRequest& request) const {
  if (input.tokens.empty()) Fail(ErrorCode::kInvalidArgument, "the prompt is empty");
  for (const int32_t id : input.tokens) {
    if (id < 0 || id >= model_.config.vocab) {
      Fail(ErrorCode::kInvalidArgument, "the prompt has the token id {}, and the vocabulary {} tokens", id,
           model_.config.vocab);
    }
  }
  MadePrompt prompt;
  prompt.tokens = input.tokens;
  const bool bos = tokenizer_ != nullptr && tokenizer_->bos() == input.tokens.front();
  CutFront(&prompt, request, bos ? 1 : 0);
  return prompt;
}

MadePrompt PromptMaker::Make(const GenerateRequest& request) const {
  MadePrompt prompt;
  if (const auto* chat = std::get_if<ChatInput>(&request.input)) {
    prompt = MakeChat(*chat, request);
  } else if (const auto* text = std::get_if<TextInput>(&request.input)) {
    prompt = MakeText(*text, request);
  } else {
    prompt = MakeTokens(std::get<TokenInput>(request.input), request);
  }
  if (prompt.tokens.empty()) Fail(ErrorCode::kInvalidArgument, "the prompt is empty");
  prompt.facts.tokens = static_cast<int>(prompt.tokens.size());
  prompt.facts.context = context_;
  return prompt;
}

std::string PromptMaker::Render(const GenerateRequest& request) const {
  if (const auto* chat = std::get_if<ChatInput>(&request.input)) {
    CheckTools(*chat);
    return RenderChat(*FormOf(*chat), *chat, 0).text;
  }
  if (const auto* text = std::get_if<TextInput>(&request.input); text != nullptr && text->suffix.empty()) {
    return text->text;
  }
  return tokenizer().Decode(Make(request).tokens, /*spell_special=*/true);
}

}  // namespace edgellm
