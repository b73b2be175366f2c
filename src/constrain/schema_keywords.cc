// See schema_keywords.h.
#include "constrain/schema_keywords.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "constrain/schema_document.h"

namespace edgellm::constrain {

unsigned TypeOfKeyword(std::string_view keyword) {
  static const std::map<std::string_view, unsigned> kTypes = {{"properties", kObject},
                                                              {"required", kObject},
                                                              {"additionalProperties", kObject},
                                                              {"propertyNames", kObject},
                                                              {"minProperties", kObject},
                                                              {"maxProperties", kObject},
                                                              {"items", kArray},
                                                              {"prefixItems", kArray},
                                                              {"additionalItems", kArray},
                                                              {"minItems", kArray},
                                                              {"maxItems", kArray},
                                                              {"uniqueItems", kArray},
                                                              {"minLength", kString},
                                                              {"maxLength", kString},
                                                              {"pattern", kString},
                                                              {"format", kString},
                                                              {"minimum", kInteger},
                                                              {"maximum", kInteger},
                                                              {"exclusiveMinimum", kInteger},
                                                              {"exclusiveMaximum", kInteger},
                                                              {"multipleOf", kInteger}};
  const auto found = kTypes.find(keyword);
  return found == kTypes.end() ? 0 : found->second;
}

bool IsKeyword(std::string_view keyword) {
  static constexpr std::string_view kOthers[] = {"type", "enum", "const", "$ref", "anyOf", "oneOf", "allOf"};
  return TypeOfKeyword(keyword) != 0 || std::find(std::begin(kOthers), std::end(kOthers), keyword) != std::end(kOthers);
}

std::string Pointer(const std::string& path, std::string_view part) {
  std::string escaped;
  for (char c : part) escaped += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  return path + "/" + escaped;
}

}  // namespace edgellm::constrain
