// The pre-tokenisers that files name instead of spelling them out: GGUF's tokenizer.ggml.pre. Internal to text/.
#pragma once

#include <string>
#include <string_view>

namespace edgellm::text {

struct KnownPreTokenizer {
  std::string pre_tokenizer, normalizer;  // JSON of tokenizer.json's schema
  bool ignore_merges = false;
  bool add_bos = false;  // unless the file says otherwise
};

/// Throws Error(kUnsupported) for a name that is not known: a wrong guess would tokenise silently wrong.
KnownPreTokenizer FindPreTokenizer(std::string_view gguf_name, std::string_view file);

}  // namespace edgellm::text
