// GGUF from memory: the part of ImportGguf (import.h) that touches no file, for tests and fuzzing.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string_view>

#include "base/progress.h"
#include "convert/gguf.h"
#include "model/model.h"

namespace edgellm {

/// `owner` keeps the bytes alive: float tensors point into them. Throws Error: kCorrupt, kUnsupported, one line that
/// opens with `name`.
Model ImportGgufBytes(std::span<const std::byte> bytes, std::string_view name, std::shared_ptr<const void> owner,
                      const Progress& progress);

/// The same from a file that is parsed, or from the joined parts of a split one; `owner` keeps what it refers to alive.
Model ImportParsedGguf(const GgufFile& file, std::shared_ptr<const void> owner, const Progress& progress);

}  // namespace edgellm
