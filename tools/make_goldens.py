#!/usr/bin/env python3
"""Builds the independent references under tests/golden.

Every folder there is a tiny, seeded checkpoint as the hub would publish it (config.json and safetensors) with the
logits and the greedy continuation that PyTorch transformers computes for it. A second forward pass, written here in
float64, must agree before anything is written. `gguf_blocks.safetensors` holds raw GGUF blocks and their values.

Needs torch, numpy, safetensors and transformers:  python3 tools/make_goldens.py [--out tests/golden]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # plain eager kernels: the reference must not depend on a compiler

import numpy as np
import torch
from safetensors.torch import save_file

PROMPT_LENGTHS = (1, 7, 40)
CONTINUATION = 24
MIN_DISTINCT = 8  # a continuation that only repeats itself would hide errors
TIE_MARGIN = 1e-4  # how far an activation must lie from a rounding tie, in int8 steps

Config = dict[str, Any]
Weights = dict[str, torch.Tensor]
Linear = Callable[[str, torch.Tensor], torch.Tensor]


@dataclass
class Spec:
    """One checkpoint to build."""

    name: str
    config: Config
    dtype: torch.dtype
    seed: int = 1
    shards: int = 1
    min_gap: float = 1e-3  # between the best and the second best logit of every greedy step
    note: str = ""


# ---------------------------------------------------------------------------------------------- configurations


def base_config(family: str, architecture: str, **sizes: Any) -> Config:
    config: Config = {
        "architectures": [architecture],
        "model_type": family,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 256,
        "num_hidden_layers": 2,
        "rms_norm_eps": 1e-5,
        "use_cache": True,
        "vocab_size": 160,
    }
    config.update(sizes)
    return config


def specs() -> list[Spec]:
    llama = ("llama", "LlamaForCausalLM")
    llama3_scaling = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    quantization = {"quant_method": "bitnet", "linear_class": "autobitlinear"}
    bitnet = base_config(
        "bitnet", "BitNetForCausalLM", hidden_size=96, intermediate_size=160, num_attention_heads=6,
        num_key_value_heads=2, hidden_act="relu2", rope_theta=500000.0, tie_word_embeddings=True, torch_dtype="bfloat16",
    )  # fmt: skip
    return [
        Spec(
            "llama-tied",
            base_config(
                *llama, hidden_size=96, intermediate_size=128, num_attention_heads=6, num_key_value_heads=2,
                attention_bias=False, mlp_bias=False, rope_theta=10000.0, rope_scaling=None, tie_word_embeddings=True,
                torch_dtype="bfloat16",
            ),
            torch.bfloat16,
            note="hidden size no multiple of 128, three query heads to a key head, as in SmolLM",
        ),
        Spec(
            "llama3-rope",
            base_config(
                *llama, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2,
                attention_bias=False, mlp_bias=False, rope_theta=10000.0,
                rope_scaling=llama3_scaling | {"factor": 8.0, "original_max_position_embeddings": 32},
                tie_word_embeddings=False, torch_dtype="float32",
            ),
            torch.float32,
            note="llama3 rope scaling: one frequency stays, one lies in the smooth band, the others are scaled",
        ),
        Spec(
            "llama-bias-head-dim",
            base_config(
                *llama, hidden_size=64, intermediate_size=96, num_attention_heads=4, num_key_value_heads=1, head_dim=24,
                attention_bias=True, mlp_bias=True, rope_theta=500000.0,
                rope_scaling=llama3_scaling | {"factor": 32.0, "original_max_position_embeddings": 64},
                tie_word_embeddings=True, torch_dtype="float16",
            ),
            torch.float16,
            note="head_dim is not hidden/heads; biases everywhere; one key head; llama3 rope scaling by 32",
        ),
        Spec(
            "qwen2-sharded",
            base_config(
                "qwen2", "Qwen2ForCausalLM", hidden_size=64, intermediate_size=96, num_attention_heads=4,
                num_key_value_heads=2, rms_norm_eps=1e-6, rope_theta=1000000.0, tie_word_embeddings=True,
                sliding_window=256, use_sliding_window=False, max_window_layers=2, torch_dtype="float32",
            ),
            torch.float32,
            shards=2,
            note="biases on q, k and v; two shards and an index",
        ),
        Spec(
            "qwen3-tied",
            base_config(
                "qwen3", "Qwen3ForCausalLM", hidden_size=64, intermediate_size=112, num_attention_heads=4,
                num_key_value_heads=2, head_dim=32, attention_bias=False, rms_norm_eps=1e-6, tie_word_embeddings=True,
                rope_parameters={"rope_theta": 1000000.0, "rope_type": "default"}, dtype="bfloat16", sliding_window=None,
                use_sliding_window=False, max_window_layers=2, layer_types=["full_attention", "full_attention"],
            ),
            torch.bfloat16,
            note="norms on q and k; config.json in the form of transformers 5 (rope_parameters, dtype)",
        ),
        Spec(
            "qwen3-untied",
            base_config(
                "qwen3", "Qwen3ForCausalLM", hidden_size=48, intermediate_size=80, num_attention_heads=3,
                num_key_value_heads=1, head_dim=32, attention_bias=False, rms_norm_eps=1e-6, rope_theta=50000.0,
                rope_scaling=None, tie_word_embeddings=False, num_hidden_layers=3, sliding_window=None,
                use_sliding_window=False, max_window_layers=3, torch_dtype="float16",
            ),
            torch.float16,
            note="three layers, own output matrix",
        ),
        Spec(
            "bitnet-online",
            bitnet | {"quantization_config": quantization | {"quantization_mode": "online"}},
            torch.bfloat16,
            seed=4,
            min_gap=0.05,
            note="bf16 master weights that are made ternary while running",
        ),
        Spec(
            "bitnet-packed",
            bitnet | {"quantization_config": quantization | {"quantization_mode": "offline"}},
            torch.bfloat16,
            seed=8,
            min_gap=0.05,
            note="a sister of bitnet-online in the published packed form: four rows to a byte, weight_scale in bf16",
        ),
    ]  # fmt: skip


def head_dim(config: Config) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def rope_settings(config: Config) -> tuple[float, Config]:
    """theta and the scaling block (empty where there is none), from either form of config.json."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    theta = config.get("rope_theta") or scaling["rope_theta"]
    return theta, scaling if scaling.get("rope_type", "default") != "default" else {}


