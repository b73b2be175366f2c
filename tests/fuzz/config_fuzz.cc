// Fuzzes the readers of configurations: Hugging Face's config.json and the form in model files. What is accepted must
// lower to a sound plan and survive its own JSON.
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/utf8.h"
#include "model/json_fields.h"
#include "model/lower.h"

namespace {

using Json = nlohmann::ordered_json;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const Json json = edgellm::ParseJson<Json>(text, "fuzz");
    const bool is_ours = json.is_object() && json.contains("family");
    const auto config = is_ours ? edgellm::ConfigFromJson(json, "fuzz") : edgellm::ConfigFromHuggingFace(json, "fuzz");
    edgellm::Validate(edgellm::Lower(config));
    const Json again = Json::parse(edgellm::ToJson(config).dump());
    Require(edgellm::ConfigFromJson(again, "again") == config, "a configuration changes by its own JSON");
  } catch (const edgellm::Error& error) {
    const std::string_view line = error.what();
    Require(line.find('\n') == std::string_view::npos && edgellm::utf8::IsValid(line),
            "an error is not one line of UTF-8");
  }
  return 0;
}
