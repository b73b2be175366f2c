"""The two networks: a ternary BitNet b1.58 decoder and a plain Llama-like one, with the hub's tensor names."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_GROUP = 128  # the tied embedding is held as int8 with one half-float scale for this many weights of a row


@dataclass(frozen=True)
class Shape:
    ternary: bool
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int = 8192
    context: int = 2048
    rope_theta: float = 10000.0
    eps: float = 1e-5
    init_std: float = 0.02


DEMO = Shape(ternary=True, hidden=512, layers=8, heads=8, kv_heads=4, head_dim=64, ffn=1408)
SIBLING = Shape(ternary=False, hidden=256, layers=5, heads=8, kv_heads=4, head_dim=32, ffn=640)


def straight_through(exact: Tensor, rounded: Tensor) -> Tensor:
    """Forward the rounded value, backward as if nothing had been rounded."""
    return exact + (rounded - exact).detach()


def ternary_scale(weight: Tensor) -> Tensor:
    return weight.float().abs().mean().clamp(min=1e-5)


def ternary_codes(weight: Tensor) -> Tensor:
    return (weight.float() / ternary_scale(weight)).round().clamp(-1, 1)


def activation_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """int8 codes by token (as float) and the factor that made them."""
    factor = 127.0 / x.float().abs().amax(dim=-1, keepdim=True).clamp(min=1e-5)
    return (x.float() * factor).round().clamp(-128, 127), factor


def int8_rows(weight: Tensor) -> Tensor:
    """The weights after a trip through int8 groups: scale = half(absmax / 127), code = round(weight / scale)."""
    groups = weight.float().unflatten(-1, (-1, HEAD_GROUP))
    scale = (groups.abs().amax(dim=-1, keepdim=True) / 127).half().float()
    codes = (groups / scale.clamp(min=2.0**-24)).round().clamp(-127, 127)
    return (codes * scale).flatten(-2)


class BitLinear(nn.Linear):
    """Ternary weights and int8 activations. In float32 it computes with the integer codes, as a deployed model does."""

    def forward(self, x: Tensor) -> Tensor:
        codes, factor = activation_codes(x)
        if x.dtype == torch.float32:
            sums = F.linear(codes, ternary_codes(self.weight))  # below 2^24: exact
            return sums * (ternary_scale(self.weight) / factor)
        weight = straight_through(self.weight, ternary_codes(self.weight) * ternary_scale(self.weight))
        return F.linear(straight_through(x, (codes / factor).to(x.dtype)), weight.to(x.dtype))


class PlainLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype))


def linear(shape: Shape, inputs: int, outputs: int) -> nn.Linear:
    return (BitLinear if shape.ternary else PlainLinear)(inputs, outputs, bias=False)


class RmsNorm(nn.Module):
    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


class Attention(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.shape = shape
        width = shape.heads * shape.head_dim
        self.q_proj = linear(shape, shape.hidden, width)
        self.k_proj = linear(shape, shape.hidden, shape.kv_heads * shape.head_dim)
        self.v_proj = linear(shape, shape.hidden, shape.kv_heads * shape.head_dim)
        self.o_proj = linear(shape, width, shape.hidden)
        if shape.ternary:
            self.attn_sub_norm = RmsNorm(width, shape.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, _ = x.shape

        def heads(y: Tensor) -> Tensor:
            return y.view(batch, length, -1, self.shape.head_dim).transpose(1, 2)

        q = rotate(heads(self.q_proj(x)), cos, sin)
        k = rotate(heads(self.k_proj(x)), cos, sin)
        mixed = F.scaled_dot_product_attention(q, k, heads(self.v_proj(x)), is_causal=True, enable_gqa=True)
        mixed = mixed.transpose(1, 2).reshape(batch, length, -1)
        return self.o_proj(self.attn_sub_norm(mixed) if self.shape.ternary else mixed)


class FeedForward(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.gate_proj = linear(shape, shape.hidden, shape.ffn)
        self.up_proj = linear(shape, shape.hidden, shape.ffn)
        self.down_proj = linear(shape, shape.ffn, shape.hidden)
        self.ternary = shape.ternary
        if shape.ternary:
            self.ffn_sub_norm = RmsNorm(shape.ffn, shape.eps)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_proj(x), self.up_proj(x)
        if self.ternary:
            return self.down_proj(self.ffn_sub_norm(F.relu(gate).square() * up))
        return self.down_proj(F.silu(gate) * up)


class Layer(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.self_attn = Attention(shape)
        self.mlp = FeedForward(shape)
        self.input_layernorm = RmsNorm(shape.hidden, shape.eps)
        self.post_attention_layernorm = RmsNorm(shape.hidden, shape.eps)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, dropout: float) -> Tensor:
        x = x + F.dropout(self.self_attn(self.input_layernorm(x), cos, sin), dropout, self.training)
        return x + F.dropout(self.mlp(self.post_attention_layernorm(x)), dropout, self.training)


class Trunk(nn.Module):
    def __init__(self, shape: Shape):
        super().__init__()
        self.embed_tokens = nn.Embedding(shape.vocab, shape.hidden)
        self.layers = nn.ModuleList([Layer(shape) for _ in range(shape.layers)])
        self.norm = RmsNorm(shape.hidden, shape.eps)


class LanguageModel(nn.Module):
    """`dtype` of a call chooses bfloat16 (training) or float32 (the exact arithmetic of the deployed model)."""

    def __init__(self, shape: Shape, dropout: float = 0.0):
        super().__init__()
        self.shape = shape
        self.dropout = dropout
        self.model = Trunk(shape)
        for parameter in self.parameters():
            if parameter.ndim == 2:
                nn.init.normal_(parameter, std=shape.init_std)
        frequencies = shape.rope_theta ** (-torch.arange(0, shape.head_dim, 2).float() / shape.head_dim)
        angles = torch.outer(torch.arange(shape.context).float(), frequencies)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, ids: Tensor, targets: Tensor | None = None, dtype: torch.dtype = torch.bfloat16) -> Tensor:
        """Mean loss where targets are given, else logits."""
        embedding = self.model.embed_tokens.weight
        if self.shape.ternary:
            embedding = straight_through(embedding, int8_rows(embedding))
        cos, sin = (t[: ids.shape[1]].to(dtype) for t in (self.cos, self.sin))
        x = F.dropout(F.embedding(ids, embedding).to(dtype), self.dropout, self.training)
        for layer in self.model.layers:
            x = layer(x, cos, sin, self.dropout)
        logits = F.linear(self.model.norm(x), embedding.to(dtype)).float()
        if targets is None:
            return logits
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())
