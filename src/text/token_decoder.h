// From tokens back to bytes: what one token stands for in running text. Built from the "decoder" of a tokenizer.json.
// Decoders work on single tokens here; what needs neighbours is only the space at a text's start, which is a flag.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace edgellm::text {

class TokenDecoder {
 public:
  TokenDecoder() = default;
  /// Throws Error: kCorrupt, kUnsupported (by name of the component).
  TokenDecoder(const nlohmann::json& config, std::string_view name);

  bool byte_level() const { return byte_level_; }
  /// One leading space of a text is not part of it.
  bool strips_leading_space() const { return strips_leading_space_; }

  /// The bytes of a token whose spelling is not in the byte alphabet.
  std::string Decode(std::string_view spelling) const;

 private:
  std::vector<std::pair<std::string, std::string>> replacements_;
  bool byte_level_ = false, byte_fallback_ = false, strips_leading_space_ = false;
};

/// The byte that "<0xE4>" spells, or -1.
int ByteOfSpelling(std::string_view spelling);

}  // namespace edgellm::text
