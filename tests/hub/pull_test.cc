// Pulls from a hub that makes every mistake that hubs, networks and people between them make.
#include "hub/pull.h"

#include <fcntl.h>
#include <sys/file.h>
#include <thread>
#include <unistd.h>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/file.h"
#include "hub/pull_jobs.h"
#include "tests/base/temporary_folder.h"
#include "tests/hub/stand_in_hub.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

struct Stopped {};

class PullTest : public ::testing::Test {
 protected:
  PullTest() {
    options_.piece = 64 << 10;
    options_.fetch.first_wait = milliseconds(1);
    options_.fetch.longest_wait = milliseconds(4);
    options_.fetch.timeouts.stall = milliseconds(300);
    options_.fetch.timeouts.connect = milliseconds(2000);
  }

  /// One GGUF of a megabyte.
  void AddGguf() { hub_.Add("m-Q4_0.gguf", {gguf_}); }

  HubSource Source(const std::string& choice = "") {
    HubSource source = ParseHubName("owner/model", hub_.url());
    source.choice = choice;
    return source;
  }

  bool PullIt(const HubSource& source, const PullListener& listener = {}) {
    PullPlace place;
    place.work = folder_ / "work";
    place.name = "owner/model";
    place.existing = [this] { return fs::exists(target_) ? std::optional(target_) : std::nullopt; };
    place.publish = [&](const fs::path& ready) {
      fs::remove_all(target_);
      fs::rename(ready, target_);
    };
    return Pull(source, place, options_, listener);
  }
  bool PullIt() { return PullIt(Source()); }

