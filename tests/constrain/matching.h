// What tests of grammars share: does a grammar take a text, does it take its beginning, and which texts does it make.
#pragma once

#include <random>
#include <string>
#include <string_view>

#include "constrain/automaton.h"
#include "constrain/grammar.h"
#include "constrain/recognizer.h"

namespace edgellm::constrain {

/// A compiled grammar that is asked about whole texts.
class Language {
 public:
  explicit Language(const Grammar& grammar) : automaton_(CompileGrammar(grammar)), recognizer_(automaton_) {}

  bool Takes(std::string_view text) {
    const PositionId position = After(text);
    return position != Recognizer::kDead && recognizer_.MayEnd(position);
  }
  bool Begins(std::string_view text) { return After(text) != Recognizer::kDead; }

  /// A text of the language by random bytes, as a model would make one; empty when `limit` bytes did not end it.
  std::string Random(std::mt19937& random, size_t limit) {
    std::string text;
    PositionId position = recognizer_.Start();
    while (text.size() < limit) {
      std::string next;
      for (int byte = 0; byte < 256; ++byte) {
        if (recognizer_.Step(position, static_cast<uint8_t>(byte)) != Recognizer::kDead) {
          next.push_back(static_cast<char>(byte));
        }
      }
      if (recognizer_.MayEnd(position) && (next.empty() || random() % 8 == 0)) return text;
      if (next.empty()) return {};
      text.push_back(next[random() % next.size()]);
      position = recognizer_.Step(position, static_cast<uint8_t>(text.back()));
    }
    return {};
  }

  Recognizer& recognizer() { return recognizer_; }
  const Automaton& automaton() const { return automaton_; }

 private:
  PositionId After(std::string_view text) {
    PositionId position = recognizer_.Start();
    for (char byte : text) {
      if (position == Recognizer::kDead) break;
      position = recognizer_.Step(position, static_cast<uint8_t>(byte));
    }
    return position;
  }

  Automaton automaton_;
  Recognizer recognizer_;
};

}  // namespace edgellm::constrain
