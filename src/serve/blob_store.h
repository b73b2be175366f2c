// What clients send for models to be made of: blobs, kept in the store's folder .blobs under their digests; and
// weights, folders there that are put together of blobs (or quantised) for models that add settings to them. Manifests
// refer to weights; what nothing refers to is cleaned up. Every change is one rename: whatever ends the program, the
// store is whole, and what is left over goes with the next cleaning.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "serve/model_store.h"

namespace edgellm {

/// Names of files, and the digests ("sha256:" and 64 hexadecimal digits) of the blobs that they are.
using BlobFiles = std::vector<std::pair<std::string, std::string>>;

class BlobStore {
 public:
  /// Long enough for the slowest upload of a model's files, of which the first waits for the last.
  static constexpr std::chrono::seconds kKept = std::chrono::hours(24);

  explicit BlobStore(const ModelStore& store);

  bool exists() const { return std::filesystem::exists(folder_); }

  /// Asking for a blob keeps it for as long as one that has just come.
  bool Has(const std::string& digest) const;
  /// Makes `file` the blob: moves it where it lies on the store's file system, else copies it. Throws
  /// Error(kInvalidArgument) where it is not of that digest, kIo.
  void Take(const std::filesystem::path& file, const std::string& digest) const;

  /// While one lives, nothing is cleaned up: from making weights until something refers to them.
  class Hold {
   public:
    explicit Hold(const BlobStore& blobs);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    int descriptor_ = -1;
  };

  /// Weights of these blobs, as a manifest's base refers to them (IsReference): a GGUF or model file, or a folder where
  /// there are several files. Throws Error(kInvalidArgument) for a blob that is not there and for what is no file name.
  std::string Assemble(const BlobFiles& files) const;
  /// Weights that `write` makes as a file of that name.
  std::string Make(std::string_view file_name, const std::function<void(const std::filesystem::path&)>& write) const;

  /// Removes weights that no manifest refers to; blobs, and what ended programs left in the work folder, that have not
  /// been touched for `kept`. Does nothing while somebody holds, or while a manifest cannot be read.
  void Clean(std::chrono::seconds kept = kKept) const;

  /// True for a text of the form that Assemble returns: below the store's folder, and nowhere else.
  static bool IsReference(std::string_view base);

 private:
  std::filesystem::path PathOf(const std::string& digest) const;

  const ModelStore& store_;
  std::filesystem::path folder_;
};

}  // namespace edgellm
