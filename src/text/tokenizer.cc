// See tokenizer.h. The order of things in Encode: added tokens in the raw text, then for what lies between them
// normalising, added tokens in the normalised text, pre-tokenising, byte-pair encoding.
#include "text/tokenizer.h"

#include <algorithm>

#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer_json.h"
#include "text/tokenizer_parts.h"

namespace edgellm::text {
namespace {

struct EncodeRun {
  const TokenizerState& state;
  bool parse_special;
  std::vector<TokenId>& ids;
  Pieces pieces{};
  BpeScratch scratch{};

  void Pretokenized(std::string_view text, bool at_start) {
    state.pre_tokenizer.Run(text, at_start, pieces);
    for (const std::string_view piece : pieces.list) state.model.Encode(piece, scratch, ids);
  }

  void Normalized(std::string_view text, bool at_start) {
    Split(state.normalized_matcher, text,
          [&](std::string_view part, size_t begin) { Pretokenized(part, at_start && begin == 0); });
  }

  void Raw(std::string_view text) {
    Split(state.raw_matcher, text, [&](std::string_view part, size_t begin) {
      if (state.normalizer.empty()) return Normalized(part, begin == 0);
      Normalized(state.normalizer.Apply(part), begin == 0);
    });
  }

  /// Calls `between` for what lies between the tokens that `matcher` finds.
  template <typename Between>
  void Split(const TokenMatcher& matcher, std::string_view text, const Between& between) {
    size_t done = 0;
    while (!matcher.empty() && done < text.size()) {
      const auto found = matcher.Next(text, done, parse_special);
      if (!found) break;
      if (found->begin > done) between(text.substr(done, found->begin - done), done);
      ids.push_back(found->id);
      done = found->end;
    }
    if (done < text.size()) between(text.substr(done), done);
  }
};

}  // namespace

Tokenizer Tokenizer::FromJson(std::string_view json, std::string_view name) {
  return Tokenizer(BuildTokenizer(ReadTokenizerJson(json, name)));
}

Tokenizer::Tokenizer(std::unique_ptr<const TokenizerState> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

std::vector<TokenId> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::string sanitized;
  if (!utf8::IsValid(text)) text = sanitized = utf8::Sanitize(text);
  std::vector<TokenId> ids;
  if (options.add_special) ids = state_->prefix;
  EncodeRun{*state_, options.parse_special, ids}.Raw(text);
  if (options.add_special) ids.insert(ids.end(), state_->suffix.begin(), state_->suffix.end());
  return ids;
}

std::string_view Tokenizer::TokenBytes(TokenId id, bool spell_special) const {
  return IsSpecial(id) && !spell_special ? std::string_view() : state_->texts.Text(id);
}

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool spell_special) const {
  std::string text;
  for (const TokenId id : ids) text += TokenBytes(id, spell_special);
  if (state_->strips_leading_space && text.starts_with(' ')) text.erase(0, 1);
  return utf8::IsValid(text) ? text : utf8::Sanitize(text);
}

int Tokenizer::vocab_size() const {
  return state_->vocab_size;
}

std::optional<TokenId> Tokenizer::Find(std::string_view spelling) const {
  const auto other = state_->other_spellings.find(std::string(spelling));
  if (other != state_->other_spellings.end()) return other->second;
  TokenId id = -1;
  if (!state_->model.options().byte_level) {
    id = state_->model.vocabulary().Find(spelling);
  } else if (std::string bytes; UnspellBytes(spelling, bytes)) {
    id = state_->model.vocabulary().Find(bytes);
  }
  return id >= 0 ? std::optional(id) : std::nullopt;
}

bool Tokenizer::IsSpecial(TokenId id) const {
  return id >= 0 && id < state_->vocab_size && state_->special[static_cast<size_t>(id)];
}

std::optional<TokenId> Tokenizer::bos() const {
  return state_->bos;
}
std::optional<TokenId> Tokenizer::eos() const {
  return state_->eos;
}

bool Tokenizer::adds_bos() const {
  return state_->bos && !state_->prefix.empty() && state_->prefix.front() == *state_->bos;
}

bool Tokenizer::strips_leading_space() const {
  return state_->strips_leading_space;
}

std::string Tokenizer::ToJson() const {
  return WriteTokenizerJson(*state_);
}

}  // namespace edgellm::text
