// Tokenizer::FromPath: finds the files of a tokenizer in a folder, tells the formats apart, and lets
// tokenizer_config.json name what the vocabulary files leave out.
#include <algorithm>
#include <charconv>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "text/byte_files.h"
#include "text/component_json.h"
#include "text/known_pre_tokenizers.h"
#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

namespace edgellm::text {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kMaxConfigBytes = 16 << 20;

/// What a tokenizer_config.json says that matters here.
struct Config {
  bool present = false;
  std::string tokenizer_class;
  std::optional<std::string> bos, eos;
  std::optional<bool> add_bos, add_eos;
  std::vector<AddedToken> added;
};

/// A token in a config: its spelling, or an object with it.
std::optional<std::string> TokenMember(const json& config, const char* key, std::string_view name) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::nullopt;
  return found->is_object() ? StringMember(*found, "content", name) : StringMember(config, key, name);
}

std::optional<bool> OptionalBool(const json& config, const char* key, std::string_view name) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return std::nullopt;
  return BoolMember(config, key, false, name);
}

Config ReadConfig(const fs::path& folder) {
  const fs::path path = folder / "tokenizer_config.json";
  if (!fs::exists(path)) return {};
  const std::string name = path.string();
  const json root = json::parse(ReadFile(path, kMaxConfigBytes), nullptr, false);
  if (!root.is_object()) Fail(ErrorCode::kCorrupt, "{}: not a JSON object", name);
  Config config;
  config.present = true;
  if (root.contains("tokenizer_class")) config.tokenizer_class = StringMember(root, "tokenizer_class", name);
  config.bos = TokenMember(root, "bos_token", name);
  config.eos = TokenMember(root, "eos_token", name);
  config.add_bos = OptionalBool(root, "add_bos_token", name);
  config.add_eos = OptionalBool(root, "add_eos_token", name);
  const auto added = root.find("added_tokens_decoder");
  if (added == root.end() || added->is_null()) return config;
  if (!added->is_object()) Fail(ErrorCode::kCorrupt, "{}: \"added_tokens_decoder\" is not an object", name);
  for (const auto& [key, entry] : added->items()) {
    int32_t id = -1;
    const auto [stop, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || stop != key.data() + key.size() || id < 0 || id >= kMaxTokenId) {
      Fail(ErrorCode::kCorrupt, "{}: \"{}\" is not a token id", name, key);
    }
    config.added.push_back(ReadAddedToken(entry, id, name));
  }
  return config;
}

std::optional<int32_t> FindToken(const TokenizerParts& parts, const std::string& spelling) {
  const auto found = std::ranges::find(parts.added, spelling, &AddedToken::content);
  if (found != parts.added.end()) return found->id;
  const int32_t id = parts.vocabulary.Find(spelling);
  return id >= 0 ? std::optional(id) : std::nullopt;
}

/// With `config_decides`, an added token that both name is the config's.
void AddTokens(const std::vector<AddedToken>& tokens, bool config_decides, TokenizerParts& parts) {
  for (const AddedToken& token : tokens) {
    const auto same_id = std::ranges::find(parts.added, token.id, &AddedToken::id);
    if (same_id == parts.added.end()) {
      if (!FindToken(parts, token.content) || parts.vocabulary.Find(token.content) == token.id)
        parts.added.push_back(token);
    } else if (config_decides) {
      *same_id = token;
    }
  }
}

void ApplyConfig(const Config& config, bool config_decides, TokenizerParts& parts) {
  AddTokens(config.added, config_decides, parts);
  if (config.bos) parts.bos = FindToken(parts, *config.bos);
  if (config.eos) parts.eos = FindToken(parts, *config.eos);
  if (config.add_bos) parts.add_bos = *config.add_bos;
  if (config.add_eos) parts.add_eos = *config.add_eos;
  if (parts.components.post_processor == "null") PutBosEosAround(parts);
}

TokenizerParts FromTokenizerJson(const fs::path& path) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  return ReadTokenizerJson({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, path.string());
}

