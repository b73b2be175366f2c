// GBNF, llama.cpp's notation for grammars (its grammars/README.md), to a Grammar: rules `name ::= …`, texts with
// escapes, classes of characters, groups, alternatives, * + ? {m} {m,} {m,n}, `.`, comments. The rule `root` is the
// whole text. References to single tokens (<…>) are refused: here bytes decide.
#pragma once

#include <cstddef>
#include <string_view>

#include "constrain/grammar.h"

namespace edgellm::constrain {

struct GbnfLimits {
  size_t bytes = size_t{1} << 20;
  int depth = 100;           // of groups
  int repetitions = 10'000;  // in {m,n}
};

/// `name` opens error texts: "name:line:column: cause". Throws Error: kInvalidArgument (does not parse; a rule that is
/// missing or there twice), kLimit.
Grammar ParseGbnf(std::string_view text, std::string_view name, const GbnfLimits& limits = {});

}  // namespace edgellm::constrain
