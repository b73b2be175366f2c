// Random schemas: conforming documents are taken byte by byte and token by token, documents that a validator of its own
// rejects are not, and whatever random allowed tokens spell conforms.
#include <random>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck/gtest.h>

#include "constrain/json_schema.h"
#include "constrain/token_matcher.h"
#include "tests/constrain/json_validator.h"
#include "tests/constrain/matching.h"
#include "tests/constrain/random_schema.h"

namespace edgellm::constrain {
namespace {

using Json = nlohmann::ordered_json;

/// Every byte, and what JSON and the random documents are made of.
const std::vector<std::string>& Vocabulary() {
  static const std::vector<std::string> texts = [] {
    std::vector<std::string> made = {"<end>"};
    for (int byte = 0; byte < 256; ++byte) made.emplace_back(1, static_cast<char>(byte));
    for (const char* text :
         {"{\"",  "\":", "\": ", "\": \"", "\",",  "\", \"",    "},",    "],",   "}]",     "}}",
          "[{",   "{}",  "[]",   "null",   "true", "false",     "\\n",   "\\\"", "\\u",    "00",
          "12",   "-1",  ".5",   "2024",   "-02",  "ab",        "a\":",  "b\":", "\u00e9", "\u00e9\u4e2d\":",
          "\n  ", " \"", ", ",   "red",    "gr",   "\u00fcn\"", "any\"", "\"}",  "\"]",    "other\":",
          "abc"}) {
      made.emplace_back(text);
    }
    return made;
  }();
  return texts;
}

std::shared_ptr<const VocabularyTrie> Trie() {
  static const auto trie = std::make_shared<const VocabularyTrie>(Vocabulary());
  return trie;
}

/// Changes one place of a document.
void Mutate(Json* value, std::mt19937& random) {
  if (value->is_structured() && !value->empty() && random() % 4 != 0) {
    auto member = value->begin();
    std::advance(member, random() % value->size());
    if (random() % 5 == 0) {
      value->erase(member);
    } else {
      Mutate(&*member, random);
    }
    return;
  }
  switch (random() % 8) {
    case 0:
      *value = nullptr;
      break;
    case 1:
      *value = static_cast<int>(random() % 4000) - 2000;
      break;
    case 2:
      *value = 0.5;
      break;
    case 3:
      *value = std::string(random() % 12, 'x');
      break;
    case 4:
      *value = Json::array();
      break;
    case 5:
      *value = Json::object();
      break;
    case 6:
      *value = true;
      break;
    default:
      if (value->is_object()) (*value)["extra"] = "x";
      if (value->is_array()) value->push_back("x");
      break;
  }
}

bool TakesByTokens(TokenMatcher matcher, const std::string& text, std::mt19937& random) {
  const auto& texts = Vocabulary();
  std::vector<MaskWord> mask(Trie()->words());
  for (size_t at = 0; at < text.size();) {
    std::vector<TokenId> fitting;
    for (size_t id = 1; id < texts.size(); ++id) {
      if (text.compare(at, texts[id].size(), texts[id]) == 0) fitting.push_back(static_cast<TokenId>(id));
    }
    const TokenId chosen = fitting[random() % fitting.size()];
    matcher.Allowed(mask);
    if ((mask[static_cast<size_t>(chosen) / 32] >> (chosen % 32) & 1u) == 0 || !matcher.Accept(chosen)) return false;
    at += texts[static_cast<size_t>(chosen)].size();
  }
  return matcher.may_end() && matcher.Allowed(mask) && (mask[0] & 1u) != 0 && matcher.Accept(0);
}

/// Tokens at random, but an ending as soon as there is one: most grammars could go on for ever.
std::optional<std::string> Sample(TokenMatcher matcher, std::mt19937& random) {
  std::vector<MaskWord> mask(Trie()->words());
  std::string text;
  while (text.size() < 3000) {
    if (!matcher.Allowed(mask)) {
      ADD_FAILURE() << "a dead end after " << text;
      return std::nullopt;
    }
    std::vector<TokenId> allowed, closing;
    for (size_t id = 0; id < Vocabulary().size(); ++id) {
      if ((mask[id / 32] >> (id % 32) & 1u) == 0) continue;
      allowed.push_back(static_cast<TokenId>(id));
      if (id > 0 && std::string_view("\"]}").find(Vocabulary()[id][0]) != std::string_view::npos)
        closing.push_back(allowed.back());
    }
    if ((mask[0] & 1u) != 0) return text;
    const auto& from = !closing.empty() && random() % 3 == 0 ? closing : allowed;
    const TokenId chosen = from[random() % from.size()];
    if (!matcher.Accept(chosen)) ADD_FAILURE() << "an allowed token was not accepted";
    text += Vocabulary()[static_cast<size_t>(chosen)];
  }
  return std::nullopt;
}

struct Drawn {
  Json schema;
  nlohmann::json plain;  // the same, for the validator
};

Drawn Draw(std::mt19937& random) {
  Drawn drawn;
  drawn.schema = RandomSchemas(random).Root();
  drawn.plain = drawn.schema;
  return drawn;
}

RC_GTEST_PROP(JsonSchemaProperty, ConformingDocumentsAreTaken, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const Drawn drawn = Draw(random);
  const Grammar grammar = CompileJsonSchema(drawn.schema);
  Language language(grammar);
  const TokenMatcher matcher(std::make_shared<const TokenConstraint>(grammar, Trie()), {0});
  for (int i = 0; i < 5; ++i) {
    const Json document = RandomSchemas(random).Document(drawn.schema, drawn.schema);
    RC_ASSERT(JsonValidator(drawn.plain).Holds(document));
    const std::string text = document.dump();
    if (!language.Takes(text)) RC_FAIL(drawn.schema.dump() + " should take " + text);
    RC_ASSERT(TakesByTokens(matcher, text, random));
  }
}

RC_GTEST_PROP(JsonSchemaProperty, WhatAValidatorRejectsIsRefused, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const Drawn drawn = Draw(random);
  Language language(CompileJsonSchema(drawn.schema));
  for (int i = 0; i < 20; ++i) {
    Json document = RandomSchemas(random).Document(drawn.schema, drawn.schema);
    Mutate(&document, random);
    const std::string text = document.dump();
    if (language.Takes(text) && !JsonValidator(drawn.plain).Holds(document)) {
      RC_FAIL(drawn.schema.dump() + " should not take " + text);
    }
    // And no text that is no JSON: one byte changed.
    std::string broken = text;
    broken[random() % broken.size()] = "\"{}[],:\\x1"[random() % 10];
    const auto parsed = nlohmann::json::parse(broken, nullptr, false);
    if (language.Takes(broken) && (parsed.is_discarded() || !JsonValidator(drawn.plain).Holds(parsed))) {
      RC_FAIL(drawn.schema.dump() + " should not take " + broken);
    }
  }
}

RC_GTEST_PROP(JsonSchemaProperty, WhatRandomTokensSpellConforms, ()) {
  std::mt19937 random(*rc::gen::arbitrary<unsigned>());
  const Drawn drawn = Draw(random);
  const TokenMatcher matcher(std::make_shared<const TokenConstraint>(CompileJsonSchema(drawn.schema), Trie()), {0});
  for (int i = 0; i < 4; ++i) {
    const auto text = Sample(matcher, random);
    if (!text) continue;
    const auto document = nlohmann::json::parse(*text, nullptr, false);
    if (document.is_discarded()) RC_FAIL("no JSON: " + *text);
    if (!JsonValidator(drawn.plain).Holds(document)) RC_FAIL(drawn.schema.dump() + " made " + *text);
  }
}

}  // namespace
}  // namespace edgellm::constrain
