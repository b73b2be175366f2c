// From TokenizerParts to TokenizerState: checks that the parts agree, turns spellings into bytes, decodes every token
// once.
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "text/byte_alphabet.h"
#include "text/component_json.h"
#include "text/tokenizer_parts.h"

namespace edgellm::text {
namespace {

constexpr size_t kMaxDecodedBytes = size_t{1} << 28;  // of all tokens together: a real vocabulary has two megabytes

nlohmann::json ParseComponent(const std::string& text, const TokenizerParts& parts) {
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (parsed.is_discarded()) Fail(ErrorCode::kCorrupt, "{}: a component is not valid JSON", parts.name);
  return parsed;
}

void CheckAddedTokens(TokenizerParts& parts) {
  std::unordered_map<std::string_view, int32_t> ids;
  std::unordered_map<int32_t, std::string_view> contents;
  for (const AddedToken& token : parts.added) {
    const auto fail = [&](const char* what) {
      Fail(ErrorCode::kCorrupt, "{}: added token {} ({}) {}", parts.name, token.id, token.content, what);
    };
    if (token.id < 0 || token.id >= kMaxTokenId) fail("has an absurd id");
    if (token.content.empty()) fail("is empty");
    if (const int32_t other = parts.vocabulary.Find(token.content); other >= 0 && other != token.id) {
      fail("has another id in the vocabulary");
    }
    if (!ids.emplace(token.content, token.id).second || !contents.emplace(token.id, token.content).second) {
      fail("is listed twice");
    }
  }
  for (const AddedToken& token : parts.added) {
    if (parts.vocabulary.Has(token.id)) {
      // GGUF and SentencePiece spell added tokens with ▁ where the text has a space; a real contradiction differs in
      // more.
      const std::string in_vocabulary = ReplaceAll(parts.vocabulary.Text(token.id), "\u2581", " ");
      if (ReplaceAll(token.content, "\u2581", " ") != in_vocabulary) {
        Fail(ErrorCode::kCorrupt, "{}: id {} is both \"{}\" in the vocabulary and the added token \"{}\"", parts.name,
             token.id, in_vocabulary, token.content);
      }
    }
  }
}

/// Ids before and after the text, from a post-processor.
void ReadPostProcessor(const nlohmann::json& config, const TokenizerParts& parts, TokenizerState& state) {
  const auto id_of = [&](const nlohmann::json& id) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= kMaxTokenId) {
      Fail(ErrorCode::kCorrupt, "{}: the post-processor adds a token with an absurd id", parts.name);
    }
    return id.get<int32_t>();
  };
  const auto read_pair = [&](const nlohmann::json& part, const char* key) {  // ["</s>", 2]
    const auto found = part.find(key);
    if (found == part.end() || !found->is_array() || found->size() != 2) {
      Fail(ErrorCode::kCorrupt, "{}: \"{}\" is missing in the post-processor", parts.name, key);
    }
    return id_of((*found)[1]);
  };
  const auto read_template = [&](const nlohmann::json& part) {
    const auto single = part.find("single");
    const auto special = part.find("special_tokens");
    if (single == part.end() || !single->is_array())
      Fail(ErrorCode::kCorrupt, "{}: template without \"single\"", parts.name);
    bool after = false;
    for (const auto& item : *single) {
      if (item.is_object() && item.contains("Sequence")) {
        after = true;
        continue;
      }
      if (!item.is_object() || !item.contains("SpecialToken") || special == part.end() || !special->is_object()) {
        Fail(ErrorCode::kCorrupt, "{}: a template item is neither Sequence nor SpecialToken", parts.name);
      }
      const auto token = special->find(StringMember(item.at("SpecialToken"), "id", parts.name));
      if (token == special->end() || !token->is_object() || !token->contains("ids") || !token->at("ids").is_array()) {
        Fail(ErrorCode::kCorrupt, "{}: a template names a token that it does not define", parts.name);
      }
      for (const auto& id : token->at("ids")) (after ? state.suffix : state.prefix).push_back(id_of(id));
    }
  };
  ForEachComponent(config, "processors", parts.name, [&](const std::string& type, const nlohmann::json& part) {
    if (type == "TemplateProcessing") {
      read_template(part);
    } else if (type == "RobertaProcessing" || type == "BertProcessing") {
      state.prefix.push_back(read_pair(part, "cls"));
      state.suffix.push_back(read_pair(part, "sep"));
    } else if (type != "ByteLevel") {  // ByteLevel there only moves offsets
      Fail(ErrorCode::kUnsupported, "{}: post-processor \"{}\" is not supported", parts.name, type);
    }
  });
}

