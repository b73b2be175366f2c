"""Books and conversations: reading, cleaning, and turning them into streams of tokens to draw windows from."""

from __future__ import annotations

import json
import lzma
import random
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from tokenizer import BOS, END, ROLE_TOKENS

Message = dict[str, str]
Chat = list[Message]

CHUNK = 20_000  # characters of a book that are tokenised at once
LONGEST = 4096  # no window is longer
MIN_TURNS = 4
MAX_TURN = 320  # characters

SYSTEM_PROMPTS = [
    "You are a helpful assistant.",
    "You are a friendly assistant. Keep your answers short.",
    "You are a helpful, polite assistant.",
    "You are a chat companion. Be kind and brief.",
    "Answer in simple English.",
    "Be concise.",
    "You are an AI assistant that talks with people about everyday things.",
    "You are a small language model that runs on this device.",
    "Respond briefly and politely.",
    "You are a helpful AI assistant. Answer as well as you can.",
    "Have a pleasant conversation with the user.",
    "You like small talk. Answer in one or two sentences.",
    "You are a cheerful assistant who enjoys talking about music, films and books.",
    "Help the user. If you do not know something, say so.",
    "You are a knowledgeable and friendly assistant.",
    "Speak clearly and use short sentences.",
]

# ------------------------------------------------------------------------------------------------ cleaning

TOXIC = re.compile(
    r"\b(f+u+c+k\w*|shit\w*|bullshit|bitch\w*|cunt\w*|nigg\w*|fag(got)?s?|whores?|sluts?|retard\w*|rap(e|ed|ist|ing)|"
    r"porn\w*|dicks?|cocks?|ass|asses|asshole\w*|bastards?|tits|boobs?|nazis?|suicide|kill (your|my)self|tranny|"
    r"pussy|sexy|sex|molest\w*|pedo\w*)\b",
    re.IGNORECASE,
)
BROKEN = re.compile(r"https?:|www\.|[{}\[\]_`|<>@#^~\\*=+]|\b(mturk|turkers?|worker id)\b", re.IGNORECASE)
CHARACTERS = str.maketrans(
    {
        "’": "'", "‘": "'", "´": "'", "′": "'", "ʻ": "'", "‚": ",", "“": '"', "”": '"', "″": '"', "…": "...", "–": "-",
        "—": "-", "·": " ", "♢": " ", "\ufeff": "", "\u200b": "", "\u00a0": " ",
    }
)  # fmt: skip
WORDS = {
    "alot": "a lot", "thier": "their", "teh": "the", "definately": "definitely", "definetly": "definitely",
    "wierd": "weird", "recieve": "receive", "beleive": "believe", "belive": "believe", "freind": "friend",
    "freinds": "friends", "tommorow": "tomorrow", "tomorow": "tomorrow", "untill": "until", "wich": "which",
    "becuase": "because", "becasue": "because", "favorit": "favorite", "favourit": "favourite", "realy": "really",
    "probaly": "probably", "proably": "probably", "probly": "probably", "intresting": "interesting", "awsome": "awesome",
    "amazin": "amazing", "excelent": "excellent", "finaly": "finally", "moive": "movie", "moives": "movies",
    "moveis": "movies", "charachter": "character", "charater": "character", "seperate": "separate", "remeber": "remember",
    "rember": "remember", "surprized": "surprised", "suprised": "surprised", "shoud": "should", "woud": "would",
    "dont": "don't", "doesnt": "doesn't", "didnt": "didn't", "cant": "can't", "couldnt": "couldn't", "wont": "won't",
    "wouldnt": "wouldn't", "shouldnt": "shouldn't", "isnt": "isn't", "arent": "aren't", "wasnt": "wasn't",
    "werent": "weren't", "havent": "haven't", "hasnt": "hasn't", "hadnt": "hadn't", "aint": "ain't", "im": "I'm",
    "ive": "I've", "id": "I'd", "youre": "you're", "youve": "you've", "theyre": "they're", "thats": "that's",
    "whats": "what's", "hes": "he's", "shes": "she's", "theres": "there's", "lets": "let's", "u": "you", "ur": "your",
    "r": "are", "ya": "you", "yea": "yeah", "yeh": "yeah", "pls": "please", "plz": "please", "cuz": "because",
    "coz": "because", "gonna": "going to", "wanna": "want to", "gotta": "have to", "kinda": "kind of", "i": "I",
    "i'm": "I'm", "i've": "I've", "i'll": "I'll", "i'd": "I'd",
}  # fmt: skip
WORD = re.compile(r"[A-Za-z']+")
QUESTION = re.compile(
    r"^((oh|so|well|and|but|hi|hey|hello|ok|okay|yes|no|yeah|wow)\b[,.! ]*)*(what|who|whose|where|when|why|how|which|do|"
    r"does|did|is|are|was|were|am|can|could|would|will|should|have|has|had|isn't|aren't|don't|doesn't|didn't|wasn't|"
    r"haven't|hasn't|can't|couldn't|wouldn't)\s+(\w+'?\w*)",
    re.IGNORECASE,
)
GREETING = re.compile(r"(hi|hello|hey|good (morning|evening|afternoon))\b", re.IGNORECASE)
SENTENCE_START = re.compile(r"(^|[.!?]\s+)([\"'(]?)([a-z])")


