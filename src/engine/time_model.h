// How long a forward takes, learnt from the forwards that were measured. The scheduler asks it how many tokens of a
// prompt fit beside the running answers. Times are seconds.
//
// The model is linear in what a forward does: fixed + decode·rows + prefill·tokens + attend·positions. On any machine
// the weights are read once (fixed), then each token costs arithmetic, and each position that a token looks at costs
// some more: less for a prompt's tokens, which look at the same ones together, so that these have a number of their
// own. Where memory is the bound a few tokens are free, so a line through both ends lies above what they cost: the
// error is on the side of running streams. The numbers are followed by a Kalman filter (Kalman 1960) whose state drifts
// slowly; a residual beyond kGate deviations counts as one of kGate (Huber 1964), so that a forward that the system
// interrupted moves little, and a machine that has become slower is believed after some dozens.
#pragma once

#include <array>
#include <cstdint>

namespace edgellm {

/// What one forward does.
struct StepLoad {
  int decode = 0;   // tokens that bring an answer one further: each has its logits made and sampled
  int prefill = 0;  // tokens of prompts
  // Positions that decoded tokens look at, and those that prompts' tokens do, each sum over tokens.
  int64_t attended = 0, prompt_attended = 0;
};

/// The estimate: never negative, so that more work is never said to take less time.
struct StepCosts {
  double fixed = 0, decode = 0, prefill = 0;  // of a forward; of a decoded token; of a prompt's token
  double attend = 0, prompt_attend = 0;       // of a thousand attended positions

  double Seconds(const StepLoad& load) const {
    return fixed + decode * load.decode + prefill * load.prefill +
           attend * (static_cast<double>(load.attended) * 1e-3) +
           prompt_attend * (static_cast<double>(load.prompt_attended) * 1e-3);
  }
};

class TimeModel {
 public:
  void Observe(const StepLoad& load, double seconds);

  StepCosts costs() const;
  int64_t observations() const { return observations_; }
  /// How far measurements usually are from the estimate, as a share of it.
  double deviation() const { return deviation_; }

  static constexpr double kGate = 3;

 private:
  static constexpr int kTerms = 5;
  using Vector = std::array<double, kTerms>;

  void Begin(const StepLoad& load, double seconds);

  Vector weights_{};
  std::array<Vector, kTerms> covariance_{};
  Vector first_{};  // what the first measurement says of each at most
  double deviation_ = 0.1;
  int64_t observations_ = 0;
};

}  // namespace edgellm
