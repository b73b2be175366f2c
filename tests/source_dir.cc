// See source_dir.h.
#include "tests/source_dir.h"

namespace edgellm {

std::filesystem::path SourceDir() { return EDGELLM_SOURCE_DIR; }

}  // namespace edgellm
