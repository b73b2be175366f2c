// The forward pass as data: a flat list of closed steps, at the granularity that is worth fusing. Steps name weights by
// id, never by pointer; optional fields carry the differences between model families. Nothing here knows a device.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace edgellm {

/// Index into Plan::weights.
using WeightId = int;
using MaybeWeight = std::optional<WeightId>;

/// y[rows] = W[rows][cols] x[cols] (+ bias[rows])
struct Linear {
  WeightId weight = -1;
  MaybeWeight bias;
  bool operator==(const Linear&) const = default;
};

enum class Activation : uint8_t { kSilu, kRelu2 };  // x * sigmoid(x); max(x, 0)^2

/// residual = table[token]
struct Embed {
  WeightId table;  // [vocab][hidden]
  bool operator==(const Embed&) const = default;
};

/// h = rmsnorm(residual, norm); q k v = linear(h); per-head rmsnorm of q and k where given; rotary embedding of q and
/// k; k and v are written to the sequence's KV pages at the token's position.
struct Qkv {
  int layer;
  WeightId norm;               // [hidden]
  Linear q, k, v;              // [heads*head_dim][hidden], [kv_heads*head_dim][hidden] twice
  MaybeWeight q_norm, k_norm;  // [head_dim]
  bool operator==(const Qkv&) const = default;
};

/// attention[heads*head_dim] = softmax(scale * q K^T) V over positions 0..own of the token's sequence.
struct Attend {
  int layer;
  float scale;
  bool operator==(const Attend&) const = default;
};

/// Which activation buffer a Project reads.
enum class Slot : uint8_t { kAttention, kFfn };

/// residual += out(rmsnorm(in, sub_norm) if given, else in)
struct Project {
  Slot in;
  MaybeWeight sub_norm;  // [cols of out]
  Linear out;            // [hidden][heads*head_dim or ffn]
  bool operator==(const Project&) const = default;
};

/// h = rmsnorm(residual, norm); ffn = activation(gate(h)) * up(h)
struct GateUp {
  WeightId norm;    // [hidden]
  Linear gate, up;  // [ffn][hidden]
  Activation activation;
  bool operator==(const GateUp&) const = default;
};

/// logits[vocab] = head(rmsnorm(residual, norm)), only for the rows that the batch asks for.
struct Logits {
  WeightId norm;  // [hidden]
  Linear head;    // [vocab][hidden]
  bool operator==(const Logits&) const = default;
};

using Step = std::variant<Embed, Qkv, Attend, Project, GateUp, Logits>;

}  // namespace edgellm
