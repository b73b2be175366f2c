// edgellm template MODEL|FILE.jinja < context.json: the prompt that a chat template makes of messages.
#include <ctime>
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"
#include "base/file.h"
#include "text/chat_template.h"

namespace edgellm::app {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  std::string source;
  int64_t now = -1;
  bool json = false;
};

ordered_json ReadContext() {
  ordered_json context = ordered_json::parse(ReadInput(), nullptr, /*allow_exceptions=*/false);
  if (context.is_array()) context = {{"messages", std::move(context)}, {"add_generation_prompt", true}};
  if (!context.is_object()) {
    Fail(ErrorCode::kInvalidArgument, "standard input: must be JSON: {{\"messages\": […], …}}, or the messages alone");
  }
  return context;
}

/// The model's own BOS and EOS, for the variables that most templates use.
void AddSpecialTokens(const text::Tokenizer& tokenizer, ordered_json* context) {
  const auto add = [&](const char* name, std::optional<text::TokenId> id) {
    if (id && !context->contains(name)) (*context)[name] = std::string(tokenizer.TokenBytes(*id, true));
  };
  add("bos_token", tokenizer.bos());
  add("eos_token", tokenizer.eos());
}

void RenderTemplate(const Arguments& arguments) {
  std::string source;
  ordered_json context;
  if (arguments.source.ends_with(".jinja")) {
    source = ReadFile(arguments.source, 64u << 20);
    context = ReadContext();
  } else {
    TextParts parts = OpenText(arguments.source);
    if (parts.chat_template.empty()) Fail(ErrorCode::kUnsupported, "{}: has no chat template", arguments.source);
    source = std::move(parts.chat_template);
    context = ReadContext();
    if (parts.tokenizer) AddSpecialTokens(*parts.tokenizer, &context);
  }
  const text::ChatTemplate chat_template(source, arguments.source);
  const int64_t now = arguments.now >= 0 ? arguments.now : static_cast<int64_t>(std::time(nullptr));
  const std::string prompt = chat_template.Render(context, now);
  if (arguments.json) {
    WriteJson({{"prompt", prompt}});
    return;
  }
  WriteOutput(prompt);
  if (OutputIsTerminal()) WriteOutput("\n");
}

}  // namespace

void AddTemplate(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("template", "Render messages from standard input with a chat template");
  verb->add_option("MODEL", arguments->source, "model, or a template's FILE.jinja")->required();
  verb->add_option("--now", arguments->now, "Unix time that templates with a date get; default: the clock");
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { RenderTemplate(*arguments); });
}

}  // namespace edgellm::app
