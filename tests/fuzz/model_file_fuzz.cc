// Fuzzes the reader of model files. The first byte chooses: the input is a whole file, or it replaces one of the
// metadata texts of a good one, so that the readers behind the container's checks are reached too. Whatever is accepted
// must be usable: a sound plan, and weights of which every row can be decoded.
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "base/utf8.h"
#include "model/lower.h"
#include "model/model_file.h"
#include "model/safetensors.h"
#include "quant/codec.h"
#include "tests/model/sample_model.h"

namespace {

using namespace edgellm;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

/// A small good file: its header as JSON, and its data.
struct GoodFile {
  nlohmann::json header;
  std::string data;
};

GoodFile MakeGoodFile() {
  ModelConfig config = SampleConfig();
  config.layers = 1;
  const TemporaryFolder folder;
  WriteModelFile(SampleModel(WeightFormat::Parse("ternary"), config), folder / "good", {});
  const std::string bytes = ReadFile(folder / "good");
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return {nlohmann::json::parse(bytes.substr(8, length)), bytes.substr(8 + length)};
}

std::string WithText(uint8_t chosen, std::string_view text) {
  static const GoodFile good = MakeGoodFile();
  nlohmann::json header = good.header;
  auto& metadata = header["__metadata__"];
  auto item = metadata.begin();
  std::advance(item, chosen % metadata.size());
  *item = utf8::Sanitize(text);
  const std::string json = header.dump();
  const uint64_t length = json.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + json + good.data;
}

void Use(const Model& model) {
  Validate(Lower(model.config));
  for (const auto& [name, tensor] : model.weights.tensors()) {
    const WeightView& view = tensor.view;
    Require(reinterpret_cast<uintptr_t>(view.scales) % std::max<size_t>(1, view.format.ScaleBytes()) == 0, "alignment");
    std::vector<float> row(static_cast<size_t>(view.cols));
    for (int64_t i = 0; i < view.rows; ++i) DecodeRow(view, i, row);
  }
  ValidateCodes(model.weights, "fuzz");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::string file = data[0] % 16 == 0 ? std::string(input) : WithText(data[0], input);
  try {
    Use(ReadModelBytes(std::as_bytes(std::span(file)), "fuzz", nullptr));
  } catch (const Error& error) {
    const std::string_view text = error.what();
    Require(text.find('\n') == std::string_view::npos && utf8::IsValid(text), "an error is not one line of UTF-8");
  }
  return 0;
}
