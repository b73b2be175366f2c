// Which of a repository's files make up the model that is wanted. Pure: a list in, a list out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hub/hub_answer.h"

namespace edgellm {

struct ChosenFiles {
  enum class Form : uint8_t { kFile, kFolder };
  Form form = Form::kFile;     // kFile: one GGUF or model file; kFolder: safetensors with what stands around them, or
                               // the parts of a split GGUF
  std::vector<HubFile> files;  // the largest first
};

/// `choice`: empty or "latest", "safetensors", a quantisation ("Q4_K_M", in any case), or a file of the repository.
/// Left open, it is a model file of this program if there is one, else a GGUF in the first of these formats: Q4_K_M,
/// Q4_K_S, Q4_0, Q5_K_M, Q5_K_S, Q6_K, Q8_0, BF16, F16, F32, TQ2_0, TQ1_0 (those that can be loaded, the smaller ones
/// of good quality first); else safetensors. `name` opens error texts.
/// Throws Error: kNotFound (with what there is), kUnsupported (nothing that can be loaded).
ChosenFiles ChooseFiles(const std::vector<HubFile>& files, std::string_view choice, std::string_view name);

/// Files that are read beside safetensors weights: configuration, tokenizer, chat template.
const std::vector<std::string>& CompanionFiles();

}  // namespace edgellm