/// The vocabulary that BPE runs on. Special tokens are in it by id only: plain text never becomes one.
Vocabulary RunningVocabulary(const TokenizerParts& parts, TokenizerState& state, bool byte_level) {
  Vocabulary running;
  running.Reserve(static_cast<size_t>(parts.vocabulary.size()), parts.vocabulary.text_bytes());
  std::string bytes;
  for (int32_t id = 0; id < parts.vocabulary.size(); ++id) {
    if (!parts.vocabulary.Has(id)) continue;
    const std::string_view spelling = parts.vocabulary.Text(id);
    const bool is_special = static_cast<size_t>(id) < state.special.size() && state.special[static_cast<size_t>(id)];
    if (is_special || (byte_level && !UnspellBytes(spelling, bytes))) {
      running.Add(id, spelling, false);
      state.other_spellings.emplace(spelling, id);
    } else {
      running.Add(id, byte_level ? std::string_view(bytes) : spelling);
    }
  }
  return running;
}

BpeModel BuildModel(const TokenizerParts& parts, TokenizerState& state, bool byte_level) {
  BpeModel::Options options{.byte_level = byte_level,
                            .byte_fallback = parts.byte_fallback,
                            .fuse_unknown = parts.fuse_unknown,
                            .ignore_merges = parts.ignore_merges,
                            .unknown = parts.unknown.value_or(-1)};
  if (parts.unknown && !parts.vocabulary.Has(*parts.unknown)) {
    Fail(ErrorCode::kCorrupt, "{}: the unknown token's id {} is not in the vocabulary", parts.name, *parts.unknown);
  }
  Vocabulary running = RunningVocabulary(parts, state, byte_level);
  options.byte_ids.fill(-1);
  for (int byte = 0; byte < 256; ++byte) {
    const char character = static_cast<char>(byte);
    options.byte_ids[static_cast<size_t>(byte)] =
        byte_level ? running.Find({&character, 1}) : parts.vocabulary.Find(fmt::format("<0x{:02X}>", byte));
  }
  std::vector<Merge> merges = parts.merges;
  const auto names_special = [&](const Merge& merge) {
    return std::ranges::any_of(std::array{merge.left, merge.right, merge.result},
                               [&](int32_t id) { return state.special[static_cast<size_t>(id)]; });
  };
  std::erase_if(merges, names_special);
  return BpeModel(std::move(running), merges, options);
}

void DecodeTexts(const TokenizerParts& parts, const TokenDecoder& decoder, bool byte_level, TokenizerState& state) {
  const Vocabulary& running = state.model.vocabulary();
  std::vector<const AddedToken*> added(static_cast<size_t>(state.vocab_size), nullptr);
  for (const AddedToken& token : state.added) added[static_cast<size_t>(token.id)] = &token;
  state.texts.Reserve(0, running.text_bytes());
  size_t total = 0;
  for (int32_t id = 0; id < state.vocab_size; ++id) {
    if (const AddedToken* token = added[static_cast<size_t>(id)]; token != nullptr) {
      state.texts.Add(id, token->content, false);
    } else if (running.Has(id)) {
      const std::string_view text = running.Text(id);
      const bool is_bytes = byte_level && running.Find(text) == id;
      const std::string decoded = is_bytes ? std::string(text) : decoder.Decode(text);
      total += decoded.size();
      if (total > kMaxDecodedBytes) Fail(ErrorCode::kLimit, "{}: the tokens decode to too much text", parts.name);
      state.texts.Add(id, decoded, false);
    }
  }
}

void GuessBosEos(const TokenizerParts& parts, TokenizerState& state) {
  state.bos = parts.bos;
  state.eos = parts.eos;
  if (!state.bos && !state.prefix.empty()) state.bos = state.prefix.front();
  if (!state.eos && !state.suffix.empty()) state.eos = state.suffix.back();
  for (const char* spelling : {"</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"}) {
    if (state.eos) break;
    const auto found = state.other_spellings.find(spelling);
    if (found != state.other_spellings.end() && state.special[static_cast<size_t>(found->second)])
      state.eos = found->second;
  }
  for (const auto& id : {state.bos, state.eos}) {
    if (id && (*id < 0 || *id >= state.vocab_size)) {
      Fail(ErrorCode::kCorrupt, "{}: BOS or EOS id {} is not in the vocabulary", parts.name, *id);
    }
  }
}

void FillMatchers(TokenizerState& state) {
  for (const AddedToken& token : state.added) {
    // Special tokens marked "normalized" are found in the raw text all the same: under the literal reading, Llama 2's
    // "</s>" would be a token only after a space, which no chat prompt has.
    if (!token.normalized || token.special) {
      state.raw_matcher.Add(token.content, token);
    } else if (const std::string spelling = token.verbatim ? token.content : state.normalizer.Apply(token.content);
               !spelling.empty()) {
      state.normalized_matcher.Add(spelling, token);
    }
  }
}

}  // namespace

