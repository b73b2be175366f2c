// See file_choice.h.
#include "hub/file_choice.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>

#include "base/error.h"
#include "base/one_line.h"
#include "base/part_name.h"

namespace edgellm {
namespace {

constexpr std::string_view kPreferred[] = {"Q4_K_M", "Q4_K_S", "Q4_0", "Q5_K_M", "Q5_K_S", "Q6_K",
                                           "Q8_0",   "BF16",   "F16",  "F32",    "TQ2_0",  "TQ1_0"};

/// A GGUF: one file, or all parts of a split one.
struct Gguf {
  std::string stem;            // of the path, without -00001-of-00003 and .gguf, in capitals
  std::vector<HubFile> parts;  // in order
  size_t wanted_parts = 1;
};

std::string Upper(std::string_view text) {
  std::string upper(text);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  return upper;
}

std::string_view FileName(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

bool HasSuffix(std::string_view path, std::string_view upper_suffix) {
  return Upper(path).ends_with(upper_suffix);
}

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// Projectors of images and matrices of importance are GGUF files too, but no models.
bool IsModelGguf(std::string_view path) {
  const std::string name = Upper(FileName(path));
  return name.ends_with(".GGUF") && !name.starts_with("MMPROJ") && name.find("IMATRIX") == name.npos;
}

std::vector<Gguf> FindGgufs(const std::vector<HubFile>& files) {
  std::map<std::string, Gguf> found;
  for (const auto& file : files) {
    if (!IsModelGguf(file.path)) continue;
    std::string stem = Upper(file.path);
    stem.resize(stem.size() - std::string_view(".GGUF").size());
    const auto part = ParsePartName(stem);
    if (part) stem = part->name;
    Gguf& gguf = found[stem];
    gguf.stem = stem;
    gguf.wanted_parts = part ? static_cast<size_t>(part->count) : 1;
    gguf.parts.push_back(file);
  }
  std::vector<Gguf> ggufs;
  for (auto& [stem, gguf] : found) {
    std::sort(gguf.parts.begin(), gguf.parts.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    ggufs.push_back(std::move(gguf));
  }
  return ggufs;
}

/// "Q4_K_M", "IQ2_XS", "TQ1_0", "BF16", "MXFP4": what may follow a '_' in a file's name too, which stands in it itself.
bool LooksLikeQuantisation(std::string_view upper) {
  for (const std::string_view start : {"Q", "IQ", "TQ", "F", "BF", "FP", "MXFP"}) {
    if (upper.starts_with(start) && AllDigits(upper.substr(start.size(), 1))) return true;
  }
  return upper.starts_with("UD-");
}

/// True where the file's name ends in that quantisation: "model-Q4_K_M", "model.Q4_K_M", "Q4_K_M/model-Q4_K_M".
bool HasQuantisation(const Gguf& gguf, std::string_view upper) {
  const std::string_view name = FileName(gguf.stem);
  if (upper.empty() || !name.ends_with(upper)) return false;
  if (name.size() == upper.size()) return true;
  const char before = name[name.size() - upper.size() - 1];
  return before == '-' || before == '.' || (before == '_' && LooksLikeQuantisation(upper));
}

/// The one of that quantisation; of several ("UD-Q4_K_XL" ends in "Q4_K_XL" too) the one with the shortest name.
const Gguf* FindQuantisation(const std::vector<Gguf>& ggufs, std::string_view quantisation) {
  const Gguf* best = nullptr;
  for (const auto& gguf : ggufs) {
    if (HasQuantisation(gguf, Upper(quantisation)) && (best == nullptr || gguf.stem.size() < best->stem.size())) {
      best = &gguf;
    }
  }
  return best;
}

void LargestFirst(std::vector<HubFile>* files) {
  std::stable_sort(files->begin(), files->end(),
                   [](const auto& a, const auto& b) { return a.size.value_or(0) > b.size.value_or(0); });
}

ChosenFiles ChooseGguf(const Gguf& gguf, std::string_view name) {
  if (gguf.parts.size() != gguf.wanted_parts) {
    Fail(ErrorCode::kNotFound, "{}: {} is split into {} parts, of which {} are there", name, gguf.parts.front().path,
         gguf.wanted_parts, gguf.parts.size());
  }
  return {gguf.parts.size() == 1 ? ChosenFiles::Form::kFile : ChosenFiles::Form::kFolder, gguf.parts};
}

bool AtTop(std::string_view path) {
  return path.find('/') == path.npos;
}

const HubFile* Find(const std::vector<HubFile>& files, std::string_view path) {
  const auto found = std::find_if(files.begin(), files.end(), [&](const auto& file) { return file.path == path; });
  return found == files.end() ? nullptr : &*found;
}

bool IsAdapter(std::string_view path) {
  return path.starts_with("adapter_");
}

/// The weights at the top of the repository. Where there is an index, the shards are called …-of-….safetensors; other
/// files beside them are the same weights in another form ("consolidated").
std::vector<HubFile> FindWeights(const std::vector<HubFile>& files) {
  if (const auto* single = Find(files, "model.safetensors");
      single != nullptr && Find(files, "model.safetensors.index.json") == nullptr) {
    return {*single};
  }
  std::vector<HubFile> weights, shards;
  for (const auto& file : files) {
    if (!AtTop(file.path) || !file.path.ends_with(".safetensors") || IsAdapter(file.path)) continue;
    weights.push_back(file);
    if (file.path.starts_with("model") && file.path.find("-of-") != file.path.npos) shards.push_back(file);
  }
  return shards.empty() ? weights : shards;
}

std::optional<ChosenFiles> ChooseSafetensors(const std::vector<HubFile>& files) {
  ChosenFiles chosen{ChosenFiles::Form::kFolder, FindWeights(files)};
  if (chosen.files.empty() || Find(files, "config.json") == nullptr) return std::nullopt;
  for (const auto& name : CompanionFiles()) {
    if (const auto* file = Find(files, name)) chosen.files.push_back(*file);
  }
  for (const auto& file : files) {
    if (AtTop(file.path) && file.path.ends_with(".tiktoken")) chosen.files.push_back(file);
  }
  LargestFirst(&chosen.files);
  return chosen;
}

std::string Offers(const std::vector<HubFile>& files, const std::vector<Gguf>& ggufs) {
  std::string offers;
  for (const auto& gguf : ggufs) offers += (offers.empty() ? "" : ", ") + gguf.parts.front().path;
  if (ChooseSafetensors(files)) offers += offers.empty() ? "safetensors" : ", safetensors";
  return offers.empty() ? "nothing that can be loaded" : OneLine(offers);
}

ChosenFiles ChooseDefault(const std::vector<HubFile>& files, const std::vector<Gguf>& ggufs, std::string_view name) {
  std::vector<HubFile> own;
  for (const auto& file : files) {
    if (file.path.ends_with(".edgellm")) own.push_back(file);
  }
  if (own.size() == 1) return {ChosenFiles::Form::kFile, own};
  for (const auto quantisation : kPreferred) {
    if (const auto* gguf = FindQuantisation(ggufs, quantisation)) return ChooseGguf(*gguf, name);
  }
  if (const auto chosen = ChooseSafetensors(files)) return *chosen;
  if (ggufs.size() == 1) return ChooseGguf(ggufs.front(), name);  // its name tells no format
  if (!ggufs.empty() || own.size() > 1) {
    Fail(ErrorCode::kNotFound, "{}: which file? Name one after a ':'. There are {}", name, Offers(files, ggufs));
  }
  const bool pickle = std::any_of(files.begin(), files.end(), [](const auto& file) {
    return file.path.ends_with(".bin") || file.path.ends_with(".pt") || file.path.ends_with(".pth");
  });
  Fail(ErrorCode::kUnsupported, "{}: there is no GGUF, and no safetensors with a config.json{}", name,
       pickle ? ": only PyTorch's pickle files, which are not read" : "");
}

}  // namespace

const std::vector<std::string>& CompanionFiles() {
  static const std::vector<std::string> names = {"config.json",
                                                 "generation_config.json",
                                                 "tokenizer.json",
                                                 "tokenizer_config.json",
                                                 "tokenizer.model",
                                                 "special_tokens_map.json",
                                                 "added_tokens.json",
                                                 "vocab.json",
                                                 "merges.txt",
                                                 "vocab.txt",
                                                 "encoder.json",
                                                 "vocab.bpe",
                                                 "chat_template.jinja",
                                                 "chat_template.json",
                                                 "quantize_config.json",
                                                 "quantization_config.json",
                                                 "model.safetensors.index.json"};
  return names;
}

ChosenFiles ChooseFiles(const std::vector<HubFile>& files, std::string_view choice, std::string_view name) {
  const std::vector<Gguf> ggufs = FindGgufs(files);
  if (choice.empty() || choice == "latest") return ChooseDefault(files, ggufs, name);
  if (const auto* file = Find(files, choice)) {
    if (!HasSuffix(choice, ".GGUF") && !HasSuffix(choice, ".EDGELLM")) {
      Fail(ErrorCode::kUnsupported, "{}: {} alone is no model; take the whole with ':safetensors'", name, choice);
    }
    for (const auto& gguf : ggufs) {
      if (gguf.parts.size() > 1 && std::find(gguf.parts.begin(), gguf.parts.end(), *file) != gguf.parts.end()) {
        return ChooseGguf(gguf, name);
      }
    }
    return {ChosenFiles::Form::kFile, {*file}};
  }
  if (Upper(choice) == "SAFETENSORS") {
    if (const auto chosen = ChooseSafetensors(files)) return *chosen;
  } else if (const auto* gguf = FindQuantisation(ggufs, choice)) {
    return ChooseGguf(*gguf, name);
  }
  Fail(ErrorCode::kNotFound, "{}: there is no '{}'; there is {}", name, OneLine(choice), Offers(files, ggufs));
}

}  // namespace edgellm
