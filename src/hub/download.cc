// See download.h. One thread runs the transfers (this file), another follows with digests (verifier.h).
#include "hub/download.h"

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/error.h"
#include "base/one_line.h"
#include "hub/hub_answer.h"
#include "hub/partial_file.h"
#include "hub/transfer_loop.h"
#include "hub/verifier.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kPollEvery{100};
/// A connection that brings so much before it breaks is worth going on with.
constexpr uint64_t kProgress = uint64_t{1} << 20;
constexpr int kMostWrongAnswers = 3;   // of one kind, for one file
constexpr int kMostExpiredLinks = 20;  // in a row, from pieces side by side: signed links live for minutes

/// Where the end of a file of unknown size is.
constexpr uint64_t kOpenEnd = uint64_t{1} << 62;

std::string IdentityOf(const RemoteFile& file) {
  return OneLine(
      fmt::format("{} {}", file.path, file.digest.hex.empty() ? file.url + " " + file.version : file.digest.hex));
}

fs::path NoteOf(const fs::path& notes, const RemoteFile& file) {
  std::string name = file.path;
  std::replace(name.begin(), name.end(), '/', '+');
  return notes / (name + ".ranges");
}

std::unique_ptr<PartialFile> OpenPartial(const RemoteFile& file, const fs::path& folder, const fs::path& notes) {
  return std::make_unique<PartialFile>(folder / file.path, NoteOf(notes, file), IdentityOf(file), file.size);
}

/// One file, and what is known of its server.
struct FileWork {
  const RemoteFile* remote = nullptr;
  std::unique_ptr<PartialFile> partial;
  std::string direct_url;  // where redirects led; empty: not known, or no longer
  RangeSet claimed;        // by transfers that run
  bool ranges = true;
  int wrong_answers = 0, expired_links = 0, bad_digests = 0;
  bool right = false;  // complete, and of the right digest

  uint64_t end() const { return partial->size().value_or(kOpenEnd); }
};

/// One transfer: a piece of a file that it has claimed.
struct Piece {
  FileWork* file = nullptr;
  ByteRange range;        // what is claimed
  uint64_t position = 0;  // of the next byte
  std::string url;
  bool ranged = false;  // it asked for a part
  bool redirected = false;
  int redirects = 0;
  uint64_t received = 0;

  enum class Verdict : uint8_t { kNone, kData, kRedirect, kPassing, kExpired, kNoRanges, kWrong, kRefused };
  Verdict verdict = Verdict::kNone;
  ReplyHead head;
  std::string problem;
};

class Downloader {
 public:
  Downloader(const std::vector<RemoteFile>& files, const fs::path& folder, const fs::path& notes,
             const DownloadOptions& options, const DownloadListener& listener)
      : options_(options),
        listener_(listener),
        loop_(options.fetch.timeouts),
        retries_(options.fetch),
        connections_(std::max(1, options.connections)) {
    std::vector<Verifier::File> followed;
    for (const auto& file : files) {
      FileWork work;
      work.remote = &file;
      work.partial = OpenPartial(file, folder, notes);
      work.ranges = file.ranges && file.size.has_value();
      // What is there of a file that comes in one piece cannot be gone on from: there is no telling where.
      if (!file.size && work.partial->done() > 0) work.partial->Reset();
      followed.push_back({work.partial.get(), file.digest.kind});
      files_.push_back(std::move(work));
    }
    verifier_ = std::make_unique<Verifier>(std::move(followed));
  }

  void Run() {
    for (;;) {
      CheckDigests();
      const bool right = std::all_of(files_.begin(), files_.end(), [](const auto& file) { return file.right; });
      Report(right);
      if (right) break;
      StartPieces();
      loop_.Poll(Wait());
    }
    verifier_.reset();
    for (const auto& file : files_) file.partial->Seal();
  }

 private:
  /// How long nothing but a transfer can be waited for.
  milliseconds Wait() const {
    if (loop_.running() > 0) return kPollEvery;
    const auto left = std::chrono::duration_cast<milliseconds>(retries_.not_before() - Clock::now());
    return std::clamp(left, milliseconds(2), kPollEvery);  // at least for the verifier
  }

