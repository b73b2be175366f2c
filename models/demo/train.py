#!/usr/bin/env python3
"""Trains the bundled demo model (ternary, BitNet b1.58) or its plain sibling, for a given time on one GPU.

    python3 train.py --corpus CORPUS --out OUT --kind demo --seconds 1180
    python3 train.py --corpus CORPUS --out OUT --kind demo-chat --seconds 180 --start OUT/demo/model
    python3 train.py --corpus CORPUS --out OUT --kind sibling --seconds 150

CORPUS holds books.{train.jsonl.xz,dev.jsonl} and dialogues.{train.jsonl.xz,dev.jsonl}. OUT/tokenizer.json is trained by
the first run and shared by the second. The result lands in OUT/KIND/: model/ (the hub's form), golden.*, samples.txt,
report.json and loss.png. The best checkpoint on held-out text is kept on disk while training runs.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

import corpus as data
from export import held_out_loss, plot_curve, publish
from network import DEMO, SIBLING, LanguageModel, Shape
from tokenizer import train_tokenizer

HERE = Path(__file__).resolve().parent
OWN_DIALOGUES = HERE / "own_dialogues.jsonl"


@dataclass(frozen=True)
class Recipe:
    """Fractions are of the training time."""

    shape: Shape
    peak_rate: float
    batch_tokens: int = 96 * 1024
    short: int = 1024
    long: int = 2048
    long_from: float = 0.85
    warmup_steps: int = 200
    second_stage: float = 0.55  # the rate drops and weight decay ends here
    stage_end_rate: float = 0.6  # of the peak, when the first stage ends
    second_stage_rate: float = 0.4  # of the peak, when the second stage begins
    final_rate: float = 0.01
    weight_decay: float = 0.1
    second_weight_decay: float = 0.0
    dropout: float = 0.1
    dialogues_low: float = 0.05
    dialogues_high: float = 0.20
    dialogues_rise: tuple[float, float] = (0.55, 0.80)
    own_from: float = 0.70
    own_share: float = 0.005
    average: float = 0.998  # decay of the moving average of the weights
    evaluations: int = 40
    candidates_from: float = 0.85  # a checkpoint before this is kept only in case of an early end
    authors: tuple[str, ...] = ()  # the books to read; all where empty


STORY_TELLERS = (
    "Charles Dickens", "Edith Nesbit", "Frances Hodgson Burnett", "George MacDonald", "Hans Christian Andersen",
    "Carlo Collodi", "Howard Pyle", "J. M. Barrie", "Jack London", "Johanna Spyri", "L. Frank Baum", "Lewis Carroll",
    "Louisa May Alcott", "Mark Twain", "Oscar Wilde", "Robert Louis Stevenson", "Sarah Orne Jewett",
)  # fmt: skip

RECIPES = {
    "demo": Recipe(DEMO, peak_rate=2.0e-3),
    # A short last phase that starts from the demo model: mostly talk, and books by those who tell stories.
    "demo-chat": Recipe(
        DEMO,
        peak_rate=4.0e-4,
        long_from=0.0,
        warmup_steps=50,
        second_stage=0.0,
        second_stage_rate=1.0,
        dropout=0.05,
        dialogues_low=0.30,
        dialogues_high=0.30,
        own_from=0.0,
        own_share=0.035,
        evaluations=12,
        authors=STORY_TELLERS,
    ),
    "sibling": Recipe(SIBLING, peak_rate=3.0e-3, second_weight_decay=0.1, dropout=0.0, evaluations=12),
}


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Two stages, linear in each: high at first, then a drop and down to almost nothing."""
    if progress < recipe.second_stage:
        along = progress / recipe.second_stage
        factor = 1 + along * (recipe.stage_end_rate - 1)
    else:
        along = (progress - recipe.second_stage) / (1 - recipe.second_stage)
        factor = recipe.second_stage_rate + along * (recipe.final_rate - recipe.second_stage_rate)
    return recipe.peak_rate * factor * min(1.0, (step + 1) / recipe.warmup_steps)


class DialogueShare:
    """The share of conversations in a batch: low, then rising; cut whenever held-out conversations get worse."""

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self.best = math.inf
        self.brake = 1.0

    def at(self, progress: float) -> float:
        start, end = self.recipe.dialogues_rise
        rise = min(max((progress - start) / (end - start), 0.0), 1.0)
        low, high = self.recipe.dialogues_low, self.recipe.dialogues_high
        return (low + rise * (high - low)) * self.brake

    def observe(self, held_out: float) -> None:
        if held_out > self.best + 0.01:
            self.brake *= 0.7
        self.best = min(self.best, held_out)


