// Plans as data: what Validate refuses and what ToText prints.
#include "plan/plan.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace edgellm {
namespace {

/// One layer with hidden 8, 2 heads of 4 over 1 key/value head, ffn 12, vocab 10.
Plan Small() {
  Plan plan{.hidden = 8,
            .layers = 1,
            .heads = 2,
            .kv_heads = 1,
            .head_dim = 4,
            .ffn = 12,
            .vocab = 10,
            .max_context = 32,
            .norm_epsilon = 1e-5f,
            .rope_inverse_frequencies = {1.0f, 0.1f},
            .weights = {},
            .steps = {}};
  const auto weight = [&](std::string name, int64_t rows, int64_t cols) {
    plan.weights.push_back({std::move(name), rows, cols});
    return static_cast<WeightId>(plan.weights.size()) - 1;
  };
  const WeightId table = weight("table", 10, 8), norm = weight("norm", 1, 8);
  plan.steps.push_back(Embed{table});
  plan.steps.push_back(
      Qkv{0, norm, {weight("q", 8, 8), {}}, {weight("k", 4, 8), {}}, {weight("v", 4, 8), weight("bv", 1, 4)}, {}, {}});
  plan.steps.push_back(Attend{0, 0.5f});
  plan.steps.push_back(Project{Slot::kAttention, {}, {weight("o", 8, 8), {}}});
  plan.steps.push_back(GateUp{norm, {weight("gate", 12, 8), {}}, {weight("up", 12, 8), {}}, Activation::kSilu});
  plan.steps.push_back(Project{Slot::kFfn, weight("sub", 1, 12), {weight("down", 8, 12), {}}});
  plan.steps.push_back(Logits{norm, {table, {}}});
  return plan;
}

void ExpectRefused(const Plan& plan, const std::string& part) {
  try {
    Validate(plan);
    ADD_FAILURE() << "accepted; expected: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Plan, AcceptsASoundOne) {
  EXPECT_NO_THROW(Validate(Small()));
}

TEST(Plan, RefusesWhatDoesNotFit) {
  Plan plan = Small();
  plan.kv_heads = 3;
  ExpectRefused(plan, "kv_heads");
  plan = Small();
  plan.weights[2].cols = 9;
  ExpectRefused(plan, "q has shape [8, 9] where [8, 8] is needed");
  plan = Small();
  std::get<Attend>(plan.steps[2]).layer = 1;
  ExpectRefused(plan, "layer");
  plan = Small();
  std::get<Embed>(plan.steps[0]).table = 99;
  ExpectRefused(plan, "weight id");
  plan = Small();
  plan.rope_inverse_frequencies.pop_back();
  ExpectRefused(plan, "rotary");
  plan = Small();
  std::get<Qkv>(plan.steps[1]).q_norm = 0;
  ExpectRefused(plan, "q_norm");
  plan = Small();
  plan.ffn = 0;
  ExpectRefused(plan, "not positive");
}

TEST(Plan, PrintsOneLineAStep) {
  EXPECT_EQ(ToText(Small()),
            "hidden 8, 1 layers, 2 heads / 1 kv heads of 4, ffn 12, vocab 10, context 32, epsilon 1e-05\n"
            "Embed   table[10x8]\n"
            "Qkv     layer 0: norm norm[8], q q[8x8], k k[4x8], v v[4x8]+bias\n"
            "Attend  layer 0: scale 0.5\n"
            "Project attention -> o[8x8]\n"
            "GateUp  norm norm[8], silu(gate gate[12x8]) * up up[12x8]\n"
            "Project ffn, sub_norm sub[12] -> down[8x12]\n"
            "Logits  norm norm[8], head table[10x8]\n");
}

}  // namespace
}  // namespace edgellm
