// See gguf_parts.h.
#include "convert/gguf_parts.h"

#include <algorithm>
#include <map>

#include "base/error.h"
#include "base/one_line.h"
#include "base/part_name.h"

namespace edgellm {
namespace {

namespace fs = std::filesystem;

constexpr const char *kNumber = "split.no", *kCount = "split.count", *kTensors = "split.tensors.count";
/// Both are 16 bits wide in the files.
constexpr int64_t kMostParts = UINT16_MAX;

int64_t PartCount(const GgufFile& file) {
  return file.Integer(kCount, 0, kMostParts).value_or(0);
}

std::optional<PartName> PartNameOf(const fs::path& file) {
  if (file.extension() != ".gguf") return std::nullopt;
  auto name = ParsePartName(file.stem().native());
  return name && name->count > 1 ? name : std::nullopt;
}

fs::path PartPath(const fs::path& beside, const PartName& part, int number) {
  return beside.parent_path() / (part.name + PartEnding(number, part.count) + ".gguf");
}

std::vector<fs::path> GgufsIn(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const bool is_hidden = entry.path().filename().native().starts_with('.');
    if (!is_hidden && entry.path().extension() == ".gguf" && !entry.is_directory(failed)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

bool SameModel(const fs::path& one, const fs::path& other) {
  const auto a = PartNameOf(one), b = PartNameOf(other);
  return a && b && a->name == b->name && a->count == b->count;
}

/// Any file of the one model in a folder.
fs::path ChooseGguf(const fs::path& folder) {
  const auto files = GgufsIn(folder);
  if (files.empty()) Fail(ErrorCode::kInvalidArgument, "{}: no .gguf file in this folder", folder.string());
  for (const auto& file : files) {
    if (file == files.front() || SameModel(files.front(), file)) continue;
    Fail(ErrorCode::kInvalidArgument, "{}: holds several models ({} and {}): name one of their files", folder.string(),
         files.front().filename().string(), file.filename().string());
  }
  return files.front();
}

/// What only the first part must say, others may repeat.
void CheckMetadata(const GgufFile& first, const GgufFile& part) {
  for (const auto& [key, value] : part.metadata) {
    if (key.starts_with("split.") || std::holds_alternative<GgufArray>(value)) continue;
    const GgufValue* known = first.Find(key);
    const bool same = known == nullptr || std::visit(
                                              [&](const auto& held) {
                                                using Held = std::decay_t<decltype(held)>;
                                                if constexpr (std::is_same_v<Held, GgufArray>) {
                                                  return true;
                                                } else {
                                                  const auto* other = std::get_if<Held>(known);
                                                  return other != nullptr && *other == held;
                                                }
                                              },
                                              value);
    if (!same) {
      Fail(ErrorCode::kCorrupt, "{}: a part of another model than {}: metadata {} differs", part.name, first.name,
           OneLine(key));
    }
  }
}

void CheckPart(const GgufFile& first, const GgufFile& part, int64_t index, int64_t count) {
  const auto number = part.Integer(kNumber, 0, kMostParts);
  if (!number || PartCount(part) == 0) {
    Fail(ErrorCode::kCorrupt, "{}: no part of a split model: it has no {}", part.name, number ? kCount : kNumber);
  }
  if (PartCount(part) != count) {
    Fail(ErrorCode::kCorrupt, "{}: a part of another model: one of {} by its metadata ({}), not of {}", part.name,
         PartCount(part), kCount, count);
  }
  if (*number != index) {
    Fail(ErrorCode::kCorrupt, "{}: in the place of part {}, but part {} by its metadata ({} is {})", part.name,
         index + 1, *number + 1, kNumber, *number);
  }
  const auto tensors = first.Integer(kTensors, 0, INT32_MAX), own = part.Integer(kTensors, 0, INT32_MAX);
  if (own && own != tensors) {
    Fail(ErrorCode::kCorrupt, "{}: a part of another model than {}: {} is {} here, {} there", part.name, first.name,
         kTensors, *own, tensors ? fmt::to_string(*tensors) : "not");
  }
  CheckMetadata(first, part);
}

std::map<std::string, GgufTensor, std::less<>> TensorsOfAll(const std::vector<GgufFile>& parts) {
  std::map<std::string, GgufTensor, std::less<>> all;
  for (const GgufFile& part : parts) {
    for (const auto& [name, tensor] : part.tensors) {
      if (all.emplace(name, tensor).second) continue;
      const auto holder = std::find_if(parts.begin(), parts.end(), [&tensor_name = name](const GgufFile& earlier) {
        return earlier.tensors.contains(tensor_name);
      });
      Fail(ErrorCode::kCorrupt, "{}: tensor {} is in {} too", part.name, OneLine(name), holder->name);
    }
  }
  const auto expected = parts.front().Integer(kTensors, 0, INT32_MAX);
  if (expected && static_cast<uint64_t>(*expected) != all.size()) {
    Fail(ErrorCode::kCorrupt, "{}: its {} parts hold {} tensors, but {} is {}: a part of another model is among them",
         parts.front().name, parts.size(), all.size(), kTensors, *expected);
  }
  return all;
}

}  // namespace

GgufFile JoinGgufParts(std::vector<GgufFile> parts) {
  EDGELLM_CHECK(!parts.empty(), "a model has a file");
  const int64_t count = PartCount(parts.front());
  if (count <= 1 && parts.size() == 1) return std::move(parts.front());
  if (parts.size() == 1) {
    Fail(ErrorCode::kUnsupported, "{}: one of {} parts of a split model; the others are needed too", parts.front().name,
         count);
  }
  const auto wanted = static_cast<int64_t>(parts.size());
  for (int64_t i = 0; i < wanted; ++i) CheckPart(parts.front(), parts[static_cast<size_t>(i)], i, wanted);
  auto tensors = TensorsOfAll(parts);
  GgufFile joined = std::move(parts.front());
  joined.tensors = std::move(tensors);
  return joined;
}

std::shared_ptr<const MappedGguf> OpenGguf(const fs::path& path) {
  const fs::path given = fs::is_directory(path) ? ChooseGguf(path) : path;
  auto mapped = std::make_shared<MappedGguf>();
  const auto open = [&](const fs::path& file) {
    mapped->files.push_back(std::make_unique<const MappedFile>(file));
    return ParseGguf(mapped->files.back()->bytes(), file.string());
  };
  std::vector<GgufFile> parts;
  parts.push_back(open(given));
  if (const int64_t count = PartCount(parts.front()); count > 1) {
    const auto name = PartNameOf(given);
    if (!name) {
      Fail(ErrorCode::kUnsupported,
           "{}: one of {} parts of a split model, which are found by their names (NAME{}.gguf): it is not called so",
           given.string(), count, PartEnding(1, static_cast<int>(count)));
    }
    if (name->count != count) {
      Fail(ErrorCode::kCorrupt, "{}: one of {} parts by its metadata ({}), but of {} by its name", given.string(),
           count, kCount, name->count);
    }
    mapped->files.clear();
    parts.clear();
    for (int number = 1; number <= name->count; ++number) {
      const fs::path part = PartPath(given, *name, number);
      if (!fs::exists(part)) {
        Fail(ErrorCode::kNotFound, "{}: part {} of {} of a split model is missing", part.string(), number, name->count);
      }
      parts.push_back(open(part));
    }
  }
  mapped->gguf = JoinGgufParts(std::move(parts));
  return mapped;
}

bool HoldsGguf(const fs::path& folder) {
  return !GgufsIn(folder).empty();
}

bool IsGgufFolder(const fs::path& folder) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    if (entry.is_directory(failed)) return false;
  }
  const auto files = GgufsIn(folder);
  return !files.empty() &&
         std::all_of(files.begin(), files.end(), [&](const auto& file) { return SameModel(files.front(), file); });
}

bool IsGgufPart(const fs::path& file) {
  return PartNameOf(file).has_value();
}

std::vector<fs::path> GgufPartsBeside(const fs::path& part) {
  const auto name = PartNameOf(part);
  EDGELLM_CHECK(name.has_value(), "only of a part");
  std::vector<fs::path> parts;
  for (const auto& file : GgufsIn(part.has_parent_path() ? part.parent_path() : fs::path("."))) {
    if (SameModel(part, file)) parts.push_back(file);
  }
  return parts;
}

}  // namespace edgellm
