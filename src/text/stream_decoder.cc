// See stream_decoder.h.
#include "text/stream_decoder.h"

#include "base/utf8.h"

namespace edgellm::text {

StreamDecoder::StreamDecoder(const Tokenizer& tokenizer, bool spell_special, bool at_text_start)
    : tokenizer_(&tokenizer),
      spell_special_(spell_special),
      at_text_start_(at_text_start && tokenizer.strips_leading_space()) {}

std::string StreamDecoder::Push(TokenId id) {
  return PushBytes(tokenizer_->TokenBytes(id, spell_special_));
}

std::string StreamDecoder::PushBytes(std::string_view bytes) {
  if (bytes.empty()) return {};
  if (at_text_start_ && bytes.front() == ' ') bytes.remove_prefix(1);
  at_text_start_ = false;
  pending_ += bytes;
  const size_t complete = utf8::CompletePrefix(pending_);
  std::string text = utf8::Sanitize(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return text;
}

std::string StreamDecoder::Finish() {
  std::string text = utf8::Sanitize(pending_);
  pending_.clear();
  return text;
}

}  // namespace edgellm::text
