// See vocabulary_data.h: from a vocabulary in memory to TokenizerParts.
#include "text/vocabulary_data.h"

#include <algorithm>
#include <cmath>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_alphabet.h"
#include "text/known_pre_tokenizers.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

namespace edgellm::text {
namespace {

using nlohmann::json;

constexpr size_t kMaxTokenBytes = 4096;  // finding a token's splits is quadratic in its length; real ones end near 256

TokenType TypeOf(const VocabularyData& data, size_t id) {
  return data.types.empty() ? TokenType::kNormal : data.types[id];
}

void Check(const VocabularyData& data, std::string_view name) {
  const size_t count = data.tokens.size();
  if (count == 0) Fail(ErrorCode::kCorrupt, "{}: the vocabulary is empty", name);
  if (count >= kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: a vocabulary of {} tokens is absurd", name, count);
  if (!data.types.empty() && data.types.size() != count) {
    Fail(ErrorCode::kCorrupt, "{}: {} tokens but {} token types", name, count, data.types.size());
  }
  if (data.kind == VocabularyKind::kSentencePiece && data.scores.size() != count) {
    Fail(ErrorCode::kCorrupt, "{}: {} tokens but {} scores", name, count, data.scores.size());
  }
  if (std::ranges::any_of(data.scores, [](float score) { return std::isnan(score); })) {
    Fail(ErrorCode::kCorrupt, "{}: a token's score is not a number", name);
  }
  for (size_t id = 0; id < count; ++id) {
    if (data.tokens[id].size() > kMaxTokenBytes) {
      Fail(ErrorCode::kCorrupt, "{}: token {} has {} bytes", name, id, data.tokens[id].size());
    }
    if (data.kind != VocabularyKind::kByteRanks && !utf8::IsValid(data.tokens[id])) {
      Fail(ErrorCode::kCorrupt, "{}: token {} is not UTF-8", name, id);
    }
  }
  for (const auto& id : {data.bos, data.eos, data.unknown}) {
    if (id && (*id < 0 || static_cast<size_t>(*id) >= count)) {
      Fail(ErrorCode::kCorrupt, "{}: special token id {} is not in the vocabulary", name, *id);
    }
  }
}

/// Tokens go in as tokenizer.json would spell them; those of a special kind also become added tokens.
void FillTokens(const VocabularyData& data, TokenizerParts& parts) {
  for (size_t i = 0; i < data.tokens.size(); ++i) {
    const auto id = static_cast<int32_t>(i);
    const TokenType type = TypeOf(data, i);
    const bool is_special = type == TokenType::kControl || type == TokenType::kUnknown;
    if (data.tokens[i].empty()) continue;
    const bool spell = data.kind == VocabularyKind::kByteRanks && type == TokenType::kNormal;
    const std::string spelling = spell ? SpellBytes(data.tokens[i]) : data.tokens[i];
    if (parts.vocabulary.Add(id, spelling) == Vocabulary::AddResult::kTextTaken) {
      Fail(ErrorCode::kCorrupt, "{}: token \"{}\" has two ids, {} and {}", parts.name, spelling,
           parts.vocabulary.Find(spelling), id);
    }
    if (!is_special && type != TokenType::kUserDefined) continue;
    AddedToken token;
    token.id = id;
    token.content = spelling;
    token.special = is_special;
    token.normalized = token.verbatim = !is_special && data.match_user_defined_after_prefix;
    if (!token.verbatim && data.kind == VocabularyKind::kSentencePiece && !is_special) {
      token.content = ReplaceAll(token.content, data.space_mark, " ");
    }
    parts.added.push_back(std::move(token));
  }
}

/// Dense ranks, the best score first. Only normal tokens are built by joining; unused ones never are, and
/// SentencePiece's taking them apart again afterwards comes to the same but for tokens reached through unused ones.
std::vector<uint32_t> RanksOfScores(const VocabularyData& data) {
  std::vector<float> order;
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (TypeOf(data, id) == TokenType::kNormal) order.push_back(data.scores[id]);
  }
  std::sort(order.begin(), order.end(), std::greater<float>());
  order.erase(std::unique(order.begin(), order.end()), order.end());
  std::vector<uint32_t> ranks(data.tokens.size(), kNotMergeable);
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (TypeOf(data, id) != TokenType::kNormal) continue;
    const auto place = std::lower_bound(order.begin(), order.end(), data.scores[id], std::greater<float>());
    ranks[id] = static_cast<uint32_t>(place - order.begin());
  }
  return ranks;
}

void FillSentencePiece(const VocabularyData& data, TokenizerParts& parts) {
  const bool marked = data.space_mark != " ";
  const bool prefix = data.add_space_prefix.value_or(true);
  json steps = json::array();
  if (data.remove_extra_whitespaces) {
    // The lookbehind keeps the search for spaces at the end from starting anew at every space of a long run.
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", R"(\A +|(?<! ) +\z)"}}}, {"content", ""}});
    steps.push_back({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", " "}});
  }
  if (prefix) steps.push_back({{"type", "Prepend"}, {"prepend", data.space_mark}});
  if (marked) steps.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", data.space_mark}});
  if (!steps.empty()) parts.components.normalizer = json{{"type", "Sequence"}, {"normalizers", steps}}.dump();
  json decoders = json::array();
  if (marked) decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", data.space_mark}}}, {"content", " "}});
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  parts.components.decoder = json{{"type", "Sequence"}, {"decoders", decoders}}.dump();

  parts.byte_fallback = parts.vocabulary.Find("<0x00>") >= 0;
  parts.fuse_unknown = true;
  if (!parts.unknown) {
    const auto found = std::ranges::find(data.types, TokenType::kUnknown);
    if (found != data.types.end()) parts.unknown = static_cast<int32_t>(found - data.types.begin());
  }
  parts.merges = MergesFromRanks(parts.vocabulary, RanksOfScores(data), false);
}

void FillByteLevel(const VocabularyData& data, const KnownPreTokenizer& known, TokenizerParts& parts) {
  parts.components.normalizer = known.normalizer;
  parts.components.pre_tokenizer = known.pre_tokenizer;
  parts.components.decoder = R"({"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":true})";
  parts.ignore_merges = known.ignore_merges;
  if (data.kind == VocabularyKind::kByteLevel) {
    RawTokenizerJson raw;
    for (const std::string& merge : data.merges) AddMergeLine(merge, parts.name, raw);
    std::swap(raw.vocabulary, parts.vocabulary);
    parts.merges = ResolveMerges(raw, parts.name);
    std::swap(raw.vocabulary, parts.vocabulary);
    return;
  }
  parts.ignore_merges = true;  // tiktoken looks a piece up whole before it joins anything
  Vocabulary bytes;
  std::vector<uint32_t> ranks(data.tokens.size(), kNotMergeable);
  for (size_t id = 0; id < data.tokens.size(); ++id) {
    if (TypeOf(data, id) != TokenType::kNormal || data.tokens[id].empty()) continue;
    bytes.Add(static_cast<int32_t>(id), data.tokens[id]);
    ranks[id] = static_cast<uint32_t>(id);
  }
  ranks.resize(static_cast<size_t>(bytes.size()));
  parts.merges = MergesFromRanks(bytes, ranks, true);
}

}  // namespace

VocabularyKind VocabularyKindOfGguf(std::string_view model) {
  if (model == "llama") return VocabularyKind::kSentencePiece;
  if (model == "gpt2") return VocabularyKind::kByteLevel;
  Fail(ErrorCode::kUnsupported, "tokenizer model \"{}\" is not supported", model);
}

TokenizerParts PartsFromVocabulary(const VocabularyData& data, std::string_view name) {
  Check(data, name);
  TokenizerParts parts;
  parts.name = name;
  parts.vocab_size = static_cast<int32_t>(data.tokens.size());
  parts.unknown = data.unknown;
  parts.bos = data.bos;
  parts.eos = data.eos;
  FillTokens(data, parts);
  bool add_bos = true;
  if (data.kind == VocabularyKind::kSentencePiece) {
    FillSentencePiece(data, parts);
  } else {
    const KnownPreTokenizer known = FindPreTokenizer(data.pre_tokenizer, name);
    add_bos = known.add_bos;
    FillByteLevel(data, known, parts);
  }
  if (parts.unknown && !parts.vocabulary.Has(*parts.unknown)) parts.unknown.reset();
  parts.add_bos = data.add_bos.value_or(add_bos);
  parts.add_eos = data.add_eos.value_or(false);
  return parts;
}

Tokenizer Tokenizer::FromVocabulary(const VocabularyData& data, std::string_view name) {
  TokenizerParts parts = PartsFromVocabulary(data, name);
  PutBosEosAround(parts);
  return Tokenizer(BuildTokenizer(std::move(parts)));
}

}  // namespace edgellm::text
