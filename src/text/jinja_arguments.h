// Shorthands with which the functions in the tables read their arguments. For those files only.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja_operators.h"
#include "text/jinja_registry.h"

namespace edgellm::text::jinja {

inline bool Given(const Value* argument) {
  return argument != nullptr && !argument->IsNone();
}

inline int64_t IntegerOr(const Value* argument, int64_t otherwise, std::string_view what) {
  return argument == nullptr ? otherwise : NeedInteger(*argument, what);
}

inline std::string TextOr(Runtime& runtime, const Value* argument, std::string_view otherwise) {
  return argument == nullptr ? std::string(otherwise) : ToText(runtime, *argument);
}

inline bool TruthOr(const Value* argument, bool otherwise) {
  return argument == nullptr ? otherwise : Truth(*argument);
}

}  // namespace edgellm::text::jinja