std::unique_ptr<const TokenizerState> BuildTokenizer(TokenizerParts parts) {
  CheckAddedTokens(parts);
  auto state = std::make_unique<TokenizerState>();
  state->normalizer = Normalizer(ParseComponent(parts.components.normalizer, parts), parts.name);
  state->pre_tokenizer = PreTokenizer(ParseComponent(parts.components.pre_tokenizer, parts), parts.name);
  const TokenDecoder decoder(ParseComponent(parts.components.decoder, parts), parts.name);
  const bool byte_level = state->pre_tokenizer.byte_level() || decoder.byte_level();

  state->vocab_size = std::max({parts.vocabulary.size(), parts.vocab_size, int32_t{0}});
  for (const AddedToken& token : parts.added) state->vocab_size = std::max(state->vocab_size, token.id + 1);
  if (state->vocab_size == 0) Fail(ErrorCode::kCorrupt, "{}: the vocabulary is empty", parts.name);
  if (state->vocab_size > kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: absurd vocabulary size", parts.name);
  state->special.resize(static_cast<size_t>(state->vocab_size));
  for (const AddedToken& token : parts.added) {
    state->special[static_cast<size_t>(token.id)] = token.special;
    state->other_spellings[token.content] = token.id;
  }
  state->model = BuildModel(parts, *state, byte_level);
  state->added = std::move(parts.added);
  state->components = std::move(parts.components);
  FillMatchers(*state);
  DecodeTexts(parts, decoder, byte_level, *state);
  ReadPostProcessor(ParseComponent(state->components.post_processor, parts), parts, *state);
  for (const auto* around : {&state->prefix, &state->suffix}) {
    for (const int32_t id : *around) {
      if (!state->texts.Has(id)) Fail(ErrorCode::kCorrupt, "{}: the post-processor adds unknown id {}", parts.name, id);
    }
  }
  GuessBosEos(parts, *state);
  state->strips_leading_space = decoder.strips_leading_space();
  return state;
}

std::vector<Merge> MergesFromRanks(const Vocabulary& vocabulary, const std::vector<uint32_t>& ranks, bool at_bytes) {
  std::vector<Merge> merges;
  const auto mergeable = [&](int32_t id) { return id >= 0 && ranks[static_cast<size_t>(id)] != kNotMergeable; };
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    if (!mergeable(id)) continue;
    const std::string_view text = vocabulary.Text(id);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      if (!at_bytes && (static_cast<uint8_t>(text[cut]) & 0xc0) == 0x80) continue;
      const int32_t left = vocabulary.Find(text.substr(0, cut));
      if (!mergeable(left)) continue;
      const int32_t right = vocabulary.Find(text.substr(cut));
      if (mergeable(right)) merges.push_back({left, right, id, ranks[static_cast<size_t>(id)]});
    }
  }
  return merges;
}

std::string_view SpellingOf(const TokenizerParts& parts, int32_t id) {
  if (parts.vocabulary.Has(id)) return parts.vocabulary.Text(id);
  const auto found = std::ranges::find(parts.added, id, &AddedToken::id);
  return found != parts.added.end() ? std::string_view(found->content) : std::string_view();
}

void PutBosEosAround(TokenizerParts& parts) {
  nlohmann::json single = nlohmann::json::array(), pair = nlohmann::json::array(), tokens = nlohmann::json::object();
  const auto put = [&](bool wanted, std::optional<int32_t> id, int type) {
    const std::string text(id ? SpellingOf(parts, *id) : "");
    if (!wanted || text.empty()) return;
    const nlohmann::json item = {{"SpecialToken", {{"id", text}, {"type_id", type}}}};
    if (type == 0) single.push_back(item);
    pair.push_back(item);
    tokens[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
  };
  put(parts.add_bos, parts.bos, 0);
  single.push_back({{"Sequence", {{"id", "A"}, {"type_id", 0}}}});
  pair.push_back(single.back());
  put(parts.add_eos, parts.eos, 0);
  put(parts.add_bos, parts.bos, 1);
  pair.push_back({{"Sequence", {{"id", "B"}, {"type_id", 1}}}});
  put(parts.add_eos, parts.eos, 1);
  if (tokens.empty()) return;
  parts.components.post_processor = nlohmann::json{
      {"type", "TemplateProcessing"},
      {"single", single},
      {"pair", pair},
      {"special_tokens", tokens}}.dump();
}

}  // namespace edgellm::text
