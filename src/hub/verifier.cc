// See verifier.h.
#include "hub/verifier.h"

#include <algorithm>
#include <chrono>

#include "base/error.h"

namespace edgellm {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint64_t kBlock = uint64_t{4} << 20;
constexpr std::chrono::seconds kSaveEvery{2};
constexpr std::chrono::milliseconds kLookEvery{20};

}  // namespace

Verifier::Verifier(std::vector<File> files) : files_(std::move(files)), following_(files_.size()) {
  thread_ = std::thread([this] { Run(); });
}

Verifier::~Verifier() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::optional<std::string> Verifier::Result(size_t index) {
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  return following_[index].result;
}

uint64_t Verifier::Read(size_t index) const {
  const std::lock_guard lock(mutex_);
  return following_[index].read;
}

void Verifier::Restart(size_t index) {
  const std::lock_guard lock(mutex_);
  Following& following = following_[index];
  following.stream.reset();
  following.read = 0;
  following.result.reset();
  ++following.generation;
}

/// Reads a block of one file; false where there is nothing to do.
bool Verifier::FollowOne(size_t index) {
  PartialFile& file = *files_[index].file;
  uint64_t from = 0;
  int generation = 0;
  std::optional<DigestStream> stream;
  {
    const std::lock_guard lock(mutex_);
    Following& following = following_[index];
    const auto size = file.size();
    if (following.result || !size) return false;
    const bool whole = file.complete();  // asked first: the prefix may grow meanwhile
    const uint64_t there = files_[index].kind == FileDigest::Kind::kNone ? 0 : file.prefix();
    if (following.read >= there && !whole) return false;
    if (following.read >= there) {
      if (!following.stream) following.stream.emplace(files_[index].kind, *size);  // an empty file
      following.result = following.stream->Finish();
      return true;
    }
    if (!following.stream) following.stream.emplace(files_[index].kind, *size);
    stream = std::move(following.stream);
    following.stream.reset();
    from = following.read;
    generation = following.generation;
  }
  // The long part, without the lock.
  const uint64_t there = std::max(file.prefix(), from);
  const std::string block = file.Read(from, static_cast<size_t>(std::min(kBlock, there - from)));
  stream->Update(std::as_bytes(std::span(block.data(), block.size())));
  const std::lock_guard lock(mutex_);
  Following& following = following_[index];
  if (following.generation != generation) return true;
  following.stream = std::move(stream);
  following.read = from + block.size();
  return !block.empty();
}

void Verifier::SaveAll() {
  for (const auto& entry : files_) {
    if (!entry.file->complete()) entry.file->Save();
  }
}

void Verifier::Run() {
  try {
    auto saved = Clock::now();
    for (;;) {
      bool worked = false;
      for (size_t i = 0; i < files_.size(); ++i) worked = FollowOne(i) || worked;
      if (Clock::now() - saved > kSaveEvery) {
        SaveAll();
        saved = Clock::now();
      }
      std::unique_lock lock(mutex_);
      if (!worked) changed_.wait_for(lock, kLookEvery, [this] { return stop_; });
      if (stop_) break;
    }
    for (const auto& entry : files_) entry.file->Save();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
  }
}

}  // namespace edgellm
