// Modelfiles: what is taken as what, which line is wrong, and that what is written reads back.
#include "serve/modelfile.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

TEST(Modelfile, ReadsEveryInstruction) {
  const Modelfile modelfile = ParseModelfile(R"(# a comment
FROM ./model.gguf

  parameter Temperature 0.5
PARAMETER stop "<|im_end|>"
PARAMETER stop   two words  
TEMPLATE """{{ a }}
# no comment
"""
System "one "quoted" word"
MESSAGE user Hello there
MESSAGE assistant """Hi
you"""
LICENSE MIT
ADAPTER ./lora.gguf
SYSTEM "over
two lines"
)",
                                             "Modelfile");
  EXPECT_EQ(modelfile.from, "./model.gguf");
  EXPECT_EQ(modelfile.parameters, (Pairs{{"temperature", "0.5"}, {"stop", "<|im_end|>"}, {"stop", "two words"}}));
  EXPECT_EQ(modelfile.chat_template, "{{ a }}\n# no comment\n");
  EXPECT_EQ(modelfile.system, "over\ntwo lines");
  EXPECT_EQ(modelfile.messages, (Pairs{{"user", "Hello there"}, {"assistant", "Hi\nyou"}}));
  EXPECT_EQ(modelfile.licenses, std::vector<std::string>{"MIT"});
  EXPECT_EQ(modelfile.adapters, std::vector<std::string>{"./lora.gguf"});
}

TEST(Modelfile, ReadsOtherFormsOfText) {
  EXPECT_EQ(ParseModelfile("\xef\xbb\xbf"
                           "FROM a\r\nSYSTEM b c\r\n",
                           "m")
                .system,
            "b c");
  EXPECT_EQ(ParseModelfile("FROM a\nSYSTEM \"\"\"\"\"\"", "m").system, "");
  EXPECT_EQ(ParseModelfile("FROM a\nSYSTEM \"\"", "m").system, "");
  EXPECT_EQ(ParseModelfile("FROM \"a b\"", "m").from, "a b");
  EXPECT_EQ(ParseModelfile("FROM a\nSYSTEM \"\"\"x\"\"\" # why\nLICENSE y", "m").system, "x");
}

TEST(Modelfile, TellsTheLine) {
  const std::pair<const char*, const char*> wrong[] = {
      {"", "no FROM"},
      {"# only\n", "no FROM"},
      {"FROM a\nFROM b", "line 2: there is a FROM"},
      {"FROM a\n\nFOO bar", "line 3: unknown instruction 'FOO'"},
      {"FROM a\nPARAMETER", "line 2: PARAMETER"},
      {"FROM a\nPARAMETER x", "line 2: PARAMETER x wants"},
      {"FROM", "line 1: FROM wants"},
      {"FROM \"\"", "line 1: FROM wants"},
      {"FROM a\nSYSTEM \"\"\"b\nc", "line 2: SYSTEM: the quotes"},
      {"FROM a\nSYSTEM \"b\nc", "line 2: SYSTEM: the quote"},
      {"FROM a\nSYSTEM \"\"\"b\nc\"\"\" d", "line 3: SYSTEM: 'd' stands"},
      {"FROM a\nMESSAGE robot x", "line 2: MESSAGE"},
      {"FROM a\nMESSAGE user", "line 2: MESSAGE user wants"},
      {"FROM a\nSYSTEM \xff", "UTF-8"},
  };
  for (const auto& [text, part] : wrong) {
    try {
      ParseModelfile(text, "Modelfile");
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    }
  }
}

RC_GTEST_PROP(Modelfile, WhatIsWrittenReadsBack, ()) {
  const auto text = rc::gen::container<std::string>(rc::gen::elementOf(std::string("ab \"\"#\n{}\t")));
  const auto word = rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf(std::string("abc_.:/"))));
  Modelfile modelfile;
  modelfile.from = *word;
  modelfile.parameters = *rc::gen::container<Pairs>(rc::gen::pair(word, text));
  if (*rc::gen::arbitrary<bool>()) modelfile.chat_template = *text;
  if (*rc::gen::arbitrary<bool>()) modelfile.system = *text;
  for (const auto& content : *rc::gen::container<std::vector<std::string>>(text)) {
    modelfile.messages.emplace_back("user", content);
  }
  std::string written;
  try {
    written = WriteModelfile(modelfile);
  } catch (const Error& error) {
    RC_ASSERT(error.code() == ErrorCode::kUnsupported);
    return;
  }
  RC_ASSERT(ParseModelfile(written, "m") == modelfile);
}

}  // namespace
}  // namespace edgellm