def is_bitnet(config: Config) -> bool:
    return config["model_type"] == "bitnet"


# ----------------------------------------------------------------------------------------------------- weights


def linear_shapes(config: Config) -> dict[str, tuple[int, int, bool]]:
    """Name inside a layer -> (rows, columns, has a bias)."""
    hidden, ffn = config["hidden_size"], config["intermediate_size"]
    q = config["num_attention_heads"] * head_dim(config)
    kv = config["num_key_value_heads"] * head_dim(config)
    qkv_bias = config.get("attention_bias", False) or config["model_type"] == "qwen2"
    mlp_bias = config.get("mlp_bias", False)
    return {
        "self_attn.q_proj": (q, hidden, qkv_bias),
        "self_attn.k_proj": (kv, hidden, qkv_bias),
        "self_attn.v_proj": (kv, hidden, qkv_bias),
        "self_attn.o_proj": (hidden, q, config.get("attention_bias", False)),
        "mlp.gate_proj": (ffn, hidden, mlp_bias),
        "mlp.up_proj": (ffn, hidden, mlp_bias),
        "mlp.down_proj": (hidden, ffn, mlp_bias),
    }


def norm_sizes(config: Config) -> dict[str, int]:
    hidden = config["hidden_size"]
    norms = {"input_layernorm": hidden, "post_attention_layernorm": hidden}
    if config["model_type"] == "qwen3":
        norms |= {"self_attn.q_norm": head_dim(config), "self_attn.k_norm": head_dim(config)}
    if is_bitnet(config):
        norms |= {"self_attn.attn_sub_norm": hidden, "mlp.ffn_sub_norm": config["intermediate_size"]}
    return norms