  void ExpectFailure(ErrorCode code, const std::string& part) {
    try {
      PullIt();
      ADD_FAILURE() << "it worked";
    } catch (const Error& error) {
      EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
    EXPECT_FALSE(fs::exists(target_));
  }

  /// True for the first `count` requests for a file's bytes that come from afar.
  static std::function<bool(const HttpRequest&)> First(int count, const std::string& start = "/far-away/") {
    auto left = std::make_shared<std::atomic<int>>(count);
    return [left, start](const HttpRequest& request) { return request.path.starts_with(start) && (*left)-- > 0; };
  }

  static HttpAnswer Raw(const std::string& head, const std::string& body = "") {
    return {{"HTTP/1.1 " + head + "\r\nConnection: close\r\n\r\n" + body}};
  }

  TemporaryFolder folder_;
  const fs::path target_ = folder_ / "target";
  const std::string gguf_ = "GGUF" + SampleBytes((1 << 20) + 12345, 1);
  DownloadOptions options_;
  StandInHub hub_;
};

TEST_F(PullTest, FetchesAFileInParts) {
  AddGguf();
  std::vector<PullStatus::Phase> phases;
  DownloadProgress last;
  EXPECT_TRUE(PullIt(Source(), [&](const PullStatus& status) {
    if (phases.empty() || phases.back() != status.phase) phases.push_back(status.phase);
    if (status.phase == PullStatus::Phase::kDownloading || status.phase == PullStatus::Phase::kVerifying)
      last = status.progress;
  }));
  EXPECT_EQ(ReadFile(target_), gguf_);
  EXPECT_EQ(phases.front(), PullStatus::Phase::kListing);
  EXPECT_EQ(phases.back(), PullStatus::Phase::kPublishing);
  EXPECT_EQ(last.done, gguf_.size());
  EXPECT_EQ(last.total, gguf_.size());
  EXPECT_EQ(last.files.at(0).digest.kind, FileDigest::Kind::kSha256);
  EXPECT_EQ(hub_.sent(), gguf_.size());  // no byte twice
  EXPECT_TRUE(fs::is_empty(folder_ / "work"));
}

TEST_F(PullTest, FetchesACheckpoint) {
  hub_.Add("config.json", {"{\"a\": 1}", false});
  hub_.Add("tokenizer.json", {SampleBytes(5000, 2), false});
  hub_.Add("model.safetensors", {SampleBytes(300'000, 3)});
  hub_.Add("generation_config.json", {"", false});  // nothing in it, and nothing to fetch
  hub_.Add("README.md", {"not a part of it", false});
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_ / "config.json"), "{\"a\": 1}");
  EXPECT_EQ(ReadFile(target_ / "tokenizer.json"), SampleBytes(5000, 2));
  EXPECT_EQ(ReadFile(target_ / "model.safetensors"), SampleBytes(300'000, 3));
  EXPECT_EQ(fs::file_size(target_ / "generation_config.json"), 0u);
  EXPECT_FALSE(fs::exists(target_ / "README.md"));
}

TEST_F(PullTest, FetchesOnlyWhatChanged) {
  hub_.Add("config.json", {"{}", false});
  hub_.Add("model.safetensors", {SampleBytes(300'000, 3)});
  EXPECT_TRUE(PullIt());
  EXPECT_FALSE(PullIt());
  EXPECT_EQ(hub_.downloads("model.safetensors"), hub_.downloads("model.safetensors"));
  const uint64_t sent = hub_.sent();
  hub_.Add("config.json", {"{\"new\": true}", false});
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(hub_.sent(), sent + 13);
  EXPECT_EQ(ReadFile(target_ / "config.json"), "{\"new\": true}");
  EXPECT_EQ(ReadFile(target_ / "model.safetensors"), SampleBytes(300'000, 3));
  // A damaged file is fetched again.
  WriteText(target_ / "model.safetensors", SampleBytes(300'000, 4));
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_ / "model.safetensors"), SampleBytes(300'000, 3));
}

TEST_F(PullTest, GoesOnWhereItWasStopped) {
  AddGguf();
  options_.connections = 1;
  hub_.SetFault([this](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/far-away/")) return std::nullopt;
    HttpAnswer answer = hub_.SendBytes(request, gguf_);
    answer.pieces.insert(answer.pieces.begin(), "");  // a pause first: the listener is to see it on the way
    answer.pause_ms = 10;
    return answer;
  });
  uint64_t done = 0;
  EXPECT_THROW(PullIt(Source(),
                      [&](const PullStatus& status) {
                        done = status.progress.done;
                        if (done > gguf_.size() / 3) throw Stopped();
                      }),
               Stopped);
  EXPECT_FALSE(fs::exists(target_));
  EXPECT_LT(done, gguf_.size());
  hub_.SetFault({});
  const uint64_t sent = hub_.sent();
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
  EXPECT_LE(hub_.sent() - sent, gguf_.size() - done + options_.piece);
}

TEST_F(PullTest, AnotherVersionBeginsAnew) {
  AddGguf();
  EXPECT_THROW(PullIt(Source(),
                      [&](const PullStatus& status) {
                        if (status.progress.done > 0) throw Stopped();
                      }),
               Stopped);
  const std::string other = "GGUF" + SampleBytes(1 << 20, 9);
  hub_.Add("m-Q4_0.gguf", {other});
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), other);
}

TEST_F(PullTest, SurvivesCuts) {
  AddGguf();
  hub_.SetFault([this, cut = First(12)](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!cut(request)) return std::nullopt;
    HttpAnswer answer = hub_.SendBytes(request, gguf_);
    answer.pieces[0].resize(answer.pieces[0].size() - 30'000);
    return answer;
  });
  options_.fetch.attempts = 30;
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, SurvivesBusyAndBrokenServers) {
  AddGguf();
  for (const char* head :
       {"429 X\r\nRetry-After: 0", "500 X", "502 X", "503 X\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT"}) {
    for (const char* start : {"/far-away/", "/api/", "/owner/"}) {
      fs::remove_all(target_);
      hub_.SetFault([head, first = First(2, start)](const HttpRequest& request) -> std::optional<HttpAnswer> {
        return first(request) ? std::optional(Raw(head, "come back later")) : std::nullopt;
      });
      EXPECT_TRUE(PullIt()) << head << " " << start;
      EXPECT_EQ(ReadFile(target_), gguf_);
    }
  }
}

TEST_F(PullTest, WaitsAsLongAsItIsAsked) {
  AddGguf();
  hub_.SetFault([first = First(1)](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return first(request) ? std::optional(Raw("429 X\r\nRetry-After: 1")) : std::nullopt;
  });
  options_.connections = 1;
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_TRUE(PullIt());
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(1000));
  fs::remove_all(target_);
  hub_.SetFault([](const HttpRequest&) { return Raw("429 X\r\nRetry-After: 100000"); });
  ExpectFailure(ErrorCode::kIo, "100000 seconds");
}

TEST_F(PullTest, GivesUpWhenNothingComes) {
  AddGguf();
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return request.path.starts_with("/far-away/") ? std::optional(Raw("503 X")) : std::nullopt;
  });
  ExpectFailure(ErrorCode::kIo, "HTTP 503 (8 attempts)");
  hub_.SetFault({});
  EXPECT_TRUE(PullIt());
}

TEST_F(PullTest, DoesNotInsistWhereItIsRefused) {
  AddGguf();
  const std::pair<const char*, const char*> refusals[] = {
      {"401 X\r\nX-Error-Code: GatedRepo", "HF_TOKEN"},
      {"401 X\r\nX-Error-Code: RepoNotFound", "HF_TOKEN"},
      {"403 X", "HF_TOKEN"},
      {"404 X\r\nX-Error-Code: RepoNotFound", "no such model"},
  };
  for (const auto& [head, part] : refusals) {
    for (const char* start : {"/api/", "/owner/"}) {
      hub_.SetFault([head = head, start](const HttpRequest& request) -> std::optional<HttpAnswer> {
        return request.path.starts_with(start) ? std::optional(Raw(head)) : std::nullopt;
      });
      options_.connections = 1;
      const size_t before = hub_.requests().size();
      ExpectFailure(std::string_view(head).starts_with("404") ? ErrorCode::kNotFound : ErrorCode::kInvalidArgument,
                    part);
      EXPECT_LE(hub_.requests().size() - before, 2u) << head;
    }
  }
}

TEST_F(PullTest, TokensGoToTheirHubAlone) {
  AddGguf();
  StandInServer elsewhere([this](const HttpRequest& request) { return hub_.SendBytes(request, gguf_); });
  hub_.SetFault([&](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/owner/")) return std::nullopt;
    return Raw("302 X\r\nLocation: " + elsewhere.url() + "/x");
  });
  options_.fetch.token = "secret";
  options_.fetch.token_origin = hub_.url();
  EXPECT_TRUE(PullIt());
  for (const auto& request : hub_.requests()) EXPECT_EQ(HeaderOf(request, "Authorization"), "Bearer secret");
  ASSERT_FALSE(elsewhere.requests().empty());
  for (const auto& request : elsewhere.requests()) EXPECT_EQ(HeaderOf(request, "Authorization"), "");
}

TEST_F(PullTest, TakesServersWithoutRanges) {
  AddGguf();
  hub_.SetFault([this](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/far-away/")) return std::nullopt;
    return Raw("200 X\r\nContent-Length: " + std::to_string(gguf_.size()), gguf_);
  });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, NoticesWrongParts) {
  AddGguf();
  const auto shift = [this](const HttpRequest& request) {  // another part than was asked for
    HttpAnswer answer = hub_.SendBytes(request, gguf_);
    const size_t at = answer.pieces[0].find("bytes ");
    if (at != std::string::npos) answer.pieces[0].insert(at + 6, "1");
    return answer;
  };
  hub_.SetFault([shift, first = First(2)](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return first(request) ? std::optional(shift(request)) : std::nullopt;
  });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
  fs::remove_all(target_);
  // Always: then it has to come in one piece.
  hub_.SetFault([shift](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return request.path.starts_with("/far-away/") ? std::optional(shift(request)) : std::nullopt;
  });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, NoticesWrongBytes) {
  AddGguf();
  std::string wrong = gguf_;
  wrong[777'777] ^= 1;
  const auto damaged = [&](int count) {
    return [this, &wrong, first = First(count)](const HttpRequest& request) -> std::optional<HttpAnswer> {
      return first(request) ? std::optional(hub_.SendBytes(request, wrong)) : std::nullopt;
    };
  };
  hub_.SetFault(damaged(1'000'000));
  ExpectFailure(ErrorCode::kCorrupt, "digest");
  hub_.SetFault(damaged(17));  // once: the file is fetched again
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, NoticesWrongLengths) {
  AddGguf();
  for (const std::string& content : {gguf_ + "more", gguf_.substr(0, gguf_.size() - 1)}) {
    hub_.SetFault([this, content](const HttpRequest& request) -> std::optional<HttpAnswer> {
      if (!request.path.starts_with("/far-away/")) return std::nullopt;
      return hub_.SendBytes(request, content);
    });
    ExpectFailure(ErrorCode::kCorrupt, "bytes");
  }
  // Without a length, and too long.
  hub_.SetFault([this](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return request.path.starts_with("/far-away/") ? std::optional(Raw("200 X", gguf_ + "more")) : std::nullopt;
  });
  ExpectFailure(ErrorCode::kCorrupt, "more than");
}

TEST_F(PullTest, FollowsRedirectsWithinBounds) {
  AddGguf();
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    const std::string path = request.path.substr(0, request.path.find('?'));
    if (path.starts_with("/owner/")) return Raw("302 X\r\nLocation: /hop1");
    if (path == "/hop1") return Raw("307 X\r\nLocation: hop2");
    if (path == "/hop2") return Raw("308 X\r\nLocation: /far-away/m-Q4_0.gguf");
    return std::nullopt;
  });
  EXPECT_TRUE(PullIt());
  fs::remove_all(target_);
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return request.path.starts_with("/owner/") ? std::optional(Raw("302 X\r\nLocation: " + request.path))
                                               : std::nullopt;
  });
  ExpectFailure(ErrorCode::kCorrupt, "redirected more than");
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    return request.path.starts_with("/owner/") ? std::optional(Raw("302 X\r\nLocation: file:///etc/passwd"))
                                               : std::nullopt;
  });
  ExpectFailure(ErrorCode::kCorrupt, "redirected to");
  hub_.SetFault([](const HttpRequest&) { return Raw("302 X"); });
  ExpectFailure(ErrorCode::kCorrupt, "redirected to");
}

TEST_F(PullTest, AsksForANewLinkWhenOneExpires) {
  AddGguf();
  hub_.SetFault(
      [uses = std::make_shared<std::atomic<int>>(0)](const HttpRequest& request) -> std::optional<HttpAnswer> {
        if (!request.path.starts_with("/far-away/")) return std::nullopt;
        return ++*uses % 5 == 0 ? std::optional(Raw("403 X", "expired")) : std::nullopt;
      });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, GivesUpConnectionsThatStall) {
  AddGguf();
  hub_.SetFault([this, first = First(2)](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!first(request)) return std::nullopt;
    HttpAnswer answer = hub_.SendBytes(request, gguf_);
    answer.pieces[0].resize(answer.pieces[0].size() - 1000);
    answer.stay_open_ms = 60'000;
    return answer;
  });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, FilesOfUnknownSizeAndDigest) {
  hub_.Add("m-Q4_0.gguf", {gguf_, true, false});  // the redirect tells
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
  fs::remove_all(target_);
  hub_.Add("m-Q4_0.gguf", {gguf_, false, false});  // nobody tells
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, WebAddresses) {
  AddGguf();
  EXPECT_TRUE(PullIt(ParseHubName(hub_.url() + "/m-Q4_0.gguf", "https://hub.invalid")));
  EXPECT_EQ(ReadFile(target_), gguf_);
  EXPECT_THROW(PullIt(ParseHubName(hub_.url() + "/absent.gguf", "https://hub.invalid")), Error);
  EXPECT_THROW(PullIt(ParseHubName(hub_.url() + "/m.safetensors", "https://hub.invalid")), Error);
  fs::remove_all(target_);
  // No length, no ranges, cut once: it begins again.
  hub_.SetFault([this, cut = First(2, "/m-Q4")](const HttpRequest& request) -> std::optional<HttpAnswer> {
    const std::string body = cut(request) ? gguf_.substr(0, 100'000) : gguf_;
    return HttpAnswer{{"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n" + fmt::format("{:x}\r\n", body.size()) +
                       body + (body.size() == gguf_.size() ? "\r\n0\r\n\r\n" : "\r\n")}};
  });
  EXPECT_TRUE(PullIt(ParseHubName(hub_.url() + "/m-Q4_0.gguf", "https://hub.invalid")));
  EXPECT_EQ(ReadFile(target_), gguf_);
  // A page that says something else.
  fs::remove_all(target_);
  hub_.SetFault([](const HttpRequest&) { return Raw("200 X\r\nContent-Length: 12", "<html></html>"); });
  EXPECT_THROW(PullIt(ParseHubName(hub_.url() + "/m-Q4_0.gguf", "https://hub.invalid")), Error);
  EXPECT_FALSE(fs::exists(target_));
}

TEST_F(PullTest, FoldersOfWebServers) {
  const std::string index = R"({"weight_map":{"a":"model-1-of-2.safetensors","b":"model-2-of-2.safetensors"}})";
  hub_.Add("x/config.json", {"{}", false});
  hub_.Add("x/model.safetensors.index.json", {index, false});
  hub_.Add("x/model-1-of-2.safetensors", {SampleBytes(100'000, 1), false});
  const HubSource source = ParseHubName(hub_.url() + "/x/", "https://hub.invalid");
  EXPECT_THROW(PullIt(source), Error);  // one of the shards is missing
  hub_.Add("x/model-2-of-2.safetensors", {SampleBytes(90'000, 2), false});
  EXPECT_TRUE(PullIt(source));
  EXPECT_EQ(ReadFile(target_ / "config.json"), "{}");
  EXPECT_EQ(ReadFile(target_ / "model-2-of-2.safetensors"), SampleBytes(90'000, 2));
  EXPECT_THROW(PullIt(ParseHubName(hub_.url() + "/y/", "https://hub.invalid")), Error);
}

TEST_F(PullTest, RefusesAFullDisk) {
  AddGguf();
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/api/")) return std::nullopt;
    return Answer(
        200, R"({"id":"owner/model","sha":"abc","siblings":[{"rfilename":"m-Q4_0.gguf","size":1000000000000000000}]})");
  });
  ExpectFailure(ErrorCode::kLimit, "disk is too full");
}

TEST_F(PullTest, OneProcessAtATime) {
  AddGguf();
  const fs::path work = WorkFolder(folder_ / "work", "owner/model");
  fs::create_directories(work);
  const int other = open(work.c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(flock(other, LOCK_EX), 0);
  int waited = 0;
  EXPECT_TRUE(PullIt(Source(), [&](const PullStatus& status) {
    if (status.phase != PullStatus::Phase::kWaiting) return;
    if (++waited == 2) close(other);
  }));
  EXPECT_EQ(waited, 2);
}

TEST_F(PullTest, JobsAreShared) {
  AddGguf();
  hub_.SetFault([this](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/far-away/")) return std::nullopt;
    HttpAnswer answer = hub_.SendBytes(request, gguf_);
    answer.pieces.insert(answer.pieces.begin(), "");
    answer.pause_ms = 30;
    return answer;
  });
  PullJobs jobs;
  std::mutex mutex;
  std::condition_variable changed;
  int ended = 0, failed = 0, gone_told = 0;
  const auto listener = [&] {
    return PullJobs::Listener{{}, [&](std::exception_ptr failure) {
                                const std::lock_guard lock(mutex);
                                ++ended;
                                if (failure) ++failed;
                                changed.notify_all();
                              }};
  };
  const auto work = [&](const PullListener& told) { PullIt(Source(), told); };
  std::vector<std::unique_ptr<PullJobs::Ticket>> tickets;
  for (int i = 0; i < 3; ++i) tickets.push_back(jobs.Join("owner/model", work, listener()));
  auto leaving = jobs.Join("owner/model", work, {{}, [&](std::exception_ptr) { ++gone_told; }});
  EXPECT_EQ(jobs.running(), 1u);
  leaving.reset();
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return ended == 3; }));
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(gone_told, 0);
  EXPECT_EQ(hub_.sent(), gguf_.size());
}

TEST_F(PullTest, AJobWithoutListenersStops) {
  AddGguf();
  hub_.SetFault([](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/far-away/")) return std::nullopt;
    HttpAnswer answer = Raw("200 X");
    answer.stay_open_ms = 60'000;
    return answer;
  });
  PullJobs jobs;
  const auto work = [&](const PullListener& told) { PullIt(Source(), told); };
  auto ticket = jobs.Join("owner/model", work, {});
  ticket.reset();
  // Who comes next starts another, which waits for the first to let go.
  hub_.SetFault({});
  std::mutex mutex;
  std::condition_variable changed;
  bool ended = false;
  auto next = jobs.Join("owner/model", work, {{}, [&](std::exception_ptr failure) {
                                                const std::lock_guard lock(mutex);
                                                EXPECT_FALSE(failure);
                                                ended = true;
                                                changed.notify_all();
                                              }});
  std::unique_lock lock(mutex);
  EXPECT_TRUE(changed.wait_for(lock, std::chrono::seconds(20), [&] { return ended; }));
  EXPECT_EQ(ReadFile(target_), gguf_);
}

TEST_F(PullTest, ManyCheckpointsUnderRandomFaults) {
  // Every fault at once, at random, small pieces: what is published is right.
  hub_.Add("config.json", {"{}", false});
  hub_.Add("model-00001-of-00002.safetensors", {SampleBytes(200'000, 1)});
  hub_.Add("model-00002-of-00002.safetensors", {SampleBytes(150'001, 2)});
  options_.piece = 9'000;
  options_.fetch.attempts = 1000;
  std::mutex mutex;
  unsigned state = 17;
  hub_.SetFault([&](const HttpRequest& request) -> std::optional<HttpAnswer> {
    if (!request.path.starts_with("/far-away/")) return std::nullopt;
    const std::lock_guard lock(mutex);
    state = state * 1664525 + 1013904223;
    const std::string content =
        request.path.find("00001-of") != std::string::npos ? SampleBytes(200'000, 1) : SampleBytes(150'001, 2);
    switch (state >> 24 & 15) {
      case 0:
        return Raw("429 X\r\nRetry-After: 0");
      case 1:
        return Raw("503 X");
      case 2:
        return HttpAnswer{{""}};  // closes without a word
      case 3: {
        HttpAnswer answer = hub_.SendBytes(request, content);
        answer.pieces[0].resize(answer.pieces[0].size() / 2);
        return answer;
      }
      case 4:
        return Raw("403 X");
      default:
        return std::nullopt;
    }
  });
  EXPECT_TRUE(PullIt());
  EXPECT_EQ(ReadFile(target_ / "model-00001-of-00002.safetensors"), SampleBytes(200'000, 1));
  EXPECT_EQ(ReadFile(target_ / "model-00002-of-00002.safetensors"), SampleBytes(150'001, 2));
}

}  // namespace
}  // namespace edgellm
