// Fuzzes the readers of tokenizer files and what the tokenizers they make do with text. The first byte chooses the
// reader. Whatever is read must encode to ids of its vocabulary, decode to UTF-8, and survive ToJson.
#include <array>
#include <cstdio>
#include <cstdlib>
#include <optional>
#include <string>

#include "../text/small_tokenizers.h"
#include "base/error.h"
#include "base/utf8.h"
#include "text/byte_files.h"
#include "text/stream_decoder.h"
#include "text/tokenizer.h"

namespace {

using edgellm::text::EncodeOptions;
using edgellm::text::Tokenizer;
using edgellm::text::VocabularyData;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

std::vector<edgellm::text::TokenId> CheckText(const Tokenizer& tokenizer, std::string_view text, bool parse_special) {
  const auto ids = tokenizer.Encode(text, {.add_special = parse_special, .parse_special = parse_special});
  std::string streamed;
  edgellm::text::StreamDecoder decoder(tokenizer);
  for (const auto id : ids) {
    Require(id >= 0 && id < tokenizer.vocab_size(), "an id outside the vocabulary");
    const std::string part = decoder.Push(id);
    Require(edgellm::utf8::IsValid(part), "streamed text is not UTF-8");
    streamed += part;
  }
  streamed += decoder.Finish();
  const std::string decoded = tokenizer.Decode(ids);
  Require(edgellm::utf8::IsValid(decoded), "decoded text is not UTF-8");
  Require(decoded == streamed, "streaming differs from decoding");
  return ids;
}

Tokenizer Read(uint8_t kind, std::string_view input) {
  const auto bytes = std::as_bytes(std::span(input.data(), input.size()));
  switch (kind % 4) {
    case 0:
      return Tokenizer::FromJson(input, "fuzz");
    case 1:
      return Tokenizer::FromVocabulary(edgellm::text::ReadSentencePiece(bytes, "fuzz"), "fuzz");
    case 2:
      return Tokenizer::FromVocabulary(edgellm::text::ReadTiktoken(input, "fuzz", true), "fuzz");
    default:
      return Tokenizer::FromVocabulary(edgellm::text::ReadLlama2c(bytes, "fuzz"), "fuzz");
  }
}

void FuzzReader(uint8_t kind, std::string_view input) {
  constexpr std::string_view kTexts[] = {"", " Hello  world\n12 \u00e9\U0001F999<s></s><unk>\u2581x",
                                         "aaaaaaabababab <|end|>"};
  std::optional<Tokenizer> tokenizer;
  try {
    tokenizer.emplace(Read(kind, input));
  } catch (const edgellm::Error&) {
    return;
  }
  const Tokenizer again = Tokenizer::FromJson(tokenizer->ToJson(), "again");
  Require(again.vocab_size() == tokenizer->vocab_size(), "ToJson changes the vocabulary's size");
  const std::array<std::string_view, 4> texts = {kTexts[0], kTexts[1], kTexts[2], input.substr(0, 300)};
  for (const std::string_view text : texts) {
    for (const bool parse_special : {false, true}) {
      try {
        Require(CheckText(*tokenizer, text, parse_special) == CheckText(again, text, parse_special),
                "ToJson changes ids");
      } catch (const edgellm::Error&) {
        // A normalizer that swells texts beyond its limit.
      }
    }
  }
}

void FuzzText(std::string_view text) {
  static const Tokenizer byte_level = Tokenizer::FromJson(edgellm::text::SmallByteLevelJson().dump(), "small");
  static const Tokenizer pieces = [] {
    const std::string bytes = edgellm::text::SentencePieceBytes(edgellm::text::SmallPieces("\u2581"));
    return Tokenizer::FromVocabulary(
        edgellm::text::ReadSentencePiece(std::as_bytes(std::span(bytes.data(), bytes.size())), "small"), "small");
  }();
  const std::string whole = edgellm::utf8::Sanitize(text);
  Require(byte_level.Decode(CheckText(byte_level, text, false)) == whole, "byte-level decoding does not undo encoding");
  if (whole.find("\u2581") == std::string::npos) {
    Require(pieces.Decode(CheckText(pieces, text, false)) == whole, "decoding does not undo encoding");
  }
  CheckText(byte_level, text, true);
  CheckText(pieces, text, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 5 == 4) {
    FuzzText(input);
  } else {
    FuzzReader(data[0] % 5, input);
  }
  return 0;
}
