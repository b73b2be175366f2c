"""From trained weights to what is published: the folder in the hub's form, held-out numbers, references, samples."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from corpus import HeldOut
from network import LanguageModel, Shape, ternary_codes
from tokenizer import BOS, END, PAD, chat_ids, save_tokenizer

SHARD_BYTES = 15 * 1024 * 1024
GREEDY_TOKENS = 24

GOLDEN_CHATS = [
    [{"role": "user", "content": "Hello!"}],
    [{"role": "user", "content": "Who are you?"}],
    [{"role": "user", "content": "Hello, how are you?"}],
    [{"role": "user", "content": "Do you like music?"}],
    [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Can you tell me a short story about a dog?"},
    ],
    [
        {"role": "user", "content": "Hi!"},
        {"role": "assistant", "content": "Hello! How are you today?"},
        {"role": "user", "content": "I am fine, thanks. What can you do?"},
    ],
]
GOLDEN_TEXT = "Once upon a time there was a king who"

SAMPLE_CHATS = [
    ["Hello!", "I'm good. What is your name?", "What can you do?", "Thanks, goodbye!"],
    ["Hi, how are you?", "Do you like music?", "Why do you think so?"],
    ["What is your favorite book?", "Why do you like it?", "Thank you."],
    ["I am going to the beach this weekend.", "Yes, with my sister.", "I hope it will be sunny."],
    ["Tell me a story about a dog.", "That was nice. Another one, please."],
    ["good morning", "i slept badly", "what should i do"],
    ["What is the capital of Mongolia?", "Ok. Do you like cats?"],
    ["Have you seen any good movies lately?", "What did you like about it?"],
    ["I'm a bit sad today.", "My cat is ill."],
]
SAMPLE_TEXTS = ["Once upon a time there was a king who", "It was a dark and stormy night, and"]
SAMPLE_SYSTEM = "You are a friendly assistant."
SAMPLING = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "repetition_penalty": 1.1}


def hub_config(shape: Shape) -> dict[str, Any]:
    config: dict[str, Any] = {
        "architectures": ["BitNetForCausalLM" if shape.ternary else "LlamaForCausalLM"],
        "model_type": "bitnet" if shape.ternary else "llama",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": BOS,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "head_dim": shape.head_dim,
        "hidden_act": "relu2" if shape.ternary else "silu",
        "hidden_size": shape.hidden,
        "initializer_range": shape.init_std,
        "intermediate_size": shape.ffn,
        "max_position_embeddings": shape.context,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.kv_heads,
        "rms_norm_eps": shape.eps,
        "rope_scaling": None,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": shape.vocab,
    }
    if shape.ternary:
        config["quantization_config"] = {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "online",
        }
    else:
        config["mlp_bias"] = False
    return config


def save_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    """One file where it fits, else shards with an index."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in weights.items():
        size = tensor.numel() * tensor.element_size()
        if filled + size > SHARD_BYTES and shards[-1]:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor.contiguous()
        filled += size
    if len(shards) == 1:
        save_file(shards[0], folder / "model.safetensors", metadata={"format": "pt"})
        return
    index = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        index |= {name: file for name in shard}
    total = sum(t.numel() * t.element_size() for t in weights.values())
    content = {"metadata": {"total_size": total}, "weight_map": dict(sorted(index.items()))}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content, indent=2) + "\n")


def rounded_model(shape: Shape, state: dict[str, Tensor], device: str) -> LanguageModel:
    """The model as published: every weight rounded to bfloat16, computed with in float32."""
    model = LanguageModel(shape)
    model.load_state_dict({name: t.to(torch.bfloat16).float() for name, t in state.items()})
    return model.to(device).eval()


@torch.no_grad()
def held_out_loss(model: LanguageModel, tokens: Tensor, dtype: torch.dtype, length: int = 1024, limit: int = 0) -> float:
    """Mean loss a token; the text in windows of `length`, each token predicted once, at most `limit` windows."""
    count = (len(tokens) - 1) // length
    chosen = torch.arange(count)
    if limit and limit < count:
        chosen = torch.linspace(0, count - 1, limit).long()
    losses = []
    for part in chosen.split(16):
        rows = torch.stack([tokens[i * length : i * length + length + 1] for i in part.tolist()])
        losses += [model(rows[:, :-1], rows[:, 1:], dtype).item()] * len(part)
    return sum(losses) / len(losses)


def held_out_numbers(model: LanguageModel, held_out: dict[str, HeldOut]) -> dict[str, dict[str, float]]:
    numbers = {}
    for name, text in held_out.items():
        loss = held_out_loss(model, text.tokens, torch.float32)
        bits = loss * len(text.tokens) / math.log(2) / text.text_bytes
        numbers[name] = {"loss": round(loss, 4), "perplexity": round(math.exp(loss), 2), "bits_per_byte": round(bits, 4)}
    return numbers


@torch.no_grad()
def next_logits(model: LanguageModel, ids: list[int]) -> Tensor:
    device = next(model.parameters()).device
    window = ids[-model.shape.context :]
    return model(torch.tensor([window], device=device), dtype=torch.float32)[0, -1]


