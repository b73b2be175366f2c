// How long a token mask takes: walks documents of several grammars token by token, as a model's answers would be, over
// a real vocabulary, and prints the time of Allowed() and of Accept().
//
//   mask_bench TOKENIZER [ROUNDS]     TOKENIZER: what Tokenizer::FromPath reads
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "constrain/gbnf.h"
#include "constrain/json_schema.h"
#include "constrain/token_matcher.h"

namespace edgellm::constrain {
namespace {

struct Workload {
  const char* name;
  Grammar grammar;
  std::vector<std::string> texts;
};

std::vector<Workload> Workloads() {
  const char* person = R"({"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer","minimum":0,
    "maximum":150},"email":{"type":"string","format":"email"},"role":{"enum":["admin","editor","reader"]},
    "tags":{"type":"array","items":{"type":"string"},"maxItems":8},"address":{"type":"object","properties":{
    "street":{"type":"string"},"city":{"type":"string"},"zip":{"type":"string","pattern":"^[0-9]{5}$"}},
    "required":["street","city"],"additionalProperties":false},"born":{"type":"string","format":"date"}},
    "required":["name","age"],"additionalProperties":false})";
  const char* bounded = R"({"type":"object","properties":{"title":{"type":"string","maxLength":100},
    "summary":{"type":"string","minLength":20,"maxLength":400}},"required":["title","summary"]})";
  const char* tree =
      R"({"$defs":{"node":{"type":"object","properties":{"value":{"type":"number"},"label":{"type":"string"},
    "children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["value","children"]}},"$ref":"#/$defs/node"})";
  const std::string document =
      R"({"name": "Grete Hermann, née Müller", "age": 41, "email": "grete.h@example.org", "role": "editor",)"
      "\n  \"tags\": [\"philosophy\", \"algebra\", \"量子力学\"], \"address\": {\"street\": \"Am Markt "
      "7\\nHinterhaus\", "
      R"("city": "Bremen", "zip": "28195"}, "born": "1901-03-02"})";
  return {
      {"JSON mode",
       JsonGrammar(),
       {document, R"({"a": [1, 2.5, -3e10, {"deep": [[["x"], null], true]}], "b": "text with \"quotes\""})"}},
      {"schema: person", CompileJsonSchemaText(person), {document}},
      {"schema: bounded strings",
       CompileJsonSchemaText(bounded),
       {R"({"title": "A short history of the bicycle in ten chapters", "summary": "From the running machine of Karl Drais to the)"
        R"( safety bicycle, and on to the racing machines of today: who built them, who rode them, and why they did."})"}},
      {"schema: recursive",
       CompileJsonSchemaText(tree),
       {R"({"value": 1, "label": "root", "children": [{"value": 2.5, "children": []}, {"value": -3, "label": "b", "children": [)"
        R"({"value": 4, "children": [{"value": 5, "children": []}]}]}]})"}},
      {"GBNF: arithmetic",
       ParseGbnf("root ::= (expr \"=\" ws term \"\\n\")+\nexpr ::= term ([-+*/] term)*\n"
                 "term ::= ident | num | \"(\" ws expr \")\" ws\nident ::= [a-z] [a-z0-9_]* ws\n"
                 "num ::= [0-9]+ ws\nws ::= [ \\t\\n]*",
                 "g"),
       {"(alpha +12) *beta = 7\n(x*(y+(z /3)))-w=result_1\n"}},
  };
}

double Microseconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double, std::micro>(duration).count();
}

std::string Percentiles(std::vector<double>& times) {
  std::sort(times.begin(), times.end());
  const auto at = [&](double share) {
    return times[static_cast<size_t>(share * static_cast<double>(times.size() - 1))];
  };
  return fmt::format("{:8.1f} {:8.1f} {:8.1f} {:8.1f}", at(0.5), at(0.95), at(0.99), times.back());
}

void Measure(Workload& workload, const text::Tokenizer& tokenizer, const std::shared_ptr<const VocabularyTrie>& trie,
             int rounds) {
  using Clock = std::chrono::steady_clock;
  auto begin = Clock::now();
  const auto constraint = std::make_shared<const TokenConstraint>(workload.grammar, trie);
  const double compile = Microseconds(Clock::now() - begin);
  begin = Clock::now();
  constraint->Prepare();
  const double prepare = Microseconds(Clock::now() - begin);
  std::vector<MaskWord> mask(trie->words());
  std::vector<double> first, later, accept;
  size_t matcher_bytes = 0;
  for (int round = 0; round < rounds; ++round) {
    for (const std::string& text : workload.texts) {
      TokenMatcher matcher(constraint, {0});
      for (const text::TokenId id : tokenizer.Encode(text, {.add_special = false, .parse_special = false})) {
        begin = Clock::now();
        matcher.Allowed(mask);
        (round == 0 ? first : later).push_back(Microseconds(Clock::now() - begin));
        begin = Clock::now();
        const bool accepted = matcher.Accept(id);
        accept.push_back(Microseconds(Clock::now() - begin));
        if (!accepted) {
          std::printf("%s: the document is not of the language at '%s'\n", workload.name,
                      std::string(tokenizer.TokenBytes(id, true)).c_str());
          return;
        }
      }
      matcher_bytes = std::max(matcher_bytes, matcher.bytes());
      if (!matcher.may_end()) std::printf("%s: the document is not complete\n", workload.name);
    }
  }
  std::printf("%-24s compile %7.0f  prepare %7.0f  states %6zu  shared %5.1f MB  a request %5.2f MB\n", workload.name,
              compile, prepare, constraint->automaton().states.size(), static_cast<double>(constraint->bytes()) / 1e6,
              static_cast<double>(matcher_bytes) / 1e6);
  std::printf("  mask, first answer      %s\n", Percentiles(first).c_str());
  if (!later.empty()) std::printf("  mask, later answers     %s\n", Percentiles(later).c_str());
  std::printf("  accept                  %s\n", Percentiles(accept).c_str());
}

}  // namespace
}  // namespace edgellm::constrain

int main(int argc, char** argv) {
  using namespace edgellm;
  if (argc < 2) {
    std::fprintf(stderr, "usage: mask_bench TOKENIZER [ROUNDS]\n");
    return 2;
  }
  const text::Tokenizer tokenizer = text::Tokenizer::FromPath(argv[1]);
  const auto begin = std::chrono::steady_clock::now();
  const auto trie = std::make_shared<const constrain::VocabularyTrie>(tokenizer);
  std::printf("%d tokens, %zu nodes, %.1f MB, built in %.0f ms; all times in microseconds: p50 p95 p99 max\n",
              trie->size(), trie->nodes().size(), static_cast<double>(trie->bytes()) / 1e6,
              constrain::Microseconds(std::chrono::steady_clock::now() - begin) / 1e3);
  for (auto& workload : constrain::Workloads()) {
    constrain::Measure(workload, tokenizer, trie, argc > 2 ? std::max(1, std::atoi(argv[2])) : 20);
  }
  return 0;
}
