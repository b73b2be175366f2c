"""Running the program in tests: a fresh home, tiny models made on the spot, and terminals."""

import json
import os
import pty
import random
import re
import select
import signal
import struct
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("EDGELLM_PROGRAM", str(SOURCE / "build" / "dev" / "bin" / "edgellm"))
SHARED = Path(os.environ.get("EDGELLM_TEST_DATA", SOURCE / ".." / "shared" / "data"))
STORIES = SHARED / "stories260k" / "stories260K.bin"

needs_shared_data = unittest.skipUnless(STORIES.exists(), "needs the shared test data")

def has_terminals():
    """Bare chroots have no pseudo-terminals."""
    try:
        for descriptor in pty.openpty():
            os.close(descriptor)
        return True
    except OSError:
        return False


needs_terminal = unittest.skipUnless(has_terminals(), "this system has no pseudo-terminals (is /dev/pts mounted?)")

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {byte: chr(byte) for byte in plain}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + sum(1 for b in letters if b not in plain))
    return letters


def write_safetensors(path, tensors):
    header, offset, data = {}, 0, b""
    for name, (shape, values) in tensors.items():
        raw = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def make_model(folder, context=2048, chat_template=TEMPLATE):
    """A Llama of one layer with random weights over bytes. It says nothing, for ever: <|im_end|> is never the likeliest."""
    folder.mkdir(parents=True)
    hidden, ffn, heads, vocab = 32, 64, 4, 258
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": hidden, "intermediate_size": ffn,
        "num_hidden_layers": 1, "num_attention_heads": heads, "num_key_value_heads": heads, "vocab_size": vocab,
        "max_position_embeddings": context, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
        "tie_word_embeddings": False, "eos_token_id": 257, "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config))
    letters = byte_alphabet()
    tokenizer = {
        "version": "1.0",
        "added_tokens": [
            {"id": 256 + i, "content": content, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False} for i, content in enumerate(["<|im_start|>", "<|im_end|>"])
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {letters[byte]: byte for byte in range(256)}, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = {"eos_token": "<|im_end|>"}
    if chat_template:
        settings["chat_template"] = chat_template
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))

    random_numbers = random.Random(7)
    def matrix(rows, cols, scale=0.5):
        return [rows, cols], [random_numbers.gauss(0, scale) for _ in range(rows * cols)]
    def ones(size):
        return [size], [1.0] * size
    layer = "model.layers.0."
    tensors = {"model.embed_tokens.weight": matrix(vocab, hidden, 1.0)}
    for name in "qkvo":
        tensors[f"{layer}self_attn.{name}_proj.weight"] = matrix(hidden, hidden)
    tensors[layer + "mlp.gate_proj.weight"] = matrix(ffn, hidden)
    tensors[layer + "mlp.up_proj.weight"] = matrix(ffn, hidden)
    tensors[layer + "mlp.down_proj.weight"] = matrix(hidden, ffn)
    for name in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"{layer}{name}.weight"] = ones(hidden)
    tensors["model.norm.weight"] = ones(hidden)
    shape, head = matrix(vocab, hidden, 1.0)
    head[256 * hidden:] = [0.0] * (2 * hidden)  # special tokens: logit 0, where 256 others have larger ones
    tensors["lm_head.weight"] = shape, head
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


class ProgramTest(unittest.TestCase):
    """A temporary folder with a home and a store of its own; no environment of the developer's."""

    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.addCleanup(self.temporary.cleanup)
        self.folder = Path(self.temporary.name)
        self.home = self.folder / "home"
        self.home.mkdir()
        self.environment = {"HOME": str(self.home), "PATH": os.environ["PATH"], "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    def run_program(self, *arguments, stdin=b"", **settings):
        return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, timeout=120,
                              cwd=self.folder, env=self.environment, **settings)

    def succeed(self, *arguments, stdin=b""):
        """Standard output of a run that must not fail."""
        done = self.run_program(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def succeed_json(self, *arguments, stdin=b""):
        return json.loads(self.succeed(*arguments, "--json", stdin=stdin))

    def refuse(self, *arguments, stdin=b"", code=1):
        """The one error line of a run that must fail, without its "error: "."""
        done = self.run_program(*arguments, stdin=stdin)
        self.assertEqual(done.returncode, code, done.stderr)
        errors = [line for line in done.stderr.decode().splitlines() if not line.startswith("note: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertTrue(errors[0].startswith("error: "), errors)
        self.last_output = done.stdout
        return errors[0][len("error: "):]


class Terminal:
    """The program under a pseudo-terminal, and what it has drawn so far."""

    def __init__(self, arguments, environment, folder):
        self.process, self.descriptor = pty.fork()
        if self.process == 0:
            try:
                os.chdir(folder)
                os.execve(PROGRAM, [PROGRAM, *map(str, arguments)], environment)
            finally:
                os._exit(127)  # this is no second test runner
        self.text = ""
        self.status = None

    def _read(self, seconds):
        ready, _, _ = select.select([self.descriptor], [], [], seconds)
        if not ready:
            return False
        try:
            block = os.read(self.descriptor, 65536)
        except OSError:  # the other side is gone
            return None
        if not block:
            return None
        self.text += block.decode("utf-8", "replace")
        return True

    def wait_for(self, pattern, seconds=30):
        """Reads until `pattern` has been drawn after what earlier calls found; returns the match."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.text, re.S)
            if found:
                self.text = self.text[found.end():]
                return found
            if time.monotonic() > end or self._read(0.2) is None:
                raise AssertionError(f"{pattern!r} was not drawn; there is {self.text[-2000:]!r}")

    def type(self, text):
        os.write(self.descriptor, text.encode() if isinstance(text, str) else text)

    def wait_end(self, seconds=30):
        """The exit code, as subprocess counts it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._read(0.05)
            done, status = os.waitpid(self.process, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
                os.close(self.descriptor)
                return self.status
        raise AssertionError(f"the program goes on; it has drawn {self.text[-2000:]!r}")

    def press_ctrl_d(self, seconds=30):
        """And waits for the end; returns the exit code."""
        self.type("\x04")
        return self.wait_end(seconds)

    def close(self):
        if self.status is None:
            os.kill(self.process, signal.SIGKILL)
            os.waitpid(self.process, 0)
            os.close(self.descriptor)
            self.status = -signal.SIGKILL