class Trainer:
    def __init__(self, recipe: Recipe, corpus: data.Corpus, out: Path, device: str, compiled: bool, start: Path | None):
        self.recipe, self.corpus, self.out, self.device = recipe, corpus, out, device
        self.model = LanguageModel(recipe.shape, recipe.dropout).to(device)
        if start:
            self.model.load_state_dict(load_published(start))
        self.averaged = LanguageModel(recipe.shape).to(device).eval()
        self.averaged.load_state_dict(self.model.state_dict())
        self.forward = torch.compile(self.model, dynamic=False) if compiled else self.model
        matrices = [p for n, p in self.model.named_parameters() if p.ndim == 2 and "embed" not in n]
        others = [p for n, p in self.model.named_parameters() if p.ndim != 2 or "embed" in n]
        groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, betas=(0.9, 0.95), fused=device == "cuda")
        self.share = DialogueShare(recipe)
        self.log: list[dict[str, float]] = []
        self.evaluations: list[dict[str, float]] = []
        self.best_score = math.inf
        self.best_is_candidate = False

    def batch(self, progress: float) -> Tensor:
        recipe = self.recipe
        length = recipe.long if progress >= recipe.long_from else recipe.short
        rows = recipe.batch_tokens // length
        # Rows are few, so a share is met on average rather than in every batch.
        dialogues = int(torch.rand(()).item() + rows * self.share.at(progress))
        own = int(torch.rand(()).item() + rows * recipe.own_share) if progress >= recipe.own_from else 0
        dialogues = min(dialogues, rows - own)
        parts = [self.corpus.books.windows(rows - dialogues - own, length + 1)]
        parts += [self.corpus.dialogues.windows(dialogues, length + 1), self.corpus.own.windows(own, length + 1)]
        return torch.cat(parts)

    def gradient(self, rows: Tensor) -> Tensor:
        loss = self.forward(rows[:, :-1], rows[:, 1:])
        loss.backward()
        return loss.detach()

    def step(self, number: int, progress: float) -> Tensor:
        recipe = self.recipe
        first_stage = progress < recipe.second_stage
        self.optimizer.param_groups[0]["weight_decay"] = recipe.weight_decay if first_stage else recipe.second_weight_decay
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(recipe, number, progress)
        loss = self.gradient(self.batch(progress))
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(recipe.average, (number + 1) / (number + 20))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.averaged.parameters()), list(self.model.parameters()), 1 - decay)
        return loss

    def evaluate(self, step: int, progress: float, loss: float) -> None:
        held_out = self.corpus.held_out

        def losses(model: LanguageModel) -> dict[str, float]:
            model.eval()
            found = {n: held_out_loss(model, t.tokens, torch.bfloat16, limit=96) for n, t in held_out.items()}
            return {n: round(value, 4) for n, value in found.items()}

        last, averaged = losses(self.model), losses(self.averaged)
        self.model.train()
        self.share.observe(averaged["dialogues"])
        use_average = self.score(averaged) <= self.score(last)
        entry = {
            "step": step,
            "tokens": step * self.recipe.batch_tokens,
            "progress": round(progress, 4),
            "train": round(loss, 4),
            "rate": learning_rate(self.recipe, step, progress),
            "dialogue_share": round(self.share.at(progress), 4),
            **(averaged if use_average else last),
            "last_books": last["books"],
            "last_dialogues": last["dialogues"],
        }
        self.evaluations.append(entry)
        print(json.dumps(entry), flush=True)
        self.keep_if_best(entry, self.averaged if use_average else self.model, progress)

    @staticmethod
    def score(losses: dict[str, float]) -> float:
        """What a checkpoint is chosen by: conversations first, prose too."""
        return losses["dialogues"] + 0.25 * losses["books"]

    def keep_if_best(self, entry: dict[str, float], model: LanguageModel, progress: float) -> None:
        candidate = progress >= self.recipe.candidates_from
        score = self.score(entry)
        if score >= self.best_score and self.best_is_candidate == candidate:
            return
        self.best_score, self.best_is_candidate = score, candidate
        state = {name: t.to(torch.bfloat16) for name, t in model.state_dict().items()}
        torch.save({"state": state, "entry": entry}, self.out / "best.part")
        (self.out / "best.part").replace(self.out / "best.pt")

    def warm_up(self) -> None:
        """Compiles for both lengths before the clock starts."""
        for progress in (0.0, self.recipe.long_from):
            self.gradient(self.batch(progress))
            self.optimizer.zero_grad(set_to_none=True)

    def run(self, seconds: float) -> None:
        self.warm_up()
        if self.device == "cuda":
            torch.cuda.synchronize()
        start, step, next_evaluation = time.monotonic(), 0, 0.0
        while True:
            progress = (time.monotonic() - start) / seconds
            if progress >= 1:
                break
            loss = self.step(step, progress)
            step += 1
            if step % 50 == 0:  # reading the loss also keeps the clock honest: the device has caught up
                self.log.append({"step": step, "tokens": step * self.recipe.batch_tokens, "loss": round(loss.item(), 4)})
            if step % 50 == 0 and progress >= next_evaluation:
                self.evaluate(step, progress, loss.item())
                next_evaluation += 1 / self.recipe.evaluations
        self.evaluate(step, 1.0, loss.item())
        self.seconds = time.monotonic() - start