  void Report(bool last) {
    const auto now = Clock::now();
    if (!listener_ || (now - reported_ < kPollEvery && !last)) return;
    reported_ = now;
    DownloadProgress progress;
    progress.verifying = true;
    for (const auto& file : files_) {
      const FileProgress one{file.remote->path, file.remote->digest, file.partial->done(),
                             file.partial->size().value_or(0)};
      progress.done += one.done;
      progress.total += one.total;
      progress.verifying = progress.verifying && file.partial->complete();
      progress.files.push_back(one);
    }
    listener_(progress);
  }

  void CheckDigests() {
    for (size_t i = 0; i < files_.size(); ++i) {
      FileWork& file = files_[i];
      if (file.right || !file.partial->complete()) continue;
      const auto digest = verifier_->Result(i);
      if (!digest) continue;
      if (*digest == file.remote->digest.hex) {
        file.right = true;
        continue;
      }
      file.partial->Reset();
      verifier_->Restart(i);
      file.direct_url.clear();
      if (++file.bad_digests > 1) {
        Fail(ErrorCode::kCorrupt, "{}: what was downloaded has the digest {}, expected is {}", file.remote->path,
             *digest, file.remote->digest.hex);
      }
    }
  }

  void StartPieces() {
    if (Clock::now() < retries_.not_before()) return;
    for (auto& file : files_) {
      while (static_cast<int>(loop_.running()) < connections_) {
        const auto range = NextRange(file);
        if (!range) break;
        StartPiece(file, *range);
      }
    }
  }

  std::optional<ByteRange> NextRange(const FileWork& file) const {
    if (file.partial->complete()) return std::nullopt;
    const uint64_t end = file.end();
    if (!file.ranges) return file.claimed.total() > 0 ? std::nullopt : std::optional(ByteRange{0, end});
    RangeSet taken = file.partial->Ranges();
    for (const auto& [begin, claimed_end] : file.claimed.ranges()) taken.Add({begin, claimed_end});
    const ByteRange gap = taken.FirstGap(0, end);
    if (gap.size() == 0) return std::nullopt;
    return ByteRange{gap.begin, std::min(gap.end, gap.begin + options_.piece)};
  }

  void StartPiece(FileWork& file, ByteRange range) {
    auto piece = std::make_shared<Piece>();
    piece->file = &file;
    piece->range = range;
    piece->url = file.direct_url.empty() ? file.remote->url : file.direct_url;
    piece->redirected = !file.direct_url.empty();
    file.claimed.Add(range);
    Send(piece);
  }

  void Send(const std::shared_ptr<Piece>& piece) {
    piece->position = piece->range.begin;
    piece->ranged = piece->range.begin > 0 || piece->range.end < piece->file->end();
    piece->verdict = Piece::Verdict::kNone;
    piece->problem.clear();
    piece->head = {};
    std::vector<std::string> lines = RequestHeaders(options_.fetch, piece->url);
    if (piece->ranged) lines.push_back(fmt::format("Range: bytes={}-{}", piece->range.begin, piece->range.end - 1));
    TransferListener listener;
    listener.head = [this, piece](const ReplyHead& head) { return OnHead(*piece, head); };
    listener.body = [this, piece](std::string_view bytes) { return OnBody(*piece, bytes); };
    listener.ended = [this, piece](const TransferEnd& end) { OnEnd(piece, end); };
    loop_.Start(piece->url, lines, std::move(listener));
  }

  bool OnHead(Piece& piece, const ReplyHead& head) {
    piece.head = head;
    piece.verdict = Judge(piece, head);
    return piece.verdict == Piece::Verdict::kData;
  }

