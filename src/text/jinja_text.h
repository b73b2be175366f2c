// Strings as Python has them, over UTF-8: lengths and slices in code points, Unicode white space and case. All texts
// here are well-formed UTF-8. Case maps one code point to one (but ß to SS); the few other special cases of Unicode are
// left out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace edgellm::text::jinja {

size_t CodePointCount(std::string_view text);
/// The text cut into code points.
std::vector<std::string_view> CodePoints(std::string_view text);
/// The byte offset of a code point; text.size() past the end.
size_t ByteOffset(std::string_view text, size_t code_point);

/// Linear whatever the texts are, unlike std::string_view::find.
size_t Find(std::string_view text, std::string_view wanted, size_t from = 0);
size_t FindLast(std::string_view text, std::string_view wanted);
size_t CountOf(std::string_view text, std::string_view wanted);

bool IsSpace(char32_t c);
/// Which ends to strip.
enum class Side { kLeft, kRight, kBoth };
/// Without `characters`, white space is stripped.
std::string_view Strip(std::string_view text, Side side, std::optional<std::string_view> characters = std::nullopt);
/// Runs of anything but white space; at most `most` cuts where that is not negative, the remainder last.
std::vector<std::string_view> SplitAtSpace(std::string_view text, int64_t most, bool from_right);
/// `separator` must not be empty.
std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator, int64_t most, bool from_right);
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
/// str.title: the first cased letter of each run of them.
std::string Title(std::string_view text);
/// The filter of that name: words end at white space and at - ( { [ <.
std::string TitleOfWords(std::string_view text);
std::string Capitalize(std::string_view text);

enum class Class { kAlpha, kDigit, kAlphanumeric, kSpace, kUpper, kLower };
/// str.isalpha and so on; false for an empty text.
bool AllOf(std::string_view text, Class wanted);
/// Maximal runs of letters, digits and underscores.
size_t WordCount(std::string_view text);

}  // namespace edgellm::text::jinja