def random_weights(config: Config, seed: int, dtype: torch.dtype) -> Weights:
    """Weights large enough that logits spread over several units and every bias and norm matters."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float) -> torch.Tensor:
        return (torch.randn(*shape, generator=generator) * std).to(dtype)

    def norm(size: int) -> torch.Tensor:
        return (1 + 0.25 * torch.randn(size, generator=generator)).clamp(0.4, 1.6).to(dtype)

    weights = {"model.embed_tokens.weight": normal(config["vocab_size"], config["hidden_size"], std=0.3)}
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for name, (rows, columns, bias) in linear_shapes(config).items():
            gain = 1.5 if name.endswith(("q_proj", "k_proj")) else 1.1
            weights[f"{prefix}{name}.weight"] = normal(rows, columns, std=gain / math.sqrt(columns))
            if bias:
                weights[f"{prefix}{name}.bias"] = normal(rows, std=0.3)
        for name, size in norm_sizes(config).items():
            weights[f"{prefix}{name}.weight"] = norm(size)
    weights["model.norm.weight"] = norm(config["hidden_size"])
    if not config["tie_word_embeddings"]:
        weights["lm_head.weight"] = normal(config["vocab_size"], config["hidden_size"], std=0.3)
    return weights


def ternary(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes in {-1, 0, 1} and the scale, by the mean of the absolute values."""
    scale = weight.float().abs().mean().clamp(min=1e-5)
    steps = weight.double() / scale.double()
    if ((steps.abs() - 0.5).abs() < 1e-6).any():
        raise Unusable("a master weight lies on a rounding tie")
    return steps.round().clamp(-1, 1), scale


def pack_rows(codes: torch.Tensor) -> torch.Tensor:
    """Four codes to a byte: byte row r holds the rows r, r+R/4, r+R/2, r+3R/4, lowest bits first."""
    quarters = (codes + 1).to(torch.uint8).chunk(4, dim=0)
    packed = torch.zeros_like(quarters[0])
    for index, quarter in enumerate(quarters):
        packed |= quarter << (2 * index)
    return packed


def packed_weights(config: Config, master: Weights) -> Weights:
    """The offline form: codes as uint8, the scale beside them; everything else as it was."""
    weights = {}
    for name, tensor in master.items():
        if name.removesuffix(".weight").endswith("_proj"):
            codes, scale = ternary(tensor)
            weights[name] = pack_rows(codes)
            weights[name + "_scale"] = scale.reshape(1).to(torch.bfloat16)
        else:
            weights[name] = tensor
    return weights


def unpack_rows(packed: torch.Tensor) -> torch.Tensor:
    return torch.cat([(packed >> (2 * i)) & 3 for i in range(4)], dim=0).double() - 1


# ------------------------------------------------------------------------------------- forward pass in float64


class Unusable(Exception):
    """This seed or prompt would make a fragile reference; take another."""


class FloatLinear:
    def __init__(self, weights: Weights):
        self.weights = weights

    def __call__(self, name: str, x: torch.Tensor) -> torch.Tensor:
        y = x @ self.weights[name + ".weight"].double().T
        bias = self.weights.get(name + ".bias")
        return y if bias is None else y + bias.double()