def fix_word(match: re.Match[str]) -> str:
    word = match.group()
    capitalised = len(word) > 1 and word == word.capitalize()
    fixed = WORDS.get(word.lower()) if word.islower() or capitalised else None
    if fixed is None:
        return word
    return fixed[0].upper() + fixed[1:] if word[0].isupper() else fixed


def clean_turn(text: str) -> str | None:
    """The turn in tidy English, or None where it is beyond repair."""
    text = " ".join(text.translate(CHARACTERS).split())
    if not text or len(text) > MAX_TURN or BROKEN.search(text) or not re.search(r"[A-Za-z]", text):
        return None
    if any(ord(c) > 126 and not c.isalpha() for c in text):
        return None
    if text.isupper() and len(text) > 6:
        text = text.lower()
    text = re.sub(r"([!?])[!?]+", r"\1", text)
    text = re.sub(r"\.{4,}", "...", text)
    text = re.sub(r"(?<!\.)\.\.(?!\.)", ".", text)
    text = re.sub(r"\s+([,.!?;:])", r"\1", text)
    text = re.sub(r",{2,}", ",", text)
    text = re.sub(r"([,;!?])(?=[A-Za-z])", r"\1 ", text)
    text = re.sub(r"(?<=[a-z])\.(?=[A-Z][a-z])", ". ", text)
    text = re.sub(r"(?<=[a-z0-9])\s*,$", ".", text)
    text = WORD.sub(fix_word, text)
    text = SENTENCE_START.sub(lambda m: m.group(1) + m.group(2) + m.group(3).upper(), text)
    if text[-1].isalnum() or text[-1] in "'\")":
        bare = text.rstrip("'\")")
        if bare and bare[-1].isalnum():
            text += "?" if QUESTION.match(text) else "."
    return text


def clean_chat(turns: list[str]) -> list[str] | None:
    """Up to the first broken or repeated turn; nothing of a chat that is rude or too short."""
    kept: list[str] = []
    for turn in turns:
        if TOXIC.search(turn):
            return None
        cleaned = clean_turn(turn)
        if cleaned is None or (kept and cleaned.lower() == kept[-1].lower()):
            break
        kept.append(cleaned)
    return kept if len(kept) >= MIN_TURNS else None


def as_chat(turns: list[str]) -> Chat:
    return [{"role": ("user", "assistant")[i % 2], "content": t} for i, t in enumerate(turns)]


# ------------------------------------------------------------------------------------------------- reading


def read_lines(path: Path) -> list[dict]:
    with lzma.open(path, "rt") if path.suffix == ".xz" else open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def read_books(path: Path, authors: tuple[str, ...] = ()) -> list[str]:
    """Book texts without the catalogue header; of these authors alone where any are named."""
    books = [book for book in read_lines(path) if not authors or book["author"] in authors]
    return [book["text"].split("-------\n", 1)[-1].strip() for book in books]


def read_dialogues(path: Path) -> list[Chat]:
    seen: set[str] = set()
    chats = []
    for line in read_lines(path):
        turns = clean_chat([m["content"] for m in line["messages"]])
        key = "\n".join(turns or []).lower()
        if turns and key not in seen:
            seen.add(key)
            chats.append(as_chat(turns))
    return chats


def read_own_dialogues(path: Path) -> list[Chat]:
    return [line["messages"] for line in read_lines(path)]


# ------------------------------------------------------------------------------------------------- streams


@dataclass
class Stream:
    """Tokens on the training device; windows start at `starts`, or anywhere where that is None."""

    tokens: Tensor
    starts: Tensor | None = None

    def windows(self, count: int, length: int) -> Tensor:
        device = self.tokens.device
        if self.starts is None:
            first = torch.randint(len(self.tokens) - length, (count,), device=device)
        else:
            first = self.starts[torch.randint(len(self.starts), (count,), device=device)]
        return self.tokens[first[:, None] + torch.arange(length, device=device)]


def casual(text: str) -> str:
    """As people type in a hurry."""
    return text.lower().rstrip(".!?")


@dataclass(frozen=True)
class Turn:
    role: str
    text: str
    tidy: list[int]
    hurried: list[int]


EncodedChat = list[Turn]


@dataclass(frozen=True)
class Variation:
    """How often a chat is changed, so that many passes over few chats do not all look alike."""

    swap: float = 0.0  # the second speaker opens and so becomes the user
    chain: float = 0.0  # another chat follows without a break
    greet: float = 0.0  # one of the greetings comes first
    hurried: float = 0.0  # the user types without capitals and full stops
    system: float = 0.0  # a system prompt comes first
    greetings: list[EncodedChat] = field(default_factory=list)


