// The code and text of the Error that some work is refused with; a failure where it is not.
#pragma once

#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {

template <typename Work>
std::pair<ErrorCode, std::string> Refusal(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

}  // namespace edgellm