class TernaryLinear:
    """W1.58A8: ternary weights, int8 activations by token. Remembers how near a code came to a rounding tie."""

    def __init__(self, weights: Weights):
        self.codes: Weights = {}
        self.scales: dict[str, float] = {}
        self.margin = 0.5
        for name, tensor in weights.items():
            linear = name.removesuffix(".weight")
            if not (name.endswith(".weight") and linear.endswith("_proj")):
                continue
            if tensor.dtype == torch.uint8:
                self.codes[linear] = unpack_rows(tensor)
                self.scales[linear] = weights[name + "_scale"].float().item()
            else:
                self.codes[linear], scale = ternary(tensor)
                self.scales[linear] = scale.item()

    def __call__(self, name: str, x: torch.Tensor) -> torch.Tensor:
        step = x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-5) / 127
        exact = x / step
        self.margin = min(self.margin, ((exact - exact.floor()) - 0.5).abs().min().item())
        codes = exact.round().clamp(-128, 127)
        return (codes @ self.codes[name].T) * step * self.scales[name]


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * weight.double()


def inverse_frequencies(config: Config) -> torch.Tensor:
    theta, scaling = rope_settings(config)
    dim = head_dim(config)
    frequencies = []
    for i in range(0, dim, 2):
        f = theta ** (-i / dim)
        if scaling:
            turns = scaling["original_max_position_embeddings"] * f / (2 * math.pi)
            low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
            kept = min(max((turns - low) / (high - low), 0.0), 1.0)
            f = kept * f + (1 - kept) * f / scaling["factor"]
        frequencies.append(f)
    return torch.tensor(frequencies, dtype=torch.float64)


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """x: heads, positions, head_dim; the first half of a head pairs with its second half."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def attention(config: Config, w: Weights, linear: Linear, prefix: str, x: torch.Tensor) -> torch.Tensor:
    length, dim = x.shape[0], head_dim(config)
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    q = linear(prefix + "q_proj", x).view(length, heads, dim).transpose(0, 1)
    k = linear(prefix + "k_proj", x).view(length, kv_heads, dim).transpose(0, 1)
    v = linear(prefix + "v_proj", x).view(length, kv_heads, dim).transpose(0, 1)
    if prefix + "q_norm.weight" in w:
        q = rms_norm(q, w[prefix + "q_norm.weight"], config["rms_norm_eps"])
        k = rms_norm(k, w[prefix + "k_norm.weight"], config["rms_norm_eps"])
    angles = torch.outer(torch.arange(length, dtype=torch.float64), inverse_frequencies(config))
    q, k = rotate(q, angles), rotate(k, angles)
    k, v = (t.repeat_interleave(heads // kv_heads, dim=0) for t in (k, v))
    scores = q @ k.transpose(1, 2) / math.sqrt(dim)
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    mixed = scores.masked_fill(future, -math.inf).softmax(-1) @ v
    mixed = mixed.transpose(0, 1).reshape(length, heads * dim)
    if is_bitnet(config):
        mixed = rms_norm(mixed, w[prefix + "attn_sub_norm.weight"], config["rms_norm_eps"])
    return linear(prefix + "o_proj", mixed)


def feed_forward(config: Config, w: Weights, linear: Linear, prefix: str, x: torch.Tensor) -> torch.Tensor:
    gate, up = linear(prefix + "gate_proj", x), linear(prefix + "up_proj", x)
    if is_bitnet(config):
        inner = rms_norm(gate.relu().pow(2) * up, w[prefix + "ffn_sub_norm.weight"], config["rms_norm_eps"])
    else:
        inner = gate * torch.sigmoid(gate) * up
    return linear(prefix + "down_proj", inner)


def forward(config: Config, w: Weights, linear: Linear, ids: list[int]) -> torch.Tensor:
    """Logits of every position, float64."""
    eps = config["rms_norm_eps"]
    x = w["model.embed_tokens.weight"].double()[torch.tensor(ids)]
    for layer in range(config["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        h = rms_norm(x, w[prefix + "input_layernorm.weight"], eps)
        x = x + attention(config, w, linear, prefix + "self_attn.", h)
        h = rms_norm(x, w[prefix + "post_attention_layernorm.weight"], eps)
        x = x + feed_forward(config, w, linear, prefix + "mlp.", h)
    head = w.get("lm_head.weight", w["model.embed_tokens.weight"])
    return rms_norm(x, w["model.norm.weight"], eps) @ head.double().T


# ------------------------------------------------------------------------------------------- prompts and text


@dataclass
class Case:
    ids: list[int]
    greedy: list[int]
    logits: torch.Tensor  # float64, positions of the prompt
    gap: float
    margin: float | None


def random_prompt(config: Config, length: int, generator: torch.Generator) -> list[int]:
    return torch.randint(2, config["vocab_size"], (length,), generator=generator).tolist()


def robust_prompt(config: Config, w: Weights, length: int, generator: torch.Generator) -> tuple[list[int], float]:
    """A prompt whose int8 codes are the same in float32 and float64: token by token, none near a rounding tie."""
    ids: list[int] = []
    margin = 0.5
    for _ in range(length):
        for _ in range(200):
            linear = TernaryLinear(w)
            candidate = ids + random_prompt(config, 1, generator)
            forward(config, w, linear, candidate)
            if linear.margin >= TIE_MARGIN:
                ids, margin = candidate, linear.margin
                break
        else:
            raise Unusable("no token keeps clear of rounding ties")
    return ids, margin


def greedy_continuation(config: Config, w: Weights, linear: Linear, ids: list[int]) -> tuple[list[int], float]:
    text, gap = list(ids), math.inf
    for _ in range(CONTINUATION):
        best = forward(config, w, linear, text)[-1].topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        text.append(int(best.indices[0]))
    return text[len(ids) :], gap


def make_case(spec: Spec, w: Weights, length: int, generator: torch.Generator) -> Case:
    for _ in range(300):
        if is_bitnet(spec.config):
            ids, margin = robust_prompt(spec.config, w, length, generator)
            linear: Linear = TernaryLinear(w)
        else:
            ids, margin, linear = random_prompt(spec.config, length, generator), None, FloatLinear(w)
        greedy, gap = greedy_continuation(spec.config, w, linear, ids)
        if gap >= spec.min_gap and len(set(greedy)) >= MIN_DISTINCT:
            return Case(ids, greedy, forward(spec.config, w, linear, ids), gap, margin)
    raise Unusable(f"no prompt of length {length} has a clear continuation")


def make_cases(spec: Spec) -> tuple[Weights, list[Case], int]:
    """Tries seeds until the checkpoint makes a robust reference."""
    for seed in range(spec.seed, spec.seed + 50):
        try:
            w = random_weights(spec.config, seed, spec.dtype)
            if spec.name == "bitnet-packed":
                w = packed_weights(spec.config, w)
            generator = torch.Generator().manual_seed(1000 + seed)
            return w, [make_case(spec, w, length, generator) for length in PROMPT_LENGTHS], seed
        except Unusable as reason:
            print(f"  {spec.name}: seed {seed} set aside: {reason}")
    raise SystemExit(f"{spec.name}: no usable seed")


# ------------------------------------------------------------------------------------------------ transformers


def transformers_model(spec: Spec, folder: Path, w: Weights) -> torch.nn.Module:
    from transformers import AutoModelForCausalLM

    if is_bitnet(spec.config):
        return transformers_bitnet(spec, w)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    return model.eval()


def transformers_bitnet(spec: Spec, w: Weights) -> torch.nn.Module:
    """transformers' BitNet with its AutoBitLinear, put in by hand since its own loader wants a GPU."""
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.integrations.bitnet import AutoBitLinear

    online = spec.config["quantization_config"]["quantization_mode"] == "online"
    with tempfile.TemporaryDirectory() as folder:
        plain = {k: v for k, v in spec.config.items() if k not in ("quantization_config", "torch_dtype")}
        (Path(folder) / "config.json").write_text(json.dumps(plain))
        config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    for name, module in list(model.named_modules()):
        if not (isinstance(module, torch.nn.Linear) and name.endswith("_proj")):
            continue
        linear = AutoBitLinear(module.in_features, module.out_features, bias=False, online_quant=online)
        if online:
            linear.weight.data = w[name + ".weight"].float()
        else:
            linear.weight.data = unpack_rows(w[name + ".weight"]).float()
            linear.weight_scale = w[name + ".weight_scale"].float()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, linear)
    rest = {k: v.float() for k, v in w.items() if "_proj." not in k}
    missing = model.load_state_dict(rest, strict=False).unexpected_keys
    assert not missing, missing
    model.tie_weights()
    return model.eval()


