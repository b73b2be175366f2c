// The tokenizers of the shared data, by a name: each loaded once, from every kind of file there is.
#pragma once

#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/file.h"
#include "tests/shared_data.h"
#include "tests/text/gguf_vocab.h"
#include "text/byte_alphabet.h"
#include "text/tokenizer.h"
#include "text/vocabulary_data.h"

namespace edgellm::text {

/// Llama 3's vocabulary as GGUF carries it, put together from encoder.json and vocab.bpe.
inline Tokenizer Llama3FromMerges() {
  const auto folder = SharedData() / "tokenizers" / "llama3";
  VocabularyData data;
  data.kind = VocabularyKind::kByteLevel;
  data.pre_tokenizer = "llama-bpe";
  const Tokenizer plain = Tokenizer::FromPath(folder / "encoder.json");  // GPT-2's rules; only the vocabulary is of use
  for (TokenId id = 0; id < plain.vocab_size(); ++id) data.tokens.push_back(SpellBytes(plain.TokenBytes(id, true)));
  std::istringstream merges(ReadFile(folder / "vocab.bpe"));
  for (std::string line; std::getline(merges, line);) {
    if (!line.empty() && !line.starts_with("#version")) data.merges.push_back(line);
  }
  return Tokenizer::FromVocabulary(data, "llama3 merges");
}

inline const std::map<std::string, std::function<Tokenizer()>>& TokenizerSources() {
  const auto folder = [](const char* name) { return SharedData() / "tokenizers" / name; };
  const auto gguf = [](const char* name) { return SharedData() / "tokenizer_vectors" / name; };
  static const std::map<std::string, std::function<Tokenizer()>> sources = {
      {"gpt2_merges", [=] { return Tokenizer::FromPath(folder("gpt2")); }},
      {"gpt2_gguf", [=] { return TokenizerFromGguf(gguf("ggml-vocab-gpt-2.gguf")); }},
      {"llama3_tiktoken", [=] { return Tokenizer::FromPath(folder("llama3")); }},
      {"llama3_merges", [] { return Llama3FromMerges(); }},
      {"qwen2_merges", [=] { return Tokenizer::FromPath(folder("qwen2.5")); }},
      {"smollm_json", [=] { return Tokenizer::FromPath(folder("smollm")); }},
      {"llama2_json", [=] { return Tokenizer::FromPath(folder("llama2") / "tokenizer.json"); }},
      {"llama2_sentencepiece", [=] { return Tokenizer::FromPath(folder("llama2") / "tokenizer.model"); }},
      {"llama2_gguf", [=] { return TokenizerFromGguf(gguf("ggml-vocab-llama-spm.gguf")); }},
      {"phi3_gguf", [=] { return TokenizerFromGguf(gguf("ggml-vocab-phi-3.gguf")); }},
      {"stories_llama2c", [] { return Tokenizer::FromPath(SharedData() / "stories260k" / "tok512.bin"); }},
  };
  return sources;
}

inline const Tokenizer& TokenizerOf(const std::string& source) {
  static std::map<std::string, Tokenizer> loaded;
  const auto found = loaded.find(source);
  return found != loaded.end() ? found->second : loaded.emplace(source, TokenizerSources().at(source)()).first->second;
}

struct Vector {
  std::string text;
  std::vector<TokenId> ids;  // without BOS and EOS
};

/// A vector file pair: texts separated by a line, ids a line each.
inline std::vector<Vector> ReadVectors(const std::string& name) {
  const auto path = (SharedData() / "tokenizer_vectors" / ("ggml-vocab-" + name + ".gguf")).string();
  const std::string texts = ReadFile(path + ".inp");
  const std::string separator = "\n__ggml_vocab_test__\n";
  std::istringstream lines(ReadFile(path + ".out"));
  std::vector<Vector> vectors;
  size_t at = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t end = texts.find(separator, at);
    Vector vector{texts.substr(at, end - at), {}};
    at = end == std::string::npos ? texts.size() : end + separator.size();
    std::istringstream numbers(line);
    for (TokenId id; numbers >> id;) vector.ids.push_back(id);
    vectors.push_back(std::move(vector));
  }
  return vectors;
}

}  // namespace edgellm::text
