// The container: what it writes other readers can read (layout, order, alignment), and every kind of damage is one
// error.
#include "model/safetensors.h"

#include <cstring>
#include <random>

#include "base/half.h"
#include "tests/model/expect_error.h"
#include "tests/model/sample_model.h"

namespace edgellm {
namespace {

std::string Container(std::string_view header, size_t data_bytes) {
  std::string file(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(file.data(), &length, sizeof(length));
  return file + std::string(header) + std::string(data_bytes, '\x01');
}

SafetensorsFile Parse(std::string_view bytes) {
  return ParseSafetensors(std::as_bytes(std::span(bytes)), "t.safetensors");
}

std::string Refused(std::string_view header, size_t data_bytes) {
  const std::string file = Container(header, data_bytes);
  return ErrorOf([&] { Parse(file); }, ErrorCode::kCorrupt);
}

TEST(SafetensorsTest, ReadsWhatTheFormatDescribes) {
  const std::string file = Container(
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]},)"
      R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"s":{"dtype":"U8","shape":[],"data_offsets":[30,31]},)"
      R"("e":{"dtype":"F32","shape":[0,5],"data_offsets":[31,31]}}   )",
      31);
  const auto parsed = Parse(file);
  EXPECT_EQ(parsed.metadata.at("format"), "pt");
  ASSERT_EQ(parsed.tensors.size(), 4u);
  EXPECT_EQ(parsed.tensors.at("a").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(parsed.tensors.at("b").dtype, "BF16");
  EXPECT_EQ(parsed.tensors.at("b").bytes.size(), 6u);
  EXPECT_EQ(parsed.tensors.at("s").bytes.size(), 1u);
  EXPECT_TRUE(parsed.tensors.at("e").bytes.empty());
}

TEST(SafetensorsTest, AnEmptyContainerIsOne) {
  EXPECT_TRUE(Parse(Container("{}", 0)).tensors.empty());
}

TEST(SafetensorsTest, RefusesABrokenHeader) {
  ErrorOf([] { Parse(""); }, ErrorCode::kCorrupt);
  ErrorOf([] { Parse("1234567"); }, ErrorCode::kCorrupt);
  ErrorOf([] { Parse(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)); }, ErrorCode::kCorrupt);
  ErrorOf([] { Parse(std::string_view("\x03\0\0\0\0\0\0\0{}", 10)); }, ErrorCode::kCorrupt);
  Refused("", 0);
  Refused("[]", 0);
  Refused("{", 0);
  Refused("{\"a\"}", 0);
  Refused("{}x", 0);
  Refused("{\"a\xff\":1}", 0);
  Refused(std::string(1000, '{'), 0);
  Refused("{\"a\":" + std::string(100000, '['), 0);
}

TEST(SafetensorsTest, RefusesAZeroByteInTheHeader) {
  EXPECT_CONTAINS(Refused(std::string_view("{}\0\0", 4), 0), "a zero byte");
}

TEST(SafetensorsTest, RefusesEntriesThatContradictThemselves) {
  const auto entry = [](std::string_view body) { return fmt::format("{{\"t\":{{{}}}}}", body); };
  const struct {
    const char* body;
    size_t data;
    const char* mentions;
  } cases[] = {
      {R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", 4, "needs 8 bytes"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0,8])", 8, "needs 4 bytes"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0,4])", 3, "cut short"},
      {R"("dtype":"F33","shape":[1],"data_offsets":[0,4])", 4, "F33"},
      {R"("dtype":7,"shape":[1],"data_offsets":[0,4])", 4, "dtype"},
      {R"("dtype":"F32","shape":[-1],"data_offsets":[0,4])", 4, "shape"},
      {R"("dtype":"F32","shape":[1.0],"data_offsets":[0,4])", 4, "shape"},
      {R"("dtype":"F32","shape":1,"data_offsets":[0,4])", 4, "shape"},
      {R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0])", 0, "2^61"},
      {R"("dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0])", 0, "2^61"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[4,0])", 4, "data_offsets"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0])", 4, "data_offsets"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615])", 4, "data_offsets"},
      {R"("dtype":"F32","shape":[1])", 4, "data_offsets"},
      {R"("dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1)", 4, "nothing else"},
      {R"("dtype":"F4","shape":[3],"data_offsets":[0,1])", 1, "whole number of bytes"},
  };
  for (const auto& c : cases) {
    const std::string text = Refused(entry(c.body), c.data);
    EXPECT_CONTAINS(text, c.mentions);
    EXPECT_CONTAINS(text, "t.safetensors: tensor t");
  }
}

