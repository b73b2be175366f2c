// What every error must look like, whatever caused it: an Error of one line of UTF-8.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/utf8.h"

namespace edgellm {

/// Runs `action`, expects an Error of `code` (any, when left out), and returns its text.
inline std::string ErrorOf(const std::function<void()>& action, std::optional<ErrorCode> code = {}) {
  try {
    action();
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code.value_or(error.code()))) << text;
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_TRUE(utf8::IsValid(text)) << text;
    EXPECT_FALSE(text.empty());
    return text;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

/// True if `action` succeeds; where it throws, the Error must be a proper one. Anything else fails the test.
inline bool SucceedsOrFailsCleanly(const std::function<void()>& action) {
  try {
    action();
    return true;
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
    EXPECT_TRUE(utf8::IsValid(text)) << text;
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not an Error: " << error.what();
  }
  return false;
}

#define EXPECT_CONTAINS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

}  // namespace edgellm