@torch.no_grad()
def check_against_transformers(spec: Spec, folder: Path, w: Weights, cases: list[Case]) -> list[torch.Tensor]:
    """Logits by transformers in float32; fails unless they agree with ours and continue alike."""
    model = transformers_model(spec, folder, w)
    result = []
    for case in cases:
        prompt = model(torch.tensor([case.ids])).logits[0].float()
        whole = model(torch.tensor([case.ids + case.greedy])).logits[0]
        continued = whole[len(case.ids) - 1 : -1].argmax(-1).tolist()
        difference = (prompt.double() - case.logits).abs().max().item()
        if difference > 2e-4 or continued != case.greedy:
            raise SystemExit(f"{spec.name}: transformers differs by {difference}, continues {continued}, we {case.greedy}")
        result.append(prompt)
    return result


# ----------------------------------------------------------------------------------------------------- writing


def write_weights(folder: Path, w: Weights, shards: int) -> None:
    if shards == 1:
        save_file(w, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(w)
    index: dict[str, str] = {}
    for shard in range(shards):
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        part = names[shard * len(names) // shards : (shard + 1) * len(names) // shards]
        save_file({name: w[name] for name in part}, folder / file, metadata={"format": "pt"})
        index |= {name: file for name in part}
    total = sum(t.numel() * t.element_size() for t in w.values())
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}, indent=1)
    (folder / "model.safetensors.index.json").write_text(text + "\n")


