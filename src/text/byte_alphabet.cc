// See byte_alphabet.h.
#include "text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "base/utf8.h"

namespace edgellm::text {
namespace {

/// Visible Latin-1 characters stand for themselves; the other 68 bytes get U+0100, U+0101, … in byte order.
constexpr std::array<char32_t, 256> kCharacterOfByte = [] {
  std::array<char32_t, 256> table{};
  char32_t next = 256;
  for (uint32_t byte = 0; byte < 256; ++byte) {
    const bool visible = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
    table[byte] = visible ? byte : next++;
  }
  return table;
}();

constexpr size_t kAlphabetEnd = 256 + 68;

constexpr std::array<int16_t, kAlphabetEnd> kByteOfCharacter = [] {
  std::array<int16_t, kAlphabetEnd> table{};
  for (auto& byte : table) byte = -1;
  for (uint32_t byte = 0; byte < 256; ++byte) table[kCharacterOfByte[byte]] = static_cast<int16_t>(byte);
  return table;
}();

}  // namespace

std::string SpellBytes(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size() + bytes.size() / 4);
  for (const char byte : bytes) utf8::Append(spelling, kCharacterOfByte[static_cast<uint8_t>(byte)]);
  return spelling;
}

bool UnspellBytes(std::string_view spelling, std::string& bytes) {
  bytes.clear();
  while (!spelling.empty()) {
    const utf8::Decoded decoded = utf8::Decode(spelling);
    if (decoded.state != utf8::Decoded::kWhole || decoded.code_point >= kAlphabetEnd) return false;
    const int16_t byte = kByteOfCharacter[decoded.code_point];
    if (byte < 0) return false;
    bytes.push_back(static_cast<char>(byte));
    spelling.remove_prefix(static_cast<size_t>(decoded.length));
  }
  return true;
}

}  // namespace edgellm::text
