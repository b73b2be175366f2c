// The foundations: half floats against exhaustive definitions, UTF-8 against the standard's table, files and digests,
// workers.
#include <array>
#include <cmath>
#include <filesystem>
#include <unistd.h>

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "base/byte_reader.h"
#include "base/file.h"
#include "base/half.h"
#include "base/sha256.h"
#include "base/utf8.h"
#include "base/worker_pool.h"

namespace edgellm {
namespace {

/// The value of a binary16 pattern, by its definition.
double HalfValue(uint16_t bits) {
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  if (exponent == 31) return mantissa != 0 ? NAN : sign * INFINITY;
  return sign * (exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25));
}

TEST(Half, EveryF16PatternConvertsExactly) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const double expected = HalfValue(half);
    const float value = F16ToFloat(half);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_TRUE(std::isnan(F16ToFloat(FloatToF16(value))));
    } else {
      EXPECT_EQ(value, expected);
      EXPECT_EQ(std::signbit(value), std::signbit(expected));
      EXPECT_EQ(FloatToF16(value), half);
    }
  }
}

TEST(Half, F16RoundsToNearestEven) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {
    const double low = HalfValue(half), high = HalfValue(static_cast<uint16_t>(half + 1)), middle = (low + high) / 2;
    EXPECT_EQ(FloatToF16(static_cast<float>(middle)), (half & 1) == 0 ? half : half + 1);
    EXPECT_EQ(FloatToF16(std::nextafterf(static_cast<float>(middle), 0.0f)), half);
    EXPECT_EQ(FloatToF16(std::nextafterf(static_cast<float>(middle), 1e9f)), half + 1);
  }
  EXPECT_EQ(FloatToF16(65519.0f), 0x7bff);
  EXPECT_EQ(FloatToF16(65520.0f), 0x7c00);
  EXPECT_EQ(FloatToF16(-1e30f), 0xfc00);
}

TEST(Half, Bf16RoundsToNearestEven) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float value = Bf16ToFloat(half);
    if (!std::isnan(value)) {
      EXPECT_EQ(FloatToBf16(value), half);
    }
  }
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // ties to even
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(FloatToBf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isnan(Bf16ToFloat(FloatToBf16(NAN))));
}

