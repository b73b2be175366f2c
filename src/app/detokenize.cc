// edgellm detokenize MODEL < ids: text. The ids may be divided by spaces, newlines or commas, with or without brackets.
#include <charconv>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "app/open_model.h"
#include "app/terminal.h"
#include "app/verbs.h"
#include "base/error.h"

namespace edgellm::app {
namespace {

struct Arguments {
  std::string model;
  bool spell_special = false, json = false;
};

std::vector<text::TokenId> ParseIds(std::string_view input, int vocab_size) {
  constexpr std::string_view kDividers = " \t\r\n,[]";
  std::vector<text::TokenId> ids;
  for (size_t begin = 0; (begin = input.find_first_not_of(kDividers, begin)) != std::string_view::npos;) {
    const size_t end = std::min(input.find_first_of(kDividers, begin), input.size());
    const std::string_view word = input.substr(begin, end - begin);
    text::TokenId id = -1;
    const auto [stop, failed] = std::from_chars(word.data(), word.data() + word.size(), id);
    if (failed != std::errc() || stop != word.data() + word.size()) {
      Fail(ErrorCode::kInvalidArgument, "standard input: '{}' is not a token id", word.substr(0, 40));
    }
    if (id < 0 || id >= vocab_size) {
      Fail(ErrorCode::kInvalidArgument, "standard input: the vocabulary has ids 0 to {}, not {}", vocab_size - 1, id);
    }
    ids.push_back(id);
    begin = end;
  }
  return ids;
}

void Detokenize(const Arguments& arguments) {
  const text::Tokenizer tokenizer = OpenTokenizer(arguments.model);
  const std::string text = tokenizer.Decode(ParseIds(ReadInput(), tokenizer.vocab_size()), arguments.spell_special);
  if (arguments.json) {
    WriteJson({{"text", text}});
    return;
  }
  WriteOutput(text);
  if (OutputIsTerminal()) WriteOutput("\n");
}

}  // namespace

void AddDetokenize(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* verb = app.add_subcommand("detokenize", "Turn token ids from standard input into text");
  verb->add_option("MODEL", arguments->model, "model, or a tokenizer's file or folder")->required();
  verb->add_flag("--spell-special", arguments->spell_special, "print special tokens by their spelling");
  verb->add_flag("--json", arguments->json, "print JSON");
  verb->callback([arguments] { Detokenize(*arguments); });
}

}  // namespace edgellm::app