  Piece::Verdict Judge(Piece& piece, const ReplyHead& head) {
    using Verdict = Piece::Verdict;
    if (IsRedirect(head.status)) return Verdict::kRedirect;
    if (IsPassing(head.status)) return Verdict::kPassing;
    if (head.status == 206) return JudgePart(piece, head);
    if (head.status == 200) return piece.ranged ? Verdict::kNoRanges : JudgeWhole(piece, head);
    if (head.status == 416) {
      piece.problem = "it has not the size that was expected";
      return Verdict::kWrong;
    }
    // A signed link that was good for a while: the hub gives another.
    const bool link = piece.redirected && piece.url != piece.file->remote->url;
    if (link &&
        (head.status == 400 || head.status == 401 || head.status == 403 || head.status == 404 || head.status == 410)) {
      return Verdict::kExpired;
    }
    return Verdict::kRefused;
  }

  Piece::Verdict JudgePart(Piece& piece, const ReplyHead& head) {
    const auto part = ParseContentRange(head.Find("content-range"));
    const auto size = piece.file->partial->size();
    if (!piece.ranged || !part || part->begin != piece.range.begin) {
      piece.problem = fmt::format("asked for bytes {}-{}, the server sends '{}'", piece.range.begin,
                                  piece.range.end - 1, OneLine(head.Find("content-range")));
      return Piece::Verdict::kWrong;
    }
    if (part->total && size && *part->total != *size) {
      piece.problem = fmt::format("it has {} bytes, expected are {}", *part->total, *size);
      return Piece::Verdict::kWrong;
    }
    return SameVersion(piece, head) ? Piece::Verdict::kData : Piece::Verdict::kWrong;
  }

  Piece::Verdict JudgeWhole(Piece& piece, const ReplyHead& head) {
    const auto size = piece.file->partial->size();
    const std::string_view text = head.Find("content-length");
    uint64_t length = 0;
    const bool said =
        std::from_chars(text.data(), text.data() + text.size(), length).ec == std::errc() && !text.empty();
    if (said && size && length != *size) {
      piece.problem = fmt::format("it has {} bytes, expected are {}", length, *size);
      return Piece::Verdict::kWrong;
    }
    if (said && !size) piece.file->partial->SetSize(length);
    return SameVersion(piece, head) ? Piece::Verdict::kData : Piece::Verdict::kWrong;
  }

  /// Where no digest will tell, the server's own mark of the version must stay the same from piece to piece.
  bool SameVersion(Piece& piece, const ReplyHead& head) {
    const RemoteFile& remote = *piece.file->remote;
    const std::string_view version = head.Find("etag");
    if (remote.digest.kind != FileDigest::Kind::kNone || remote.version.empty() || version.empty()) return true;
    if (version == remote.version) return true;
    piece.problem = "it has changed on the server meanwhile";
    return false;
  }

  bool OnBody(Piece& piece, std::string_view bytes) {
    const uint64_t end = std::min(piece.range.end, piece.file->end());
    const uint64_t room = end - std::min(end, piece.position);
    if (bytes.size() > room && !piece.ranged) {
      piece.verdict = Piece::Verdict::kWrong;
      piece.problem = fmt::format("more than the {} bytes come that were expected", end);
      return false;
    }
    bytes = bytes.substr(0, room);
    piece.file->partial->Write(piece.position, bytes);
    piece.position += bytes.size();
    piece.received += bytes.size();
    if ((since_failure_ += bytes.size()) >= kProgress) retries_.Progressed();
    return piece.position < end || !piece.ranged;
  }

  void OnEnd(const std::shared_ptr<Piece>& piece, const TransferEnd& end) {
    FileWork& file = *piece->file;
    switch (piece->verdict) {
      case Piece::Verdict::kNone:
        return Again(*piece, end.failure, std::nullopt);
      case Piece::Verdict::kData:
        return OnDataEnd(*piece, end);
      case Piece::Verdict::kRedirect:
        piece->url = NextLocation(piece->url, piece->head, piece->redirects++);
        piece->redirected = true;
        return Send(piece);
      case Piece::Verdict::kPassing:
        if (piece->head.status == 429) connections_ = std::max(1, connections_ / 2);
        return Again(*piece, fmt::format("the server answers HTTP {}", piece->head.status),
                     ParseRetryAfter(piece->head.Find("retry-after")));
      case Piece::Verdict::kExpired:
        if (file.direct_url == piece->url) file.direct_url.clear();
        if (++file.expired_links > kMostExpiredLinks) FailRefused(*piece);
        return Again(*piece, fmt::format("the server answers HTTP {}", piece->head.status), std::nullopt);
      case Piece::Verdict::kNoRanges:
        Release(*piece);
        file.ranges = false;
        return;
      case Piece::Verdict::kWrong:
        return OnWrong(*piece);
      case Piece::Verdict::kRefused:
        FailRefused(*piece);
    }
  }