def describe(spec: Spec, seed: int, cases: list[Case], logits: list[torch.Tensor]) -> Config:
    from transformers import __version__

    prompts = []
    for index, (case, by_transformers) in enumerate(zip(cases, logits)):
        prompt: Config = {
            "ids": case.ids,
            "greedy": case.greedy,
            "logits": f"logits.{index}",
            "smallest_gap": round(case.gap, 6),
            "largest_logit": round(case.logits.abs().max().item(), 4),
            "float64_difference": float(f"{(by_transformers.double() - case.logits).abs().max().item():.2e}"),
        }
        if case.margin is not None:
            prompt["smallest_rounding_margin"] = round(case.margin, 6)
        prompts.append(prompt)
    bitnet_source = "the float64 W1.58A8 forward of tools/make_goldens.py, rounded to float32; transformers' AutoBitLinear in float32 agrees within float64_difference"  # noqa: E501
    float_source = "transformers, float32, eager attention, CPU; the float64 forward of tools/make_goldens.py agrees within float64_difference"  # noqa: E501
    return {
        "name": spec.name,
        "note": spec.note,
        "seed": seed,
        "logits_from": bitnet_source if is_bitnet(spec.config) else float_source,
        "versions": {"torch": torch.__version__, "transformers": __version__},
        "prompts": prompts,
    }


def build(spec: Spec, out: Path) -> None:
    folder = out / spec.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    w, cases, seed = make_cases(spec)
    (folder / "config.json").write_text(json.dumps(spec.config, indent=2) + "\n")
    write_weights(folder, w, spec.shards)
    by_transformers = check_against_transformers(spec, folder, w, cases)
    stored = [c.logits.float() for c in cases] if is_bitnet(spec.config) else by_transformers
    save_file(
        {f"logits.{i}": t.contiguous() for i, t in enumerate(stored)}
        | {f"ids.{i}": torch.tensor(c.ids, dtype=torch.int32) for i, c in enumerate(cases)}
        | {f"greedy.{i}": torch.tensor(c.greedy, dtype=torch.int32) for i, c in enumerate(cases)},
        folder / "golden.safetensors",
    )
    golden = describe(spec, seed, cases, by_transformers)
    (folder / "golden.json").write_text(compact_json(golden))
    size = sum(f.stat().st_size for f in folder.iterdir())
    gaps = ", ".join(f"{c.gap:.3f}" for c in cases)
    worst = max(p["float64_difference"] for p in golden["prompts"])
    print(f"{spec.name:22} {size / 1024:6.0f} KiB  seed {seed}  gaps {gaps}  float64 difference {worst:.1e}", flush=True)


