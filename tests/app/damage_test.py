"""Damaged model files of every kind through the whole program: one line that names the file and the cause, or no harm done."""

import json
import os
import random
import shutil
import struct
import unittest
from concurrent.futures import ThreadPoolExecutor

from program import ProgramTest, make_model

PLACES = int(os.environ.get("EDGELLM_DAMAGES", "500"))  # cuts and flipped bytes, for each kind of file


def write_llama2c(path):
    """A llama2.c checkpoint of one layer over 256 tokens and its tokenizer.bin beside it."""
    hidden, ffn, layers, heads, vocab, context = 16, 32, 1, 2, 259, 64
    numbers = random.Random(3)
    sizes = [vocab * hidden, hidden, *[hidden * hidden] * 4, hidden, *[hidden * ffn] * 3, hidden,
             *[context * (hidden // heads) // 2] * 2]
    values = [numbers.gauss(0, 0.3) for _ in range(sum(sizes))]
    path.write_bytes(struct.pack("<7i", hidden, ffn, layers, heads, heads, vocab, context)
                     + struct.pack(f"<{len(values)}f", *values))
    tokens = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    tokenizer = struct.pack("<i", max(map(len, tokens)))
    for token in tokens:
        tokenizer += struct.pack("<fi", 0.0, len(token)) + token
    (path.parent / "tokenizer.bin").write_bytes(tokenizer)


class Damage(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model", context=64)
        self.numbers = random.Random(17)

    def every_kind(self):
        """(name, file, what `run` takes): a file of each kind that the program loads."""
        self.succeed("quantize", self.model, "small", "--format", "int4", "--golden", "0")
        self.succeed("convert", self.model, "small.gguf", "--type", "q8_0")
        write_llama2c(self.folder / "small.bin")
        return [
            ("model file", self.folder / "small.edgellm", None),
            ("gguf", self.folder / "small.gguf", None),
            ("safetensors", self.model / "model.safetensors", self.model),
            ("llama2.c", self.folder / "small.bin", None),
        ]

    def run_damaged(self, kind, file, source, number, damaged):
        """The program's end on a copy of `file` with other bytes: None, or its error line."""
        place = self.folder / f"{kind} {number}"
        place.mkdir()
        if source:
            for other in source.iterdir():
                if other != file:
                    (place / other.name).symlink_to(other)
        elif kind == "llama2.c":
            (place / "tokenizer.bin").symlink_to(file.parent / "tokenizer.bin")
        (place / file.name).write_bytes(damaged)
        done = self.run_program("run", place if source else place / file.name, "--raw", "Hi", "-n", "2", "--threads", "1")
        shutil.rmtree(place)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        if done.returncode == 0:
            return None
        errors = [line for line in done.stderr.decode().splitlines() if not line.startswith("note: ")]
        self.assertEqual(len(errors), 1, done.stderr)
        self.assertTrue(errors[0].startswith("error: "), errors)
        self.assertIn(str(place), errors[0])
        return errors[0]

    def on_all_cores(self, work, items):
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(work, items))

    def test_cut_files(self):
        for kind, file, source in self.every_kind():
            whole = file.read_bytes()
            self.assertIsNone(self.run_damaged(kind, file, source, "whole", whole))
            lengths = [self.numbers.randrange(len(whole)) for _ in range(PLACES)]
            lengths[:5] = 0, 1, 8, len(whole) // 2, len(whole) - 1
            ends = self.on_all_cores(lambda n: self.run_damaged(kind, file, source, n, whole[:lengths[n]]), range(PLACES))
            # GGUF ends with zeros that fill up its alignment: a file without them lacks nothing.
            lost = len(whole.rstrip(b"\0")) if kind == "gguf" else len(whole)
            for length, error in zip(lengths, ends):
                self.assertEqual(error is None, length >= lost, f"{kind} of {len(whole)} bytes, cut to {length}")

    def test_flipped_bytes(self):
        for kind, file, source in self.every_kind():
            whole = file.read_bytes()
            # Half of them where the structure is, half anywhere.
            places = [self.numbers.randrange(min(len(whole), 4096) if n % 2 else len(whole)) for n in range(PLACES)]
            masks = [self.numbers.randrange(1, 256) for _ in range(PLACES)]

            def end(n):
                damaged = bytearray(whole)
                damaged[places[n]] ^= masks[n]
                return self.run_damaged(kind, file, source, n, damaged)

            found = sum(error is not None for error in self.on_all_cores(end, range(PLACES)))
            self.assertGreater(found, 0, kind)

    def test_verify_finds_every_flipped_byte(self):
        self.succeed("quantize", self.model, "small", "--format", "int4", "--golden", "0")
        whole = (self.folder / "small.edgellm").read_bytes()
        places = [self.numbers.randrange(len(whole)) for _ in range(PLACES)]

        def end(n):
            damaged = bytearray(whole)
            damaged[places[n]] ^= 1 << (n % 8)
            path = self.folder / f"{n}.edgellm"
            path.write_bytes(damaged)
            done = self.run_program("verify", path)
            path.unlink()
            return done

        for place, done in zip(places, self.on_all_cores(end, range(PLACES))):
            self.assertEqual(done.returncode, 1, f"byte {place} of {len(whole)}: {done.stdout}")

    def rewrite_safetensors(self, change):
        """Lets `change` edit the header, and puts it back before the same data."""
        path = self.model / "model.safetensors"
        data = path.read_bytes()
        size, = struct.unpack_from("<Q", data)
        header = json.loads(data[8:8 + size])
        change(header)
        text = json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size:])

    def test_wrong_shapes_and_missing_tensors_are_named(self):
        name = "model.layers.0.mlp.down_proj.weight"
        whole = (self.model / "model.safetensors").read_bytes()
        for shape in ([64, 32], [32, 32], [2048], [32, 64, 1]):
            self.rewrite_safetensors(lambda header: header[name].update(shape=shape))
            error = self.refuse("run", self.model, "Hi")
            self.assertIn(name, error)
            self.assertIn("model.safetensors", error)
            (self.model / "model.safetensors").write_bytes(whole)
        self.rewrite_safetensors(lambda header: header.update({"model.odd": header.pop(name)}))
        error = self.refuse("run", self.model, "Hi")
        self.assertIn(name, error)
        self.assertIn(str(self.model), error)

    def test_folders_instead_of_files(self):
        for name in ("x.edgellm", "x.gguf", "x.bin", "x.safetensors"):
            (self.folder / name).mkdir()
            self.assertIn(name, self.refuse("run", self.folder / name, "Hi"))
            self.assertIn(name, self.refuse("verify", self.folder / name))

    def test_files_without_permission(self):
        user = {"user": 65534} if os.geteuid() == 0 else {}  # root may read everything: "nobody" may not
        self.folder.chmod(0o755)
        try:
            self.run_program("--version", **user)
        except PermissionError:
            self.skipTest("the program lies where other users may not run it")
        for kind, file, source in self.every_kind():
            file.chmod(0)
            done = self.run_program("run", source or file, "Hi", **user)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertRegex(done.stderr.decode(), rf"^error: [^\n]*{file.name}[^\n]*ermission denied\n$", kind)


if __name__ == "__main__":
    unittest.main()