  void OnDataEnd(Piece& piece, const TransferEnd& end) {
    FileWork& file = *piece.file;
    if (piece.redirected) file.direct_url = piece.url;
    if (end.complete && !file.partial->size()) file.partial->SetSize(piece.position);
    const bool whole = piece.position >= std::min(piece.range.end, file.end());
    if (!whole) return Again(piece, end.failure.empty() ? "the answer is too short" : end.failure, std::nullopt);
    Release(piece);
    retries_.Progressed();
    since_failure_ = 0;
    file.expired_links = 0;
  }

  void OnWrong(Piece& piece) {
    FileWork& file = *piece.file;
    Release(piece);
    file.direct_url.clear();
    if (piece.ranged && !file.ranges) return;  // asked for before that was given up
    if (++file.wrong_answers >= kMostWrongAnswers) {
      if (!file.ranges) {
        // Another version is there now: what was kept of the old one is of no use.
        if (file.remote->digest.kind == FileDigest::Kind::kNone) file.partial->Reset();
        Fail(ErrorCode::kCorrupt, "{}: {}", file.remote->path, piece.problem);
      }
      // Some servers cannot count; in one piece they may do.
      file.ranges = false;
      file.wrong_answers = 0;
    }
    retries_.Failed(fmt::format("{}: {}", file.remote->path, piece.problem), std::nullopt);
  }

  void Again(Piece& piece, const std::string& why, std::optional<milliseconds> asked) {
    Release(piece);
    // A file without ranges begins at its first byte again; one of unknown size cannot be told apart from what was
    // there.
    if (!piece.file->partial->size()) piece.file->partial->Reset();
    retries_.Failed(fmt::format("{}: {}", piece.file->remote->path, why), asked);
    since_failure_ = 0;
  }

  void Release(const Piece& piece) { piece.file->claimed.Remove(piece.range); }

  [[noreturn]] void FailRefused(const Piece& piece) {
    const long status = piece.head.status;
    const bool had_token = !RequestHeaders(options_.fetch, piece.file->remote->url).empty();
    const auto code = status == 404 || status == 410 ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument;
    throw Error(code, ExplainRefusal(status, piece.head.Find("x-error-code"), piece.head.Find("x-error-message"),
                                     piece.file->remote->path, had_token));
  }

  const DownloadOptions& options_;
  const DownloadListener& listener_;
  std::vector<FileWork> files_;  // after the constructor neither grows nor moves
  TransferLoop loop_;
  Retries retries_;
  std::unique_ptr<Verifier> verifier_;  // ends before the files that it reads
  int connections_;
  uint64_t since_failure_ = 0;
  Clock::time_point reported_{};
};

}  // namespace

void Download(const std::vector<RemoteFile>& files, const fs::path& folder, const fs::path& notes,
              const DownloadOptions& options, const DownloadListener& listener) {
  Downloader(files, folder, notes, options, listener).Run();
}

uint64_t MissingBytes(const std::vector<RemoteFile>& files, const fs::path& folder, const fs::path& notes) {
  uint64_t missing = 0;
  for (const auto& file : files) {
    if (!file.size) continue;
    std::error_code failed;
    const bool there = fs::exists(folder / file.path, failed);
    missing += *file.size - (there ? OpenPartial(file, folder, notes)->done() : 0);
  }
  return missing;
}

}  // namespace edgellm
