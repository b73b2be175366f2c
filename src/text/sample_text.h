// A page of plain English, written for this program: what models are asked to read when no other text is given. Too short
// for a perplexity that means anything by itself; long enough to tell a working model from a broken one.
#pragma once

#include <string_view>

namespace edgellm::text {

inline constexpr std::string_view kSampleText =
    "The ferry to the island left twice a day, once in the morning and once before dark, and it was the second one "
    "that "
    "Anna had to catch. She had packed the night before: two jumpers, a torch, a book that she did not expect to read, "
    "and "
    "the old radio that her grandfather had asked for. On the quay a boy was selling apples from a cart. She bought "
    "three, "
    "gave him a coin, and waited for the change while the gulls argued over something in the water.\n\n"
    "\"Are you going over?\" the boy asked. \"There is a storm coming. My uncle says they will not sail tomorrow.\"\n\n"
    "\"Then I am lucky to sail today,\" Anna said.\n\n"
    "The crossing took an hour. The wind was strong, but the sky stayed clear until the harbour came into sight, with "
    "its "
    "white houses and the lighthouse on the rock behind them. Her grandfather stood at the end of the pier. He had "
    "grown "
    "thinner since the spring, and he held his hat with one hand so that it would not fly away. When she gave him the "
    "radio he turned it over, looked at the screws, and nodded as if he had met a friend.\n\n"
    "In the evening they sat in the kitchen and took it apart. There are only a few things that can go wrong with a "
    "radio "
    "of this kind: a wire comes loose, a switch collects dust, or one of the parts grows too old to do its work. They "
    "cleaned every contact and tested each part in turn. It was slow work, and neither of them said much. Outside the "
    "rain "
    "began, first as single drops on the window and then all at once, and the lamp over the table moved a little in "
    "the "
    "draught. Just before midnight the radio made a sound like a kettle, and after that, quite clearly, a voice read "
    "the "
    "forecast for ships: wind from the west, rising to nine, visibility poor, and after two days fair weather "
    "again.\n\n"
    "\"Two days,\" said her grandfather, and put the kettle on. \"That is long enough to show you how it works.\"\n";

}  // namespace edgellm::text