def compact_json(value: Config) -> str:
    """Indented, but lists of numbers stay on one line."""
    prompts = value.pop("prompts")
    head = json.dumps(value, indent=2)[:-2]
    rows = []
    for prompt in prompts:
        fields = ",\n".join(f'      "{key}": {json.dumps(item)}' for key, item in prompt.items())
        rows.append("    {\n" + fields + "\n    }")
    value["prompts"] = prompts
    return head + ',\n  "prompts": [\n' + ",\n".join(rows) + "\n  ]\n}\n"


# ------------------------------------------------------------------------------------------------- GGUF blocks


def halves(raw: np.ndarray, start: int) -> np.ndarray:
    """One little-endian half float of every block, as float32 in a column."""
    return raw[:, start : start + 2].copy().view("<f2").astype(np.float32)


def decode_q8_0(raw: np.ndarray) -> np.ndarray:
    return halves(raw, 0) * raw[:, 2:].view(np.int8).astype(np.float32)


def decode_q4_0(raw: np.ndarray) -> np.ndarray:
    codes = np.concatenate([raw[:, 2:] & 15, raw[:, 2:] >> 4], axis=1).astype(np.float32)
    return halves(raw, 0) * (codes - 8)


def six_bit_scales(field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The eight scales and eight minima that the K formats keep in 12 bytes."""
    a, b, c = field[:, 0:4], field[:, 4:8], field[:, 8:12]
    scales = np.concatenate([a & 63, (c & 15) | (a >> 6) << 4], axis=1)
    minima = np.concatenate([b & 63, (c >> 4) | (b >> 6) << 4], axis=1)
    return scales.astype(np.float32), minima.astype(np.float32)


def k_nibbles(field: np.ndarray) -> np.ndarray:
    """128 bytes to 8 groups of 32 codes: each run of 32 bytes holds two groups, low nibbles first."""
    runs = field.reshape(len(field), 4, 1, 32)
    return np.concatenate([runs & 15, runs >> 4], axis=2).reshape(len(field), 8, 32)


def scale_groups(raw: np.ndarray, codes: np.ndarray) -> np.ndarray:
    scales, minima = six_bit_scales(raw[:, 4:16])
    step, offset = halves(raw, 0) * scales, halves(raw, 2) * minima
    values = step[:, :, None] * codes.astype(np.float32) - offset[:, :, None]
    return values.reshape(len(raw), 256)


def decode_q4_k(raw: np.ndarray) -> np.ndarray:
    return scale_groups(raw, k_nibbles(raw[:, 16:144]))


def decode_q5_k(raw: np.ndarray) -> np.ndarray:
    fifth = raw[:, None, 16:48] >> np.arange(8, dtype=np.uint8)[None, :, None] & 1
    return scale_groups(raw, k_nibbles(raw[:, 48:176]) | fifth << 4)


def decode_q6_k(raw: np.ndarray) -> np.ndarray:
    blocks = len(raw)
    low = raw[:, 0:128].reshape(blocks, 2, 1, 64)
    low = np.concatenate([low & 15, low >> 4], axis=2).reshape(blocks, 2, 4, 32)
    high = raw[:, 128:192].reshape(blocks, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[None, None, :, None] & 3
    codes = (low | high << 4).astype(np.float32).reshape(blocks, 16, 16) - 32
    step = halves(raw, 208) * raw[:, 192:208].view(np.int8).astype(np.float32)
    return (step[:, :, None] * codes).reshape(blocks, 256)


def trits(field: np.ndarray, count: int) -> np.ndarray:
    """The first `count` base-3 digits of every byte, digit by digit: a byte is a fraction of 256, scaled up."""
    digits = []
    rest = field.astype(np.uint16)
    for _ in range(count):
        digits.append(rest * 3 >> 8)
        rest = rest * 3 & 255
    return np.concatenate(digits, axis=1)


def decode_tq1_0(raw: np.ndarray) -> np.ndarray:
    digits = np.concatenate([trits(raw[:, 0:32], 5), trits(raw[:, 32:48], 5), trits(raw[:, 48:52], 4)], axis=1)
    return halves(raw, 52) * (digits.astype(np.float32) - 1)


def decode_tq2_0(raw: np.ndarray) -> np.ndarray:
    pairs = raw[:, 0:64].reshape(len(raw), 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[None, None, :, None] & 3
    return halves(raw, 64) * (pairs.reshape(len(raw), 256).astype(np.float32) - 1)


GGUF_TYPES: dict[str, tuple[int, tuple[int, ...], Callable[[np.ndarray], np.ndarray]]] = {
    # name: bytes of a block, places of its half floats, decoder
    "Q8_0": (34, (0,), decode_q8_0),
    "Q4_0": (18, (0,), decode_q4_0),
    "Q4_K": (144, (0, 2), decode_q4_k),
    "Q5_K": (176, (0, 2), decode_q5_k),
    "Q6_K": (210, (208,), decode_q6_k),
    "TQ1_0": (54, (52,), decode_tq1_0),
    "TQ2_0": (66, (64,), decode_tq2_0),
}


def random_blocks(name: str, count: int, rng: np.random.Generator) -> np.ndarray:
    size, half_places, _ = GGUF_TYPES[name]
    raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
    if name == "TQ2_0":  # the code 3 means nothing
        codes = rng.integers(0, 3, (count, 64, 4), dtype=np.uint8)
        raw[:, :64] = codes[..., 0] | codes[..., 1] << 2 | codes[..., 2] << 4 | codes[..., 3] << 6
    if name == "TQ1_0":  # five base-3 digits as a fraction of 256, rounded up; the last four bytes hold four digits
        number = rng.integers(0, 243, (count, 52))
        number[:, 48:] = number[:, 48:] // 3 * 3
        raw[:, :52] = -(-number * 256 // 243)
    for place in half_places:
        magnitude = rng.uniform(0.001, 0.05, (count, 1)) * rng.choice([-1, 1], (count, 1), p=[0.2, 0.8])
        raw[:, place : place + 2] = magnitude.astype("<f2").view(np.uint8)
    return raw


def build_gguf_blocks(out: Path) -> None:
    rng = np.random.default_rng(20)
    tensors: Weights = {}
    for name, (size, _, decode) in GGUF_TYPES.items():
        raw = random_blocks(name, 24 if size < 40 else 12, rng)
        values = decode(raw)
        tensors[f"{name}.raw"] = torch.from_numpy(raw.reshape(-1))
        tensors[f"{name}.values"] = torch.from_numpy(values.astype(np.float32).reshape(-1))
    save_file(tensors, out / "gguf_blocks.safetensors")
    print("gguf_blocks.safetensors", {k: tuple(v.shape) for k, v in tensors.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "tests" / "golden")
    parser.add_argument("--only", nargs="*", help="names of checkpoints to build (default: all)")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)  # matrices are tiny, and sums keep one order
    for spec in specs():
        if not arguments.only or spec.name in arguments.only:
            build(spec, arguments.out)
    if not arguments.only or "gguf" in arguments.only:
        build_gguf_blocks(arguments.out)


if __name__ == "__main__":
    main()
