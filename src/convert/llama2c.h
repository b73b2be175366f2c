// Telling a llama2.c checkpoint, which has no magic number, from other files. Reading one: ImportLlama2c (import.h).
#pragma once

#include <cstddef>
#include <span>

namespace edgellm {

/// True if the first 28 bytes are the sizes of a possible model. Text and other binary formats hardly ever pass.
bool LooksLikeLlama2c(std::span<const std::byte> bytes);

}  // namespace edgellm
