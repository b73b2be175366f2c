// Two small formats of byte_files.h: tiktoken's lines of base64, and llama2.c's tok.bin.
#include <algorithm>
#include <charconv>
#include <iterator>
#include <utility>

#include "base/byte_reader.h"
#include "text/byte_files.h"
#include "text/token_decoder.h"
#include "text/vocabulary.h"

namespace edgellm::text {
namespace {

constexpr int32_t kLlama3Ranks = 128000;
constexpr int32_t kLlama3SpecialTokens = 256;

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  return c == '/' ? 63 : -1;
}

/// False where `text` is not base64 (RFC 4648, padded).
bool DecodeBase64(std::string_view text, std::string& bytes) {
  bytes.clear();
  if (text.empty() || text.size() % 4 != 0) return false;
  const size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  uint32_t bits = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const int digit = i < text.size() - padding ? Base64Digit(text[i]) : 0;
    if (digit < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(digit);
    if (i % 4 != 3) continue;
    for (const int shift : {16, 8, 0}) bytes.push_back(static_cast<char>(bits >> shift & 0xff));
    bits = 0;
  }
  bytes.resize(bytes.size() - padding);
  return true;
}

std::string_view TakeLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

bool ParseRankLine(std::string_view line, std::string& bytes, int32_t& rank) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return false;
  const char* end = line.data() + line.size();
  const auto [stop, error] = std::from_chars(line.data() + space + 1, end, rank);
  return error == std::errc() && stop == end && DecodeBase64(line.substr(0, space), bytes);
}

/// Llama 3's special tokens as Meta published them: these, and reserved ones in the gaps, numbered through.
void AddLlama3SpecialTokens(VocabularyData& data) {
  constexpr std::pair<int, std::string_view> kNamed[] = {
      {0, "<|begin_of_text|>"}, {1, "<|end_of_text|>"}, {6, "<|start_header_id|>"}, {7, "<|end_header_id|>"},
      {8, "<|eom_id|>"},        {9, "<|eot_id|>"},      {10, "<|python_tag|>"},     {4, "<|finetune_right_pad_id|>"}};
  int reserved = 0;
  for (int i = 0; i < kLlama3SpecialTokens; ++i) {
    const auto* named =
        std::find_if(std::begin(kNamed), std::end(kNamed), [&](const auto& entry) { return entry.first == i; });
    data.tokens.push_back(named != std::end(kNamed) ? std::string(named->second)
                                                    : fmt::format("<|reserved_special_token_{}|>", reserved++));
    data.types.push_back(TokenType::kControl);
  }
  data.bos = kLlama3Ranks;
  data.eos = kLlama3Ranks + 1;
}

}  // namespace

bool LooksLikeTiktoken(std::string_view text) {
  std::string bytes;
  int32_t rank = 0;
  return ParseRankLine(TakeLine(text), bytes, rank);
}

VocabularyData ReadTiktoken(std::string_view text, std::string_view name, bool add_known_special) {
  VocabularyData data;
  data.kind = VocabularyKind::kByteRanks;
  data.pre_tokenizer = "llama-bpe";
  std::string bytes;
  for (size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = TakeLine(text);
    int32_t rank = 0;
    if (line.empty()) continue;
    if (!ParseRankLine(line, bytes, rank))
      Fail(ErrorCode::kCorrupt, "{}: line {} is not \"base64 rank\"", name, number);
    if (rank < 0 || rank >= kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: absurd rank {} in line {}", name, rank, number);
    if (static_cast<size_t>(rank) >= data.tokens.size()) data.tokens.resize(static_cast<size_t>(rank) + 1);
    std::string& token = data.tokens[static_cast<size_t>(rank)];
    if (!token.empty()) Fail(ErrorCode::kCorrupt, "{}: rank {} is given twice (line {})", name, rank, number);
    token = bytes;
  }
  data.types.assign(data.tokens.size(), TokenType::kNormal);
  data.add_bos = true;
  if (add_known_special && data.tokens.size() == static_cast<size_t>(kLlama3Ranks)) AddLlama3SpecialTokens(data);
  return data;
}

VocabularyData ReadLlama2c(std::span<const std::byte> bytes, std::string_view name) {
  VocabularyData data;
  data.kind = VocabularyKind::kSentencePiece;
  data.space_mark = " ";
  ByteReader reader(bytes, std::string(name));
  const auto longest = reader.Read<int32_t>("max_token_length");
  while (reader.remaining() > 0) {
    const auto score = reader.Read<float>("a token's score");
    const auto length = reader.Read<int32_t>("a token's length");
    if (length < 0 || length > longest) {
      Fail(ErrorCode::kCorrupt, "{}: token {} has length {}, the longest is said to have {}", name, data.tokens.size(),
           length, longest);
    }
    if (data.tokens.size() >= kMaxTokenId) Fail(ErrorCode::kCorrupt, "{}: an absurd number of tokens", name);
    data.tokens.emplace_back(reader.TakeText(static_cast<size_t>(length), "a token's text"));
    data.scores.push_back(score);
  }
  // The format fixes the first ids: unknown, BOS, EOS, then the 256 bytes.
  constexpr size_t kFixed = 3 + 256;
  if (data.tokens.size() < kFixed) Fail(ErrorCode::kCorrupt, "{}: only {} tokens", name, data.tokens.size());
  data.types.assign(data.tokens.size(), TokenType::kNormal);
  for (const size_t id : {1, 2}) {  // "\n<s>\n" in the file: line breaks for printing, no part of the token's name
    std::string& text = data.tokens[id];
    if (text.size() > 2 && text.front() == '\n' && text.back() == '\n') text = text.substr(1, text.size() - 2);
  }
  data.types[0] = TokenType::kUnknown;
  data.types[1] = data.types[2] = TokenType::kControl;
  for (int byte = 0; byte < 256; ++byte) {
    const size_t id = 3 + static_cast<size_t>(byte);
    if (ByteOfSpelling(data.tokens[id]) != byte)
      Fail(ErrorCode::kCorrupt, "{}: token {} is not byte {}", name, id, byte);
    data.types[id] = TokenType::kByte;
  }
  data.unknown = 0;
  data.bos = 1;
  data.eos = 2;
  return data;
}

}  // namespace edgellm::text
