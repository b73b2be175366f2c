// A running tokenizer as tokenizer.json. What that schema cannot say goes into a member "edgellm", which others ignore:
//   bos, eos          ids
//   vocab_size        where the last ids have no text
//   equal_rank_runs   lengths of runs of merges that share one rank (scores with ties, or two ways to build one token):
//   the
//                     leftmost goes first there, while the schema's own rule is the order of the list
//   verbatim          ids of added tokens that are spelled as the normalised text is
#include <algorithm>

#include <nlohmann/json.hpp>

#include "text/byte_alphabet.h"
#include "text/tokenizer_json.h"

namespace edgellm::text {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

std::string Spelling(const BpeModel& model, int32_t id) {
  const std::string_view text = model.vocabulary().Text(id);
  return model.options().byte_level && model.vocabulary().Find(text) == id ? SpellBytes(text) : std::string(text);
}

std::string VocabularyText(const BpeModel& model) {
  std::string out = "{";
  for (int32_t id = 0; id < model.vocabulary().size(); ++id) {
    if (!model.vocabulary().Has(id)) continue;
    if (out.size() > 1) out += ",\n      ";
    out.append(json(Spelling(model, id)).dump()).append(": ").append(std::to_string(id));
  }
  return out + "}";
}

/// "left right" as all versions of the schema know it, or pairs where a token contains a space.
std::string MergesText(const BpeModel& model, const std::vector<Merge>& merges) {
  const bool spaces = std::ranges::any_of(
      merges, [&](const Merge& merge) { return Spelling(model, merge.result).find(' ') != std::string::npos; });
  std::string out = "[";
  for (const Merge& merge : merges) {
    if (out.size() > 1) out += ",\n      ";
    const std::string left = Spelling(model, merge.left), right = Spelling(model, merge.right);
    out += spaces ? json({left, right}).dump() : json(left + " " + right).dump();
  }
  return out + "]";
}

ordered_json AddedTokens(const TokenizerState& state) {
  ordered_json list = ordered_json::array();
  for (const AddedToken& token : state.added) {
    list.push_back({{"id", token.id},
                    {"content", token.content},
                    {"single_word", token.single_word},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"normalized", token.normalized},
                    {"special", token.special}});
  }
  return list;
}

json Extras(const TokenizerState& state, const std::vector<Merge>& merges) {
  json extras = json::object();
  if (state.bos) extras["bos"] = *state.bos;
  if (state.eos) extras["eos"] = *state.eos;
  extras["vocab_size"] = state.vocab_size;
  json runs = json::array();
  for (size_t begin = 0; begin < merges.size();) {
    size_t end = begin;
    while (end < merges.size() && merges[end].rank == merges[begin].rank) ++end;
    runs.push_back(end - begin);
    begin = end;
  }
  if (runs.size() != merges.size()) extras["equal_rank_runs"] = std::move(runs);
  json verbatim = json::array();
  for (const AddedToken& token : state.added) {
    if (token.verbatim) verbatim.push_back(token.id);
  }
  if (!verbatim.empty()) extras["verbatim"] = std::move(verbatim);
  return extras;
}

}  // namespace

std::string WriteTokenizerJson(const TokenizerState& state) {
  const BpeModel& model = state.model;
  const std::vector<Merge> merges = model.merges().Sorted();
  const int32_t unknown = model.options().unknown;
  std::string out = "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n";
  const auto member = [&](const char* key, const std::string& value) {
    out.append("  \"").append(key).append("\": ").append(value).append(",\n");
  };
  member("added_tokens", AddedTokens(state).dump());
  member("normalizer", state.components.normalizer);
  member("pre_tokenizer", state.components.pre_tokenizer);
  member("post_processor", state.components.post_processor);
  member("decoder", state.components.decoder);
  const json model_members = {{"unk_token", unknown < 0 ? json(nullptr) : json(Spelling(model, unknown))},
                              {"byte_fallback", model.options().byte_fallback},
                              {"fuse_unk", model.options().fuse_unknown},
                              {"ignore_merges", model.options().ignore_merges}};
  std::string flags = model_members.dump();
  flags = flags.substr(1, flags.size() - 2);
  member("model", "{\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"continuing_subword_prefix\": null,\n" +
                      std::string("    \"end_of_word_suffix\": null,\n    ") + flags + ",\n    \"vocab\": " +
                      VocabularyText(model) + ",\n    \"merges\": " + MergesText(model, merges) + "\n  }");
  out.append("  \"edgellm\": ").append(Extras(state, merges).dump()).append("\n}\n");
  return out;
}

}  // namespace edgellm::text
