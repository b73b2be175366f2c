// A model from a hub (or from any web server) to a folder of this machine: which files, whether they are here already,
// whether there is room; then the download, and at the end one rename that publishes all of it. Whatever stops it, what
// was there before stays as it was, and the next pull goes on. Knows folders, no model store.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "hub/download.h"
#include "hub/file_choice.h"
#include "hub/hub_name.h"

namespace edgellm {

/// What is to be fetched, as the hub answered.
struct PullPlan {
  ChosenFiles::Form form = ChosenFiles::Form::kFile;
  std::vector<RemoteFile> files;
  std::string commit;  // empty where there is none

  uint64_t Bytes() const;  // of files whose size is known
};

struct PullStatus {
  enum class Phase : uint8_t { kWaiting, kListing, kComparing, kDownloading, kVerifying, kPublishing };
  Phase phase = Phase::kListing;  // kWaiting: another process pulls the same; kComparing: with what is here already
  DownloadProgress progress;
};

/// Called in the pulling thread at every change of phase and about ten times a second. Throwing stops the pull.
using PullListener = std::function<void(const PullStatus&)>;

struct PullPlace {
  std::filesystem::path work;  // folder for unfinished pulls: on the same file system as the target
  std::string name;            // tells pulls apart
  /// What the new model would replace: a file or a folder. Asked when this pull's turn has come. May be empty.
  std::function<std::optional<std::filesystem::path>()> existing;
  /// Moves the finished file or folder to where it belongs.
  std::function<void(const std::filesystem::path& ready)> publish;
};

/// Asks the hub. Throws Error: kNotFound, kInvalidArgument (refused: gated, private; with what to do), kUnsupported
/// (nothing that can be loaded), kCorrupt, kIo.
PullPlan PlanPull(const HubSource& source, const FetchOptions& options, const std::function<void()>& poll);

/// The whole of it. False when what is here already is the same. Throws as PlanPull and Download do, kLimit when the
/// disk is too full, and what `listener` throws.
bool Pull(const HubSource& source, const PullPlace& place, const DownloadOptions& options,
          const PullListener& listener);

/// Where the unfinished pull of `name` lies.
std::filesystem::path WorkFolder(const std::filesystem::path& work, std::string_view name);

}  // namespace edgellm
