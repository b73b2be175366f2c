// Tokens to syntax tree, by jinja2's grammar.
#pragma once

#include "text/jinja_ast.h"
#include "text/jinja_source.h"

namespace edgellm::text::jinja {

/// Throws Error: kCorrupt (not a template), kUnsupported (a tag, filter or test outside the subset), kLimit (nested
/// deeper than `most_depth`).
Template Parse(const Source& source, int most_depth);

}  // namespace edgellm::text::jinja