TEST(Utf8, EveryCodePointGoesRoundAndNothingElsePasses) {
  for (char32_t code_point = 0; code_point <= 0x10ffff; ++code_point) {
    if (code_point >= 0xd800 && code_point <= 0xdfff) continue;
    std::string text;
    utf8::Append(text, code_point);
    const auto decoded = utf8::Decode(text);
    ASSERT_EQ(decoded.state, utf8::Decoded::kWhole);
    ASSERT_EQ(decoded.code_point, code_point);
    for (size_t cut = 1; cut < text.size(); ++cut) {
      ASSERT_EQ(utf8::Decode(text.substr(0, cut)).state, utf8::Decoded::kIncomplete);
      ASSERT_EQ(utf8::CompletePrefix("a" + text.substr(0, cut)), 1u);
    }
  }
  for (const char* broken : {"\x80", "\xc0\xaf", "\xc1\xbf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                             "\xf4\x90\x80\x80", "\xf5", "\xff", "\xc3("}) {
    EXPECT_FALSE(utf8::IsValid(broken));
    EXPECT_TRUE(utf8::IsValid(utf8::Sanitize(broken)));
  }
  EXPECT_EQ(utf8::Sanitize("a\xe2\x82z"), "a\xef\xbf\xbdz");  // one replacement for a maximal part
}

RC_GTEST_PROP(Utf8, SanitizedBytesAreValidAndValidTextStays, (const std::string& bytes)) {
  RC_ASSERT(utf8::IsValid(utf8::Sanitize(bytes)));
  if (utf8::IsValid(bytes)) RC_ASSERT(utf8::Sanitize(bytes) == bytes);
  RC_ASSERT(utf8::CompletePrefix(bytes) + 3 >= bytes.size());
}

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256Hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const std::string abc = "abc";
  EXPECT_EQ(Sha256Hex(std::as_bytes(std::span(abc.data(), abc.size()))),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

class Files : public testing::Test {
 protected:
  Files() : folder_(std::filesystem::temp_directory_path() / ("edgellm-files-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~Files() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path folder_;
};

TEST_F(Files, WriterShowsNothingUntilCommit) {
  const auto path = folder_ / "file";
  {
    FileWriter writer(path);
    writer.Write("half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  FileWriter writer(path);
  writer.Write("hello world");
  const std::string patch = "HELLO";
  writer.WriteAt(0, std::as_bytes(std::span(patch.data(), patch.size())));
  writer.Commit();
  EXPECT_EQ(ReadFile(path), "HELLO world");
  EXPECT_EQ(MappedFile(path).bytes().size(), 11u);
  EXPECT_THROW(ReadFile(path, 10), Error);
}

TEST_F(Files, ErrorsNameThePathAndTheCause) {
  const auto text_of = [](auto&& action) {
    try {
      action();
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(text_of([&] { MappedFile(folder_ / "missing"); }).find("missing: cannot open: No such file"),
            std::string::npos);
  EXPECT_NE(text_of([&] { MappedFile mapped(folder_); }).find("is a directory"), std::string::npos);
  EXPECT_NE(text_of([&] { FileWriter(folder_ / "no" / "such"); }).find("cannot create"), std::string::npos);
}

TEST(ByteReader, RefusesToReadPastTheEnd) {
  const std::array<std::byte, 3> bytes = {std::byte{1}, std::byte{0}, std::byte{2}};
  ByteReader reader(bytes, "some.file");
  EXPECT_EQ(reader.Read<uint16_t>("count"), 1);
  try {
    reader.Read<uint32_t>("length");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "some.file: file ends inside length: 4 bytes needed at offset 2, 1 left");
  }
}

TEST(WorkerPool, EveryWorkerPassesEveryBarrierTogether) {
  for (int threads : {1, 2, 3, 8}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    std::vector<int> counts(static_cast<size_t>(threads), 0);
    for (int run = 0; run < 50; ++run) {
      pool.Run([&](int worker) {
        for (int phase = 1; phase <= 20; ++phase) {
          ++counts[static_cast<size_t>(worker)];
          pool.Barrier(worker);
          for (int count : counts) EXPECT_EQ(count, run * 20 + phase);
          pool.Barrier(worker);
        }
      });
    }
  }
}

TEST(WorkerPool, SteadyRunsLeaveOutWhoKeepsTheOthersWaiting) {
  for (const int late : {0, 1}) {  // the caller, and another thread
    WorkerPool pool(3);
    std::thread::id late_thread;
    pool.Run([&](int worker) {
      if (worker == late) late_thread = std::this_thread::get_id();
    });
    std::atomic<bool> is_late = true;
    std::atomic<int> workers = 0, sum = 0;
    const std::function<void(int)> work = [&](int worker) {
      if (worker == 0) workers = pool.size();
      for (int phase = 0; phase < 3; ++phase) {
        if (is_late && std::this_thread::get_id() == late_thread) {
          std::this_thread::sleep_for(std::chrono::milliseconds(4));
        }
        const Slice slice = SliceOf(100, worker, pool.size());
        sum += static_cast<int>(slice.last - slice.first);
        pool.Barrier(worker);
      }
    };
    const auto runs_until = [&](int count) {
      for (int run = 0; run < 100000; ++run) {
        sum = 0;
        pool.RunSteady(work);
        if (sum != 300) return false;
        if (workers == count) return true;
      }
      return false;
    };
    EXPECT_TRUE(runs_until(2)) << late;
    is_late = false;
    EXPECT_TRUE(runs_until(3)) << late;
    EXPECT_EQ(pool.size(), 3);
  }
}

TEST(WorkerPool, SlicesCoverEverythingOnce) {
  for (int64_t total : {0, 1, 7, 100}) {
    for (int workers : {1, 2, 3, 8}) {
      int64_t next = 0;
      for (int worker = 0; worker < workers; ++worker) {
        const auto [first, last] = SliceOf(total, worker, workers);
        EXPECT_EQ(first, next);
        EXPECT_LE(first, last);
        next = last;
      }
      EXPECT_EQ(next, total);
    }
  }
}

}  // namespace
}  // namespace edgellm