def golden(model: LanguageModel, tokenizer: Tokenizer) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Greedy continuations and the logits after each prompt, by the exact float32 forward."""
    prompts = [(chat, chat_ids(tokenizer, chat)) for chat in GOLDEN_CHATS]
    prompts.append((GOLDEN_TEXT, [BOS, *tokenizer.encode(GOLDEN_TEXT).ids]))
    entries, tensors = [], {}
    for index, (source, ids) in enumerate(prompts):
        text, gaps = list(ids), []
        while len(gaps) < GREEDY_TOKENS and (not gaps or text[-1] != END):
            best = next_logits(model, text).topk(2)
            gaps.append(round((best.values[0] - best.values[1]).item(), 3))
            text.append(int(best.indices[0]))
        tensors[f"logits.{index}"] = next_logits(model, ids).cpu()
        entries.append(
            {
                "messages" if isinstance(source, list) else "text": source,
                "ids": ids,
                "greedy": text[len(ids) :],
                "greedy_text": tokenizer.decode(text[len(ids) :], skip_special_tokens=False),
                "gaps": gaps,
                "logits": f"logits.{index}",
            }
        )
    arithmetic = "W1.58A8, embedding and head in int8 groups of 128" if model.shape.ternary else "as stored"
    note = f"float32 forward of the published bfloat16 weights ({arithmetic}); greedy ends with <|end|> or after {GREEDY_TOKENS}"
    return {"note": note, "prompts": entries}, tensors


def draw(logits: Tensor, seen: list[int], generator: torch.Generator) -> int:
    repeated = torch.tensor(sorted(set(seen)), device=logits.device)
    penalty = SAMPLING["repetition_penalty"]
    logits[repeated] = torch.where(logits[repeated] > 0, logits[repeated] / penalty, logits[repeated] * penalty)
    values, indices = (logits / SAMPLING["temperature"]).topk(int(SAMPLING["top_k"]))
    probabilities = values.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    probabilities[before >= SAMPLING["top_p"]] = 0
    return int(indices[torch.multinomial(probabilities.cpu(), 1, generator=generator).item()])


def continue_text(model: LanguageModel, ids: list[int], count: int, generator: torch.Generator) -> list[int]:
    new: list[int] = []
    while len(new) < count and (not new or new[-1] != END):
        new.append(draw(next_logits(model, ids + new), ids + new, generator))
    return new


def samples(model: LanguageModel, tokenizer: Tokenizer) -> str:
    generator = torch.Generator().manual_seed(1)
    lines = []
    for number, questions in enumerate(SAMPLE_CHATS):
        messages = [{"role": "system", "content": SAMPLE_SYSTEM}] if number % 3 == 2 else []
        lines += [f"system: {m['content']}" for m in messages]
        for question in questions:
            messages.append({"role": "user", "content": question})
            answer = continue_text(model, chat_ids(tokenizer, messages), 160, generator)
            text = tokenizer.decode(answer, skip_special_tokens=True).strip()
            messages.append({"role": "assistant", "content": text})
            lines += [f"user: {question}", f"assistant: {text}"]
        lines.append("")
    for start in SAMPLE_TEXTS:
        more = continue_text(model, [BOS, *tokenizer.encode(start).ids], 100, generator)
        lines += [f"text: {start} ▸{tokenizer.decode(more, skip_special_tokens=True)}", ""]
    return "\n".join(lines)


def plot_curve(log: list[dict[str, float]], evaluations: list[dict[str, float]], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    axes.plot([e["tokens"] / 1e6 for e in log], [e["loss"] for e in log], color="0.75", lw=0.8, label="training batch")
    for name, color in (("books", "tab:blue"), ("dialogues", "tab:orange")):
        points = [(e["tokens"] / 1e6, e[name]) for e in evaluations]
        axes.plot(*zip(*points), color=color, marker=".", label=f"held-out {name}")
    axes.set(xlabel="million tokens", ylabel="loss (nats a token)", title=title, ylim=(1.5, 6))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def ternary_zeros(model: LanguageModel) -> float:
    codes = [ternary_codes(m.weight) for m in model.modules() if type(m).__name__ == "BitLinear"]
    return sum((c == 0).sum().item() for c in codes) / max(1, sum(c.numel() for c in codes))


def publish(
    out: Path, shape: Shape, state: dict[str, Tensor], tokenizer: Tokenizer, held_out: dict[str, HeldOut], device: str
) -> dict[str, Any]:
    """Writes the hub folder, golden.json, golden.safetensors and samples.txt; returns the held-out numbers."""
    folder = out / "model"
    folder.mkdir(parents=True, exist_ok=True)
    model = rounded_model(shape, state, device)
    save_weights(folder, {name: t.to(torch.bfloat16).cpu() for name, t in state.items()})
    (folder / "config.json").write_text(json.dumps(hub_config(shape), indent=2) + "\n")
    save_tokenizer(tokenizer, folder, shape.context, SAMPLING)
    reference, logits = golden(model, tokenizer)
    rows = ",\n".join("  " + json.dumps(prompt) for prompt in reference["prompts"])
    (out / "golden.json").write_text(f'{{"note": {json.dumps(reference["note"])}, "prompts": [\n{rows}\n]}}\n')
    save_file(logits, out / "golden.safetensors")
    (out / "samples.txt").write_text(samples(model, tokenizer) + "\n")
    numbers: dict[str, Any] = held_out_numbers(model, held_out)
    if shape.ternary:
        numbers["ternary_zeros"] = round(ternary_zeros(model), 4)
    return numbers
