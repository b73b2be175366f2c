// Where the checkout lies, for tests that read files of the repository.
#pragma once

#include <filesystem>

namespace edgellm {

std::filesystem::path SourceDir();

}  // namespace edgellm
