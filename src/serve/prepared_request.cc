// See prepared_request.h.
#include "serve/prepared_request.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/error.h"
#include "serve/chat_context.h"

namespace edgellm {
namespace {

using constrain::ToolCallFamily;
using constrain::ToolFunction;

bool MustCall(const ChatInput& chat) {
  return chat.tool_choice.kind == ToolChoice::Kind::kRequired || chat.tool_choice.kind == ToolChoice::Kind::kNamed;
}

/// The functions that may be called, by the choice.
std::vector<ToolFunction> FunctionsOf(const ChatInput& chat) {
  std::vector<ToolFunction> functions;
  if (!ShowsTools(chat)) return functions;
  for (const auto& tool : chat.tools) {
    const auto& function = tool.at("function");
    auto name = function.at("name").get<std::string>();
    if (chat.tool_choice.kind == ToolChoice::Kind::kNamed && name != chat.tool_choice.name) continue;
    functions.push_back({std::move(name), function.value("parameters", nlohmann::ordered_json())});
  }
  return functions;
}

/// A key that tells apart what is made of these functions.
std::string KeyOf(const std::vector<ToolFunction>& functions, ToolCallFamily family, int calls) {
  nlohmann::ordered_json key = {static_cast<int>(family), calls};
  for (const auto& function : functions) key.push_back({function.name, function.parameters});
  return key.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

constrain::Grammar Either(constrain::Grammar first, const constrain::Grammar& second) {
  const auto other = first.Import(second);
  const auto choice = first.Choice({first.Reference(first.root), first.Reference(other)});
  first.root = first.AddRule("either", choice);
  return first;
}

uint64_t RandomWord() {
  std::random_device device;
  return uint64_t{device()} << 32 | device();
}

}  // namespace

AnswerStreamOptions StreamOptionsOf(const PreparedRequest& prepared, int sample) {
  AnswerStreamOptions options = prepared.stream;
  options.tool_options.seed += static_cast<uint64_t>(sample);
  return options;
}

RequestPreparer::RequestPreparer(const Model& model, const text::Tokenizer* tokenizer, const PromptMaker& prompts)
    : model_(model), tokenizer_(tokenizer), prompts_(prompts) {
  if (tokenizer != nullptr) spelled_ = SpelledTags(*tokenizer);
}

ConstraintCache& RequestPreparer::constraints() {
  const text::Tokenizer& tokenizer = prompts_.tokenizer();
  std::call_once(constraints_made_, [&] { constraints_.emplace(tokenizer, spelled_); });
  return *constraints_;
}

/// What the answer must look like: a call where one must be made; a format, or a call where one may be made. What a
/// model thinks before is free.
std::shared_ptr<const constrain::TokenConstraint> RequestPreparer::ConstraintOf(const GenerateRequest& request,
                                                                                const MadePrompt& prompt) {
  const auto* chat = std::get_if<ChatInput>(&request.input);
  const bool must_call = chat != nullptr && MustCall(*chat);
  const auto& format = request.options.format;
  if (!must_call && !format) return nullptr;
  const std::vector<ToolFunction> functions = chat == nullptr ? std::vector<ToolFunction>() : FunctionsOf(*chat);
  const int calls = chat != nullptr && chat->parallel_tool_calls ? kMostCalls : 1;
  const bool may_call = !functions.empty();
  // A model that was told not to think goes straight to its answer.
  const bool thinks_first = chat != nullptr && (chat->think != false || prompt.thinking == Thinking::kOpen);
  const Thinking thinking = thinks_first ? prompt.thinking : Thinking::kNone;
  std::string key(1, static_cast<char>('a' + static_cast<int>(thinking)));
  if (may_call) key += KeyOf(functions, prompt.family, calls);
  if (!must_call) key += '\n' + std::string(1, static_cast<char>('0' + static_cast<int>(format->kind))) + format->text;
  const auto make = [&] {
    constrain::Grammar grammar;
    if (may_call) grammar = constrain::ToolCallGrammar(prompt.family, functions, calls);
    if (!must_call) grammar = may_call ? Either(GrammarOf(*format), grammar) : GrammarOf(*format);
    return AfterThinking(std::move(grammar), thinking);
  };
  return constraints().Get(key, make, /*with_tags=*/may_call);
}

PreparedRequest RequestPreparer::Prepare(const GenerateRequest& given) {
  const GenerateOptions& options = given.options;
  PreparedRequest prepared;
  MadePrompt prompt = prompts_.Make(given);
  ResolvedOptions resolved =
      Resolve(options, model_.generation, tokenizer_ == nullptr ? std::nullopt : tokenizer_->eos());
  const auto* chat = std::get_if<ChatInput>(&given.input);
  const bool must_call = chat != nullptr && MustCall(*chat);
  for (const int32_t stop : prompt.stop_tokens) resolved.stop_tokens.push_back(stop);

  prepared.facts = prompt.facts;
  prepared.thinks = prompt.thinking == Thinking::kOpen;
  AnswerStreamOptions& stream = prepared.stream;
  stream.at_text_start = prompt.stands_alone;
  // A call that must be made ends by itself, and is made of lines.
  if (!must_call) stream.stop = std::move(resolved.stop_strings);
  stream.token_facts = options.log_probabilities || options.likeliest > 0;
  if (chat != nullptr) {
    stream.thinking = prompt.thinking;
    stream.spelled = spelled_;
    if (ShowsTools(*chat)) {
      stream.tools = prompt.family;
      for (const auto& function : FunctionsOf(*chat)) stream.tool_options.names.push_back(function.name);
      stream.tool_options.seed = RandomWord();
      stream.one_call = !chat->parallel_tool_calls;
    }
  }

  Request& request = prepared.request;
  request.prompt = std::move(prompt.tokens);
  request.max_tokens = resolved.max_tokens;
  request.min_tokens = options.min_tokens;
  request.sampling = resolved.sampling;
  request.bias = options.logit_bias;
  request.stop_tokens = std::move(resolved.stop_tokens);
  request.ignore_eos = options.ignore_eos;
  request.samples = options.samples;
  request.prompt_log_probabilities = options.prompt_log_probabilities;
  request.priority = given.priority;
  request.deadline = given.deadline;
  request.cache_salt = given.cache_salt;
  if (const auto constraint = ConstraintOf(given, prompt)) {
    request.filter = MakeFilter(constraint, request.stop_tokens, prompt.stands_alone);
  }
  return prepared;
}

}  // namespace edgellm
