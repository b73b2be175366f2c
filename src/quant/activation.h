// Activations as int8, and the exact meaning of a dot product with quantised weights. Every backend and every
// instruction set computes these numbers, to the bit: that is what makes output independent of device, batch and thread
// count.
//
// Quantise:  a group's m = max|x| (for ternary weights, as in BitNet b1.58, at least 1e-5);
//            code = round-half-even(x * (127 / m)), scale = m / 127. A group whose m is below 1e-30
//            (zeros, for all that matters; 127 / m must stay finite) has scale 0 and codes 0.
// Dot:       per weight group g: i_g = sum over the group of code_w * code_x (an exact int32), x_g = sum of code_x;
//            v_g = float(i_g)                       ternary, int8
//            v_g = float(i_g - 8 * x_g)             int4
//            v_g = fma(-zero_g, float(x_g), float(i_g))  int4 with zero point
//            y = fma(v_G, scale_w[G] * scale_x[G], ... fma(v_0, scale_w[0] * scale_x[0], 0))   in the order of the
//            groups; then y + bias, where there is one.
// Float weights: y = fma(w[k], x[k], ...) in the order of k, from 0. No other contraction or reordering.
// Sources: Ma et al., "The Era of 1-bit LLMs" (2024) for W1.58A8.
#pragma once

#include <cstdint>
#include <span>

namespace edgellm {

/// The smallest absmax that ternary layers quantise with.
inline constexpr float kTernaryActivationFloor = 1e-5f;

/// Below this absmax a group counts as zeros.
inline constexpr float kSmallestActivation = 1e-30f;

/// Quantises x[n] in groups of `group` values (the last may be ragged): codes[n], scales[ceil(n / group)].
/// `floor` is the least absmax (0 for none). NaN or infinity give unspecified codes and scales, never undefined
/// behaviour.
void QuantizeActivations(std::span<const float> x, int64_t group, float floor, int8_t* codes, float* scales);

}  // namespace edgellm