def tokenizer_texts(books: list[str], chats: list[data.Chat], own: list[data.Chat]) -> Iterator[str]:
    """Half of the prose, and the conversations several times over, so that everyday words become whole tokens."""
    for book in books[::2]:
        yield from (book[i : i + 4000] for i in range(0, len(book), 4000))
    for chat in [*chats * 3, *own * 10]:
        yield from (message["content"] for message in chat)


def get_tokenizer(path: Path, books: list[str], chats: list[data.Chat]) -> Tokenizer:
    if not path.exists():
        train_tokenizer(tokenizer_texts(books, chats, data.read_own_dialogues(OWN_DIALOGUES))).save(str(path))
    return Tokenizer.from_file(str(path))


def load_published(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for file in sorted(folder.glob("*.safetensors")):
        state |= load_file(file)
    return {name: tensor.float() for name, tensor in state.items()}


def finish(trainer: Trainer, tokenizer: Tokenizer, kind: str, started: float) -> None:
    out, recipe = trainer.out, trainer.recipe
    best = torch.load(out / "best.pt", map_location="cpu")
    numbers = publish(out, recipe.shape, best["state"], tokenizer, trainer.corpus.held_out, trainer.device)
    tokens = trainer.evaluations[-1]["tokens"]
    report: dict[str, Any] = {
        "kind": kind,
        "held_out": numbers,
        "chosen": best["entry"],
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
        "steps": trainer.evaluations[-1]["step"],
        "tokens": tokens,
        "training_seconds": round(trainer.seconds, 1),
        "tokens_a_second": round(tokens / trainer.seconds),
        "whole_seconds": round(time.monotonic() - started, 1),
        "device": torch.cuda.get_device_name() if trainer.device == "cuda" else "cpu",
        "torch": torch.__version__,
        "corpus": trainer.corpus.sizes,
        "recipe": asdict(recipe),
        "evaluations": trainer.evaluations,
        "log": trainer.log,
    }
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    plot_curve(trainer.log, trainer.evaluations, f"EdgeLLM {kind} model", out / "loss.png")
    print(json.dumps({k: v for k, v in report.items() if k not in ("evaluations", "log", "recipe")}, indent=1), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kind", choices=list(RECIPES), default="demo")
    parser.add_argument("--start", type=Path, help="hub folder to start from, instead of random weights")
    parser.add_argument("--seconds", type=float, default=1200.0, help="training time without preparation and export")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()

    started = time.monotonic()
    torch.manual_seed(1)
    out = arguments.out / arguments.kind
    out.mkdir(parents=True, exist_ok=True)
    recipe = RECIPES[arguments.kind]
    books = data.read_books(arguments.corpus / "books.train.jsonl.xz", recipe.authors)
    chats = data.read_dialogues(arguments.corpus / "dialogues.train.jsonl.xz")
    tokenizer = get_tokenizer(arguments.out / "tokenizer.json", books, chats)
    corpus = data.prepare(tokenizer, arguments.corpus, OWN_DIALOGUES, books, chats, arguments.device)
    print(json.dumps(corpus.sizes), f"ready after {time.monotonic() - started:.0f} s", flush=True)

    trainer = Trainer(recipe, corpus, out, arguments.device, not arguments.no_compile, arguments.start)
    trainer.run(arguments.seconds)
    finish(trainer, tokenizer, arguments.kind, started)


if __name__ == "__main__":
    main()