TEST(SafetensorsTest, RefusesHolesOverlapsDuplicatesAndForeignMetadata) {
  const auto two = [](int a0, int a1, int b0, int b1) {
    return fmt::format(R"({{"a":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}},)"
                       R"("b":{{"dtype":"U8","shape":[{}],"data_offsets":[{},{}]}}}})",
                       a1 - a0, a0, a1, b1 - b0, b0, b1);
  };
  EXPECT_NO_THROW(Parse(Container(two(4, 8, 0, 4), 8)));
  EXPECT_CONTAINS(Refused(two(0, 4, 3, 8), 8), "overlap");
  EXPECT_CONTAINS(Refused(two(0, 4, 0, 4), 4), "overlap");
  EXPECT_CONTAINS(Refused(two(0, 4, 5, 8), 8), "hole");
  EXPECT_CONTAINS(Refused(two(1, 4, 4, 8), 8), "hole");
  EXPECT_CONTAINS(Refused(two(0, 4, 4, 8), 9), "follow the last tensor");
  EXPECT_CONTAINS(Refused(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                          R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                          0),
                  "twice");
  EXPECT_CONTAINS(Refused(R"({"__metadata__":{"a":1}})", 0), "not a string");
  EXPECT_CONTAINS(Refused(R"({"__metadata__":[]})", 0), "__metadata__");
  EXPECT_CONTAINS(Refused("{\"a\\nb\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0), "name");
}

SafetensorsPlanned Planned(const std::string& name, const std::string& dtype, std::vector<int64_t> shape,
                           const std::string& bytes) {
  return {name, dtype, std::move(shape), [bytes](const auto& write) {
            // In two parts, as a tensor that is made while it is written.
            const auto all = std::as_bytes(std::span(bytes));
            write(all.first(all.size() / 2));
            write(all.subspan(all.size() / 2));
          }};
}

TEST(SafetensorsTest, WritesAlignedWithoutHoles) {
  const TemporaryFolder folder;
  std::vector<SafetensorsPlanned> planned = {Planned("odd", "U8", {3}, "abc"),
                                             Planned("half", "F16", {5}, std::string(10, 'h')),
                                             Planned("big", "F32", {4, 16}, std::string(256, 'B')),
                                             Planned("single", "F32", {3}, std::string(12, 's')),
                                             Planned("bytes", "U8", {64}, std::string(64, 'b')),
                                             Planned("none", "F32", {0}, "")};
  const std::map<std::string, std::string> metadata = {{"key", "value \" with \n odd \xc3\xa9 text"}};
  int calls = 0;
  WriteSafetensors(folder / "x.safetensors", planned, SafetensorsMetadataBytes(metadata) + 100, [&] {
    ++calls;
    return metadata;
  });
  EXPECT_EQ(calls, 1);
  const MappedFile file(folder / "x.safetensors");
  const auto parsed = ParseSafetensors(file.bytes(), "x");
  EXPECT_EQ(parsed.metadata, metadata);
  ASSERT_EQ(parsed.tensors.size(), planned.size());
  for (const auto& [name, entry] : parsed.tensors) {
    const auto offset = static_cast<size_t>(entry.bytes.data() - file.bytes().data());
    const size_t element = entry.dtype == "F32" ? 4 : entry.dtype == "F16" ? 2 : 1;
    EXPECT_EQ(offset % (entry.bytes.size() % 64 == 0 ? 64 : element), 0u) << name;
  }
  EXPECT_EQ(std::memcmp(parsed.tensors.at("odd").bytes.data(), "abc", 3), 0);
}

TEST(SafetensorsTest, AFailedWriteLeavesNothing) {
  const TemporaryFolder folder;
  std::vector<SafetensorsPlanned> planned = {
      {"t", "U8", {4}, [](const auto&) { Fail(ErrorCode::kIo, "the source went away"); }}};
  ErrorOf([&] { WriteSafetensors(folder / "x", planned, 2, [] { return std::map<std::string, std::string>(); }); });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(SafetensorsTest, DamageIsAnErrorOrHarmless) {
  const std::string good =
      Container(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                R"("b":{"dtype":"BF16","shape":[3],"data_offsets":[24,30]}})",
                30);
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(SucceedsOrFailsCleanly([&] { Parse(std::string_view(good).substr(0, length)); })) << length;
  }
  std::mt19937 generator(1);
  for (int round = 0; round < 3000; ++round) {
    std::string bad = good;
    for (int flips = 1 + static_cast<int>(generator() % 3); flips > 0; --flips) {
      bad[generator() % bad.size()] = static_cast<char>(generator());
    }
    SucceedsOrFailsCleanly([&] { Parse(bad); });
  }
}

}  // namespace
}  // namespace edgellm
