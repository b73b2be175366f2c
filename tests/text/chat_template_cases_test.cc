// Runs the recorded cases: our own small templates, and conversations through the templates of well-known models. What
// they should give comes from jinja2 and @huggingface/jinja; tests/text/jinja_reference/generate.py records it.
#include <filesystem>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tests/shared_data.h"
#include "tests/source_dir.h"
#include "text/chat_template.h"

namespace edgellm::text {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kNow = 1784937600;  // as in the reference programs

ordered_json ReadJson(const std::string& name) {
  return ordered_json::parse(ReadFile(SourceDir() / "tests/text/data" / name));
}

/// Renders and compares with a recorded result: an output, or an error of any text.
void Check(const std::string& source, const std::string& name, const ordered_json& context,
           const ordered_json& expected) {
  std::string output;
  try {
    output = ChatTemplate(source, name).Render(context, kNow);
  } catch (const Error& error) {
    EXPECT_TRUE(expected.contains("error")) << name << ": " << error.what() << "\n"
                                            << source << "\nexpected: " << expected;
    return;
  }
  ASSERT_TRUE(expected.contains("output")) << name << " rendered, but should fail: " << expected << "\n" << source;
  EXPECT_EQ(output, expected["output"].get<std::string>()) << name << "\n" << source;
}

TEST(ChatTemplateCases, AgreeWithTheReference) {
  const ordered_json file = ReadJson("jinja_cases.json");
  ASSERT_GT(file["cases"].size(), 500u);
  for (const ordered_json& entry : file["cases"]) {
    Check(entry["template"].get<std::string>(), entry["name"].get<std::string>(), file["context"], entry);
  }
}

TEST(ChatTemplateCases, ModelTemplatesAgreeWithTheReference) {
  SKIP_WITHOUT_SHARED_DATA();
  ordered_json contexts;
  for (const ordered_json& conversation : ReadJson("chat_conversations.json")) {
    contexts[conversation["name"].get<std::string>()] = conversation["context"];
  }
  size_t checked = 0;
  for (const ordered_json& entry : ReadJson("chat_templates_expected.json")) {
    const auto name = entry["template"].get<std::string>(), conversation = entry["conversation"].get<std::string>();
    const auto path = SharedData() / "chat_templates" / (name + ".jinja");
    if (!std::filesystem::exists(path)) continue;
    Check(ReadFile(path), name + ", " + conversation, contexts.at(conversation), entry);
    ++checked;
  }
  EXPECT_GE(checked, 200u);
}

}  // namespace
}  // namespace edgellm::text
