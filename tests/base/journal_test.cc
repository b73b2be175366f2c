// What a journal finds again: all of its own whole records, none that is cut or changed, nothing of other work.
#include "base/journal.h"

#include <array>

#include <gtest/gtest.h>

#include "tests/base/temporary_folder.h"
#include "tests/model/expect_error.h"

namespace edgellm {
namespace {

using Found = Journal::Found;

std::string TextOf(const Journal::Record* record) {
  return record == nullptr ? "absent"
                           : std::string(reinterpret_cast<const char*>(record->bytes.data()), record->bytes.size());
}

class Journals : public testing::Test {
 protected:
  void Add(Journal& journal, const std::string& name, const std::string& bytes) {
    const std::array<std::span<const std::byte>, 1> parts = {std::as_bytes(std::span(bytes))};
    journal.Append(name, "about " + name, parts);
  }
  void WriteThree() {
    Journal journal(path_, "work");
    Add(journal, "one", "first");
    Add(journal, "two", std::string(1000, 'x'));
    Add(journal, "three", "");
  }

  TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "file.partial";
};

TEST_F(Journals, FindAgainWhatWasWritten) {
  WriteThree();
  Journal journal(path_, "work");
  EXPECT_EQ(journal.found(), Found::kRecords);
  EXPECT_EQ(journal.size(), 3u);
  EXPECT_EQ(TextOf(journal.Find("one")), "first");
  EXPECT_EQ(journal.Find("one")->text, "about one");
  EXPECT_EQ(TextOf(journal.Find("two")), std::string(1000, 'x'));
  EXPECT_EQ(TextOf(journal.Find("three")), "");
  EXPECT_EQ(journal.Find("four"), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(journal.Find("two")->bytes.data()) % 64, 0u);
  Add(journal, "four", "4");
  EXPECT_EQ(TextOf(journal.Find("four")), "4");
}

TEST_F(Journals, ForgetOtherWork) {
  WriteThree();
  {
    Journal journal(path_, "other work");
    EXPECT_EQ(journal.found(), Found::kForeign);
    EXPECT_EQ(journal.size(), 0u);
  }
  Journal again(path_, "other work");
  EXPECT_EQ(again.found(), Found::kNothing);
  WriteText(folder_ / "text",
            "no journal at all, but a text of some length that somebody would rather have kept elsewhere");
  EXPECT_EQ(Journal(folder_ / "text", "work").found(), Found::kForeign);
}

TEST_F(Journals, KeepWhatStandsBeforeACutAnywhere) {
  WriteThree();
  const std::string whole = ReadFile(path_);
  size_t most = 0;
  for (size_t length = 0; length < whole.size(); length += 13) {
    WriteText(path_, whole.substr(0, length));
    Journal journal(path_, "work");
    EXPECT_LT(journal.size(), 3u);
    EXPECT_GE(journal.size(), most);  // a longer rest never holds less
    most = journal.size();
    if (most >= 1) {
      EXPECT_EQ(TextOf(journal.Find("one")), "first");
    }
    Add(journal, "new", "after the cut");
    EXPECT_EQ(TextOf(journal.Find("new")), "after the cut");
  }
  EXPECT_EQ(most, 2u);
}

TEST_F(Journals, NeverTrustAChangedByte) {
  WriteThree();
  const std::string whole = ReadFile(path_);
  for (size_t at = 0; at < whole.size(); at += 7) {
    std::string changed = whole;
    changed[at] = static_cast<char>(changed[at] ^ 0x20);
    WriteText(path_, changed);
    const Journal journal(path_, "work");
    EXPECT_LT(journal.size(), 3u) << at;
    EXPECT_NE(journal.found(), Found::kRecords);
    for (const char* name : {"one", "two"}) {
      const std::string text = TextOf(journal.Find(name));
      EXPECT_TRUE(text == "absent" || text == "first" || text == std::string(1000, 'x')) << at;
    }
  }
}

TEST_F(Journals, HaveOneWriter) {
  const Journal journal(path_, "work");
  EXPECT_CONTAINS(ErrorOf([&] { Journal(path_, "work"); }, ErrorCode::kIo), "another process");
}

}  // namespace
}  // namespace edgellm
