// From the document of a tokenizer.json to TokenizerParts. Members that do not bear on ids (truncation, padding) are
// passed over.
#include <nlohmann/json.hpp>

#include "text/component_json.h"
#include "text/tokenizer_json.h"

namespace edgellm::text {
namespace {

using nlohmann::json;

std::string ComponentText(const json& root, const char* key) {
  const auto found = root.find(key);
  return found == root.end() ? "null" : found->dump();
}

int32_t ReadId(const json& value, std::string_view name) {
  if (!value.is_number_integer()) Fail(ErrorCode::kCorrupt, "{}: a token id is not a whole number", name);
  const auto id = value.get<int64_t>();
  if (id < 0 || id >= kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: absurd token id {}", name, id);
  return static_cast<int32_t>(id);
}

void ReadModel(const json& model, const RawTokenizerJson& raw, std::string_view name, TokenizerParts& parts) {
  const std::string type =
      model.contains("type") && !model["type"].is_null() ? StringMember(model, "type", name) : "BPE";
  if (type != "BPE") Fail(ErrorCode::kUnsupported, "{}: tokenizer model \"{}\" is not supported", name, type);
  if (raw.vocabulary_is_list) Fail(ErrorCode::kUnsupported, "{}: a vocabulary with scores (Unigram)", name);
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto found = model.find(key);
    if (found != model.end() && !found->is_null() &&
        !(found->is_string() && found->get_ref<const std::string&>().empty())) {
      Fail(ErrorCode::kUnsupported, "{}: BPE with \"{}\" is not supported", name, key);
    }
  }
  const auto dropout = model.find("dropout");
  if (dropout != model.end() && dropout->is_number() && dropout->get<double>() != 0) {
    Fail(ErrorCode::kUnsupported, "{}: BPE with dropout is not supported", name);
  }
  parts.byte_fallback = BoolMember(model, "byte_fallback", false, name);
  parts.fuse_unknown = BoolMember(model, "fuse_unk", false, name);
  parts.ignore_merges = BoolMember(model, "ignore_merges", false, name);
  const auto unknown = model.find("unk_token");
  if (unknown != model.end() && !unknown->is_null()) {
    const std::string spelling = StringMember(model, "unk_token", name);
    if (const int32_t id = raw.vocabulary.Find(spelling); id >= 0) parts.unknown = id;
  }
}

/// What tokenizer.json has no words for; see WriteTokenizerJson.
void ReadExtras(const json& extras, std::string_view name, TokenizerParts& parts) {
  if (!extras.is_object()) Fail(ErrorCode::kCorrupt, "{}: \"edgellm\" is not an object", name);
  if (extras.contains("bos")) parts.bos = ReadId(extras["bos"], name);
  if (extras.contains("eos")) parts.eos = ReadId(extras["eos"], name);
  if (extras.contains("vocab_size")) parts.vocab_size = ReadId(extras["vocab_size"], name);
  if (const auto runs = extras.find("equal_rank_runs"); runs != extras.end()) {
    uint32_t rank = 0;
    size_t at = 0;
    if (!runs->is_array()) Fail(ErrorCode::kCorrupt, "{}: \"equal_rank_runs\" is not a list", name);
    for (const json& run : *runs) {
      const uint64_t length = run.is_number_unsigned() ? run.get<uint64_t>() : 0;
      if (length == 0 || length > parts.merges.size() - at) {
        Fail(ErrorCode::kCorrupt, "{}: \"equal_rank_runs\" does not fit the merges", name);
      }
      for (size_t i = 0; i < length; ++i) parts.merges[at++].rank = rank;
      ++rank;
    }
    if (at != parts.merges.size()) Fail(ErrorCode::kCorrupt, "{}: \"equal_rank_runs\" does not fit the merges", name);
  }
  if (const auto verbatim = extras.find("verbatim"); verbatim != extras.end()) {
    if (!verbatim->is_array()) Fail(ErrorCode::kCorrupt, "{}: \"verbatim\" is not a list", name);
    std::vector<bool> is_verbatim(kMaxTokenId);
    for (const json& id : *verbatim) is_verbatim[static_cast<size_t>(ReadId(id, name))] = true;
    for (AddedToken& token : parts.added) token.verbatim = is_verbatim[static_cast<size_t>(token.id)];
  }
}

}  // namespace

AddedToken ReadAddedToken(const json& entry, int32_t id, std::string_view name) {
  if (!entry.is_object()) Fail(ErrorCode::kCorrupt, "{}: an added token is not an object", name);
  AddedToken token;
  token.id = id;
  token.content = StringMember(entry, "content", name);
  token.special = BoolMember(entry, "special", false, name);
  token.single_word = BoolMember(entry, "single_word", false, name);
  token.lstrip = BoolMember(entry, "lstrip", false, name);
  token.rstrip = BoolMember(entry, "rstrip", false, name);
  token.normalized = BoolMember(entry, "normalized", !token.special, name);
  return token;
}

TokenizerParts ReadTokenizerJson(std::string_view text, std::string_view name) {
  RawTokenizerJson raw;
  const json root = ParseTokenizerJson(text, name, false, raw);
  const auto model = root.find("model");
  if (!root.is_object() || model == root.end() || !model->is_object()) {
    Fail(ErrorCode::kCorrupt, "{}: no \"model\": not a tokenizer.json", name);
  }
  TokenizerParts parts;
  parts.name = name;
  ReadModel(*model, raw, name, parts);
  parts.merges = ResolveMerges(raw, name);
  parts.vocabulary = std::move(raw.vocabulary);
  if (const auto added = root.find("added_tokens"); added != root.end() && !added->is_null()) {
    if (!added->is_array()) Fail(ErrorCode::kCorrupt, "{}: \"added_tokens\" is not a list", name);
    for (const json& entry : *added) {
      if (!entry.is_object() || !entry.contains("id")) Fail(ErrorCode::kCorrupt, "{}: an added token has no id", name);
      parts.added.push_back(ReadAddedToken(entry, ReadId(entry["id"], name), name));
    }
  }
  parts.components = {ComponentText(root, "normalizer"), ComponentText(root, "pre_tokenizer"),
                      ComponentText(root, "post_processor"), ComponentText(root, "decoder")};
  if (const auto extras = root.find("edgellm"); extras != root.end()) ReadExtras(*extras, name, parts);
  return parts;
}

}  // namespace edgellm::text
