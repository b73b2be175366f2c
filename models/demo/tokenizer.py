"""The demo models' tokenizer: byte-level BPE, GPT-2's splitting, six special tokens, and the chat template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 8192
BOS, USER, ASSISTANT, END, PAD, SYSTEM = range(6)
SPECIAL_TOKENS = ["<|bos|>", "<|user|>", "<|assistant|>", "<|end|>", "<|pad|>", "<|system|>"]
ROLE_TOKENS = {"user": USER, "assistant": ASSISTANT, "system": SYSTEM}

# The template alone writes <|bos|>: the tokenizer adds nothing to a text by itself.
CHAT_TEMPLATE = (
    "{{ '<|bos|>' }}"
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def train_tokenizer(texts: Iterator[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert [tokenizer.token_to_id(t) for t in SPECIAL_TOKENS] == list(range(6))
    return tokenizer


def chat_ids(tokenizer: Tokenizer, messages: list[dict[str, str]], answer: bool = True) -> list[int]:
    """What the chat template renders, as ids."""
    ids = [BOS]
    for message in messages:
        ids += [ROLE_TOKENS[message["role"]], *tokenizer.encode(message["content"].strip()).ids, END]
    return ids + [ASSISTANT] if answer else ids


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context: int, sampling: dict[str, float]) -> None:
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    named = {"bos_token": "<|bos|>", "eos_token": "<|end|>", "pad_token": "<|pad|>"}
    added = {
        str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
        for i, t in enumerate(SPECIAL_TOKENS)
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **named,
        "add_bos_token": False,
        "add_eos_token": False,
        "additional_special_tokens": ["<|user|>", "<|assistant|>", "<|system|>"],
        "added_tokens_decoder": added,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "chat_template": CHAT_TEMPLATE,
    }
    generation = {
        "bos_token_id": BOS,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "do_sample": True,
        **sampling,
        "max_new_tokens": 256,
    }
    for name, content in (
        ("tokenizer_config.json", config),
        ("special_tokens_map.json", named),
        ("generation_config.json", generation),
    ):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
