// tokenizer.json: read into TokenizerParts, written from a running tokenizer. Internal to text/.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/tokenizer_parts.h"

namespace edgellm::text {

/// Throws Error: kCorrupt, kUnsupported.
TokenizerParts ReadTokenizerJson(std::string_view json, std::string_view name);

/// Vocabulary and merges of a tokenizer.json come in hundreds of thousands of small strings: they go from the parser
/// into flat storage; only the rest becomes a document.
struct RawTokenizerJson {
  Vocabulary vocabulary;
  bool vocabulary_is_list = false;  // as Unigram models have it
  struct MergeText {
    size_t begin, middle, end;  // into merge_bytes: left is [begin, middle), right [middle, end)
  };
  std::string merge_bytes;
  std::vector<MergeText> merges;
};

/// Parses; returns the rest of the document. With `bare_vocabulary` the text is a vocab.json: one object of ids.
nlohmann::json ParseTokenizerJson(std::string_view json, std::string_view name, bool bare_vocabulary,
                                  RawTokenizerJson& raw);

/// Adds "left right" (a merges.txt line, or an element of "merges") to `raw`.
void AddMergeLine(std::string_view line, std::string_view name, RawTokenizerJson& raw);

/// Looks the merges' texts up; rank is the place in the list.
std::vector<Merge> ResolveMerges(const RawTokenizerJson& raw, std::string_view name);

/// One entry of "added_tokens", or of tokenizer_config.json's added_tokens_decoder (where the id is the key).
AddedToken ReadAddedToken(const nlohmann::json& entry, int32_t id, std::string_view name);

std::string WriteTokenizerJson(const TokenizerState& state);

}  // namespace edgellm::text
