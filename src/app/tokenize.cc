// edgellm tokenize MODEL < text: token ids on one line.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/terminal.h"
#include "app/verbs.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model;
  bool add_special = false, parse_special = false, json = false;
};

void Tokenize(const Arguments& arguments) {
  const text::Tokenizer tokenizer = OpenTokenizer(arguments.model);
  const std::string text = ReadInput();
  const auto ids =
      tokenizer.Encode(text, {.add_special = arguments.add_special, .parse_special = arguments.parse_special});
  if (!arguments.json) {
    WriteOutput(fmt::format("{}\n", fmt::join(ids, " ")));
    return;
  }
  nlohmann::ordered_json pieces = nlohmann::ordered_json::array();
  for (const auto id : ids) pieces.push_back(std::string(tokenizer.TokenBytes(id, true)));
  WriteJson({{"ids", ids}, {"pieces", pieces}, {"count", ids.size()}});
}

}  // namespace

void AddTokenize(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("tokenize", "Turn text from standard input into token ids");
  verb->add_option("MODEL", arguments->model, "model, or a tokenizer's file or folder")->required();
  verb->add_flag("--add-special", arguments->add_special, "add what the tokenizer puts around a text (BOS, EOS)");
  verb->add_flag("--parse-special", arguments->parse_special, "read spellings of special tokens as those tokens");
  verb->add_flag("--json", arguments->json, "print JSON, with each token's text");
  verb->callback([arguments] { Tokenize(*arguments); });
}

}  // namespace edgellm::app
