// Folders that go away with their owner.
#include "base/folder.h"

#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "tests/base/temporary_folder.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

TEST(ScratchFolder, GoesWithWhatIsInItUnlessItWasRenamed) {
  const TemporaryFolder home;
  fs::path gone, kept = home.path() / "kept";
  {
    const ScratchFolder scratch(home.path() / "made", "making-");
    gone = scratch.path();
    EXPECT_EQ(gone.parent_path(), home.path() / "made");
    EXPECT_TRUE(gone.filename().string().starts_with("making-"));
    std::ofstream(gone / "file") << "a";
    const ScratchFolder published(home.path(), "making-");
    std::ofstream(published.path() / "file") << "b";
    fs::rename(published.path(), kept);
    SyncToDisk(kept);
  }
  EXPECT_FALSE(fs::exists(gone));
  EXPECT_TRUE(fs::exists(kept / "file"));
}

TEST(ScratchFolder, SaysWhereNoneCanBeMade) {
  const TemporaryFolder home;
  std::ofstream(home.path() / "file") << "a";
  try {
    const ScratchFolder scratch(home.path() / "file", "making-");
    FAIL() << "made in a file";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kIo);
    EXPECT_NE(std::string_view(error.what()).find("file"), std::string_view::npos);
  }
  SyncToDisk(home.path() / "nothing");  // tells nobody
}

}  // namespace
}  // namespace edgellm