class ChatEncoder:
    """Ids of every turn once, so that many differently shuffled and varied streams are cheap."""

    def __init__(self, tokenizer: Tokenizer, chats: list[Chat]):
        turns = [m["content"] for chat in chats for m in chat]
        tidy = iter([e.ids for e in tokenizer.encode_batch(turns)])
        hurried = iter([e.ids for e in tokenizer.encode_batch([casual(t) for t in turns])])
        self.chats = [[Turn(m["role"], m["content"], next(tidy), next(hurried)) for m in chat] for chat in chats]
        self.systems = [tokenizer.encode(text).ids for text in SYSTEM_PROMPTS]

    def plain(self) -> list[int]:
        return [token for chat in self.chats for token in self.tokens(chat)]

    def greetings(self) -> list[EncodedChat]:
        """The first two turns of the chats that open with a greeting."""
        return [chat[:2] for chat in self.chats if GREETING.match(chat[0].text)]

    def varied(self, rng: random.Random, variation: Variation) -> list[int]:
        """One pass over all chats, in random order."""
        stream: list[int] = []
        for chat in rng.sample(self.chats, len(self.chats)):
            if rng.random() < variation.swap and len(chat) > MIN_TURNS:
                chat = [replace(turn, role=other.role) for turn, other in zip(chat[1:], chat)]
            while rng.random() < variation.chain:
                chat = chat + rng.choice(self.chats)
            if rng.random() < variation.greet:
                chat = rng.choice(variation.greetings) + chat
            preamble = rng.choice(self.systems) if rng.random() < variation.system else None
            stream += self.tokens(chat, preamble, rng.random() < variation.hurried)
        return stream

    @staticmethod
    def tokens(chat: EncodedChat, preamble: list[int] | None = None, hurried: bool = False) -> list[int]:
        ids = [BOS]
        if preamble:
            ids += [ROLE_TOKENS["system"], *preamble, END]
        for turn in chat:
            ids += [ROLE_TOKENS[turn.role], *(turn.hurried if hurried and turn.role == "user" else turn.tidy), END]
        return ids


def book_tokens(tokenizer: Tokenizer, books: list[str]) -> np.ndarray:
    ids: list[np.ndarray] = []
    for book in books:
        encoded = tokenizer.encode_batch([book[i : i + CHUNK] for i in range(0, len(book), CHUNK)])
        ids += [np.array([BOS], np.int32), *(np.array(e.ids, np.int32) for e in encoded)]
    return np.concatenate(ids)


def chat_stream(parts: list[list[int]], device: str) -> Stream:
    tokens = torch.from_numpy(np.concatenate([np.array(p, np.int64) for p in parts])).to(device)
    starts = (tokens == BOS).nonzero().flatten()
    return Stream(tokens, starts[starts < len(tokens) - LONGEST])


@dataclass
class HeldOut:
    tokens: Tensor
    text_bytes: int  # of the text itself, without special tokens


@dataclass
class Corpus:
    books: Stream
    dialogues: Stream
    own: Stream
    held_out: dict[str, HeldOut]
    sizes: dict[str, int]


def prepare(tokenizer: Tokenizer, folder: Path, own: Path, books: list[str], chats: list[Chat], device: str) -> Corpus:
    rng = random.Random(7)
    encoder = ChatEncoder(tokenizer, chats)
    own_encoder = ChatEncoder(tokenizer, read_own_dialogues(own))
    book_ids = book_tokens(tokenizer, books)
    in_dialogues = Variation(swap=0.3, greet=0.02, hurried=0.15, system=0.08, greetings=own_encoder.greetings())
    in_own = Variation(chain=0.4, hurried=0.25, system=0.3)
    dialogue_passes = [encoder.varied(rng, in_dialogues) for _ in range(6)]
    own_passes = [own_encoder.varied(rng, in_own) for _ in range(60)]

    dev_books = read_books(folder / "books.dev.jsonl")
    dev_chats = read_dialogues(folder / "dialogues.dev.jsonl")
    dev_chat_ids = ChatEncoder(tokenizer, dev_chats).plain()
    held_out = {
        "books": HeldOut(
            torch.from_numpy(book_tokens(tokenizer, dev_books).astype(np.int64)).to(device),
            sum(len(b.encode()) for b in dev_books),
        ),
        "dialogues": HeldOut(
            torch.tensor(dev_chat_ids, device=device), sum(len(m["content"].encode()) for c in dev_chats for m in c)
        ),
    }
    sizes = {
        "book_tokens": len(book_ids),
        "dialogue_tokens": len(encoder.plain()),
        "dialogues": len(chats),
        "own_dialogue_tokens": len(own_encoder.plain()),
        "own_dialogues": len(own_encoder.chats),
        "held_out_book_tokens": len(held_out["books"].tokens),
        "held_out_dialogue_tokens": len(dev_chat_ids),
    }
    return Corpus(
        Stream(torch.from_numpy(book_ids.astype(np.int64)).to(device)),
        chat_stream(dialogue_passes, device),
        chat_stream(own_passes, device),
        held_out,
        sizes,
    )
