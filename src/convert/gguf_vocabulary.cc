// See gguf_vocabulary.h.
#include "convert/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <map>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "model/json_fields.h"
#include "text/tokenizer.h"

namespace edgellm {
namespace {

using nlohmann::json;
using text::TokenType;
using text::VocabularyData;
using text::VocabularyKind;

constexpr std::string_view kSpaceMark = "\u2581";
constexpr const char* kGpt2Split = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
// Those that llama.cpp knows, and of several with the same rules the best known.
constexpr std::array<const char*, 11> kPreTokenizers = {"gpt-2",          "llama-bpe", "qwen2",  "smollm",
                                                        "tekken",         "gpt-4o",    "falcon", "deepseek-v3",
                                                        "deepseek-coder", "stablelm2", "dbrx"};

/// What a byte-level pre-tokeniser does, in a form in which two spellings of the same rules are equal.
struct Rules {
  std::vector<std::string> splits;
  std::string normalizer;
  bool ignore_merges = false;
  bool is_known = true;  // false: holds a component that GGUF's names do not cover
  bool operator==(const Rules&) const = default;
};

void AddSplits(const json& component, Rules& rules) {
  if (component.is_null()) return;
  const std::string type = component.value("type", "");
  if (type == "Sequence") {
    for (const json& part : component.value("pretokenizers", json::array())) AddSplits(part, rules);
  } else if (type == "Split" && component.contains("pattern") && component["pattern"].contains("Regex") &&
             component.value("behavior", "") == "Isolated" && !component.value("invert", false)) {
    rules.splits.push_back(component["pattern"]["Regex"].get<std::string>());
  } else if (type == "Digits" && component.value("individual_digits", false)) {
    rules.splits.emplace_back(R"(\p{N})");
  } else if (type == "ByteLevel" && !component.value("add_prefix_space", true)) {
    if (component.value("use_regex", true)) rules.splits.emplace_back(kGpt2Split);
  } else {
    rules.is_known = false;
  }
}

Rules RulesOf(const json& tokenizer) {
  Rules rules;
  AddSplits(tokenizer.value("pre_tokenizer", json()), rules);
  const json normalizer = tokenizer.value("normalizer", json());
  rules.normalizer = normalizer.is_object() ? normalizer.value("type", "") : "";
  rules.ignore_merges = tokenizer["model"].value("ignore_merges", false);
  return rules;
}

std::string PreTokenizerName(const json& tokenizer, std::string_view name) {
  const Rules wanted = RulesOf(tokenizer);
  if (wanted.is_known) {
    for (const char* candidate : kPreTokenizers) {
      VocabularyData smallest;
      smallest.kind = VocabularyKind::kByteLevel;
      smallest.pre_tokenizer = candidate;
      smallest.tokens = {"a"};
      const auto built = text::Tokenizer::FromVocabulary(smallest, name).ToJson();
      if (RulesOf(json::parse(built)) == wanted) return candidate;
    }
  }
  Fail(ErrorCode::kUnsupported, "{}: GGUF has no name for this tokenizer's way of splitting text", name);
}

/// How a SentencePiece-like tokenizer treats spaces, read from its normalizer and pre-tokeniser.
struct Spaces {
  bool is_sentencepiece = false, prefix = false, remove_extra = false;
  std::string mark{kSpaceMark};
};

void ReadSpaces(const json& component, Spaces& spaces) {
  if (!component.is_object()) return;
  const std::string type = component.value("type", "");
  for (const char* list : {"normalizers", "pretokenizers"}) {
    for (const json& part : component.value(list, json::array())) ReadSpaces(part, spaces);
  }
  if (type == "Prepend") {
    spaces.is_sentencepiece = spaces.prefix = true;
    spaces.mark = component.value("prepend", spaces.mark);
  } else if (type == "Metaspace") {
    spaces.is_sentencepiece = true;
    spaces.mark = component.value("replacement", spaces.mark);
    const std::string scheme =
        component.value("prepend_scheme", component.value("add_prefix_space", true) ? "always" : "never");
    spaces.prefix = scheme != "never";
  } else if (type == "Replace") {
    const json pattern = component.value("pattern", json::object());
    if (component.value("content", "") == kSpaceMark) spaces.is_sentencepiece = true;
    if (pattern.value("Regex", "") == " {2,}") spaces.remove_extra = true;
  }
}

std::string ReplaceAll(std::string text, std::string_view from, std::string_view to) {
  if (from.empty() || from == to) return text;
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

bool IsByteToken(std::string_view token) {
  return token.size() == 6 && token.starts_with("<0x") && token.ends_with(">");
}

std::pair<std::string, std::string> Halves(const json& merge, std::string_view name) {
  if (merge.is_array() && merge.size() == 2) return {merge[0].get<std::string>(), merge[1].get<std::string>()};
  const auto line = merge.get<std::string>();
  const size_t space = line.find(' ');
  if (space == std::string::npos) Fail(ErrorCode::kCorrupt, "{}: a merge is not two tokens", name);
  return {line.substr(0, space), line.substr(space + 1)};
}

/// Tokens by id; added ones by the type that their flags mean; gaps as unused padding.
void FillTokens(const json& tokenizer, int vocab, std::string_view name, VocabularyData& data) {
  const auto count = static_cast<size_t>(vocab);
  data.tokens.assign(count, {});
  data.types.assign(count, TokenType::kNormal);
  const auto place = [&](int64_t id) {
    if (id < 0 || id >= vocab) {
      Fail(ErrorCode::kCorrupt, "{}: token id {} is beyond the embedding's {} rows", name, id, vocab);
    }
    return static_cast<size_t>(id);
  };
  for (const auto& [token, id] : tokenizer["model"]["vocab"].items()) data.tokens[place(id.get<int64_t>())] = token;
  for (const json& added : tokenizer.value("added_tokens", json::array())) {
    const size_t id = place(added.value("id", int64_t{-1}));
    data.tokens[id] = added.value("content", "");
    data.types[id] = added.value("special", false) ? TokenType::kControl : TokenType::kUserDefined;
  }
  for (size_t id = 0; id < count; ++id) {
    if (!data.tokens[id].empty()) continue;
    data.tokens[id] = fmt::format("[PAD{}]", id);
    data.types[id] = TokenType::kUnused;
  }
}

/// Scores that make SentencePiece's rule (the best-scored neighbours join first) follow the order of the merges.
void FillScores(const json& tokenizer, const Spaces& spaces, std::string_view name, VocabularyData& data) {
  constexpr float kNever = -1e9f;
  std::vector<size_t> runs;  // how many merges in a row share a rank; none: each has its own
  if (tokenizer.contains("edgellm")) runs = tokenizer["edgellm"].value("equal_rank_runs", runs);
  std::map<std::string, float> scores;
  size_t run = 0, in_run = 0;
  for (const json& merge : tokenizer["model"]["merges"]) {
    const auto [left, right] = Halves(merge, name);
    scores.emplace(left + right, -static_cast<float>(run));
    if (run >= runs.size() || ++in_run == runs[run]) {
      ++run;
      in_run = 0;
    }
  }
  data.scores.assign(data.tokens.size(), 0.0f);
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    std::string& token = data.tokens[id];
    if (data.types[id] != TokenType::kNormal) continue;
    if (IsByteToken(token)) {
      data.types[id] = TokenType::kByte;
      continue;
    }
    const auto found = scores.find(token);
    const bool is_whole = static_cast<size_t>(utf8::Decode(token).length) == token.size();
    data.scores[id] = found != scores.end() ? found->second : (is_whole ? 0.0f : kNever);
    token = ReplaceAll(std::move(token), spaces.mark, kSpaceMark);
  }
}

}  // namespace

text::VocabularyData VocabularyForGguf(const std::string& tokenizer_json, int vocab, std::string_view name) {
  // As large as the largest tokenizers, several times over.
  const auto tokenizer = ParseJson<json>(tokenizer_json, name, {.max_values = 16'000'000});
  const auto built =
      text::Tokenizer::FromJson(tokenizer_json, name);  // refuses what the lines below rely on not to be there
  VocabularyData data;
  FillTokens(tokenizer, vocab, name, data);
  Spaces spaces;
  ReadSpaces(tokenizer.value("normalizer", json()), spaces);
  ReadSpaces(tokenizer.value("pre_tokenizer", json()), spaces);
  const json& model = tokenizer["model"];
  if (const json unknown = model.value("unk_token", json()); unknown.is_string()) {
    data.unknown = built.Find(unknown.get<std::string>());
  }
  data.bos = built.bos();
  data.eos = built.eos();
  data.add_bos = built.adds_bos();
  if (spaces.is_sentencepiece || model.value("byte_fallback", false)) {
    data.kind = VocabularyKind::kSentencePiece;
    data.add_space_prefix = spaces.prefix;
    data.remove_extra_whitespaces = spaces.remove_extra;
    if (data.unknown) data.types[static_cast<size_t>(*data.unknown)] = TokenType::kUnknown;
    FillScores(tokenizer, spaces, name, data);
    return data;
  }
  data.kind = VocabularyKind::kByteLevel;
  data.pre_tokenizer = PreTokenizerName(tokenizer, name);
  for (const json& merge : model["merges"]) {
    const auto [left, right] = Halves(merge, name);
    data.merges.push_back(left + " " + right);
  }
  return data;
}

}  // namespace edgellm