/// vocab.json with merges.txt, as GPT-2's descendants were published before tokenizer.json.
TokenizerParts FromVocabularyAndMerges(const fs::path& vocabulary_path, const fs::path& merges_path,
                                       const Config& config) {
  const std::string name = vocabulary_path.string();
  RawTokenizerJson raw;
  ParseTokenizerJson(ReadFile(vocabulary_path), name, true, raw);
  const std::string merges = ReadFile(merges_path);
  std::string_view rest = merges;
  for (bool first = true; !rest.empty(); first = false) {
    std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(rest.size(), line.size() + 1));
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (first && line.starts_with("#version"))) continue;
    AddMergeLine(line, merges_path.string(), raw);
  }
  const std::string& kind = config.tokenizer_class;
  if (!kind.empty() && !kind.starts_with("GPT2Tokenizer") && !kind.starts_with("Qwen2Tokenizer")) {
    Fail(ErrorCode::kUnsupported, "{}: tokenizer class \"{}\" without a tokenizer.json", name, kind);
  }
  const KnownPreTokenizer known = FindPreTokenizer(kind.starts_with("Qwen2") ? "qwen2" : "gpt-2", name);
  TokenizerParts parts;
  parts.name = name;
  parts.merges = ResolveMerges(raw, merges_path.string());
  parts.vocabulary = std::move(raw.vocabulary);
  parts.components.normalizer = known.normalizer;
  parts.components.pre_tokenizer = known.pre_tokenizer;
  parts.components.decoder = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  if (const int32_t id = parts.vocabulary.Find("<|endoftext|>"); id >= 0 && config.added.empty()) {
    // GPT-2's own files come without a config; this is its only special token.
    parts.added.push_back({.id = id, .content = "<|endoftext|>", .special = true});
    parts.bos = parts.eos = id;
  }
  return parts;
}

TokenizerParts FromModelFile(const fs::path& path, const Config& config) {
  const MappedFile file(path);
  const auto bytes = file.bytes();
  const std::string name = path.string();
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (path.extension() == ".bin") return PartsFromVocabulary(ReadLlama2c(bytes, name), name);
  if (!LooksLikeTiktoken(text)) return PartsFromVocabulary(ReadSentencePiece(bytes, name), name);
  std::vector<AddedToken> beside = config.added;
  if (beside.empty() && fs::exists(path.parent_path() / "tokenizer.json")) {
    beside = FromTokenizerJson(path.parent_path() / "tokenizer.json").added;
  }
  TokenizerParts parts = PartsFromVocabulary(ReadTiktoken(text, name, beside.empty()), name);
  AddTokens(beside, true, parts);
  if (!parts.bos) parts.bos = FindToken(parts, "<|begin_of_text|>");
  if (!parts.eos) parts.eos = FindToken(parts, "<|end_of_text|>");
  return parts;
}

/// The file of a folder that holds its tokenizer.
fs::path ChooseFile(const fs::path& folder) {
  for (const char* file : {"tokenizer.json", "tokenizer.model", "vocab.json", "encoder.json"}) {
    if (fs::exists(folder / file)) return folder / file;
  }
  Fail(ErrorCode::kNotFound, "{}: no tokenizer.json, tokenizer.model, vocab.json or encoder.json", folder.string());
}

}  // namespace

Tokenizer Tokenizer::FromPath(const fs::path& path) {
  const fs::path file = fs::is_directory(path) ? ChooseFile(path) : path;
  const std::string filename = file.filename().string();
  const fs::path folder = file.parent_path();
  const bool is_json = file.extension() == ".json";
  const bool is_vocabulary = filename == "vocab.json" || filename == "encoder.json";
  // tok*.bin and a tokenizer.json given by another name stand alone: a config beside them belongs to something else.
  const bool has_config = is_vocabulary || filename == "tokenizer.json" || filename == "tokenizer.model";
  const Config config = has_config ? ReadConfig(folder) : Config{};
  TokenizerParts parts;
  if (is_vocabulary) {
    parts = FromVocabularyAndMerges(file, folder / (filename == "vocab.json" ? "merges.txt" : "vocab.bpe"), config);
  } else {
    parts = is_json ? FromTokenizerJson(file) : FromModelFile(file, config);
  }
  ApplyConfig(config, !is_json || is_vocabulary, parts);
  return Tokenizer(BuildTokenizer(std::move(parts)));
}

}  // namespace edgellm::text
