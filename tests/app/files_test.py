"""The verbs about files: quantize, verify, inspect, convert, tokenize, template, and the store's list, show, cp, rm."""

import json
import re
import unittest

from program import SHARED, SOURCE, TEMPLATE, ProgramTest, make_model, needs_shared_data


class Files(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model")

    def quantized(self, name="small", *options):
        self.succeed("quantize", self.model, self.folder / name, "--format", "int8", *options)
        return self.folder / (name + ".edgellm")

    def test_quantize_every_format(self):
        for name, expected in (("int8", "int8-g32"), ("int4", "int4-g32"), ("int4-g64-z", "int4-g64-z")):
            result = self.succeed_json("quantize", self.model, f"out-{name}", "--format", name)
            self.assertEqual(result["format"], expected)
            self.assertEqual(result["golden_prompts"], 3)
            self.assertLess(result["bytes"], 400_000)
            self.assertTrue(self.succeed_json("verify", result["path"])["ok"])
        result = self.succeed_json("quantize", self.model, "out", "--format", "int4", "--group", "128", "--zero-point",
                                   "--head", "int8", "--golden", "0")
        self.assertEqual(result["format"], "int4-g128-z")
        formats = {tensor["name"]: tensor["format"] for tensor in self.succeed_json("inspect", "out.edgellm")["tensors"]}
        self.assertEqual(formats["lm_head.weight"], "int8-g128")
        self.assertEqual(formats["model.layers.0.mlp.up_proj.weight"], "int4-g128-z")

    def test_quantize_errors(self):
        self.assertIn("int3", self.refuse("quantize", self.model, "out", "--format", "int3"))
        self.assertIn("--group", self.refuse("quantize", self.model, "out", "--format", "int4-g32", "--group", "64"))
        self.assertIn("--zero-point", self.refuse("quantize", self.model, "out", "--format", "int8-g32", "--zero-point"))
        self.refuse("quantize", self.model, self.folder / "absent" / "out", "--format", "int8")
        self.assertEqual([path.name for path in self.folder.glob("*.edgellm*")], [])

    def test_calibrate(self):
        text = self.folder / "text.txt"
        text.write_text("".join(f"Line {i}: the quick brown fox jumps over {i * i} lazy dogs.\n" for i in range(400)))
        options = ("--format", "int4", "--calibrate", text, "--calibration-tokens", "4096", "--golden", "1")
        result = self.succeed_json("quantize", self.model, "out", *options, "--eval", text)
        self.assertEqual(result["format"], "int4-g32")
        self.assertLess(result["bits_per_weight"], result["source_bits_per_weight"])
        cost = result["perplexity"]
        self.assertGreater(cost["mean_kl"], 0)
        self.assertGreater(cost["top1_agreement"], 0.3)
        self.assertTrue(self.succeed_json("verify", "out.edgellm")["ok"])
        recipe = self.succeed_json("inspect", "out.edgellm")["recipe"]
        self.assertEqual(recipe["calibration"]["tokens"], 4096)
        self.assertEqual(recipe["calibration"]["text"], "text.txt")
        row = recipe["tensors"]["model.layers.0.mlp.up_proj.weight"]
        self.assertLess(row["output_error"], row["output_error_plain"])
        self.assertFalse((self.folder / "out.edgellm.partial").exists())
        # The same again, by one thread: the same file.
        self.succeed("quantize", self.model, "again", *options, "--threads", "1")
        self.assertEqual((self.folder / "out.edgellm").read_bytes(), (self.folder / "again.edgellm").read_bytes())
        # Half a file of an earlier run that is none of ours is not trusted.
        (self.folder / "third.edgellm.partial").write_bytes(b"EdgeLLM journal 1 " + bytes(1000))
        done = self.run_program("quantize", self.model, "third", *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(b"is not used", done.stderr)
        self.assertEqual((self.folder / "out.edgellm").read_bytes(), (self.folder / "third.edgellm").read_bytes())

    def test_calibrate_errors(self):
        (self.folder / "short.txt").write_text("Too short.")
        self.assertIn("too few", self.refuse("quantize", self.model, "out", "--format", "int4", "--calibrate", "short.txt"))
        self.assertIn("absent", self.refuse("quantize", self.model, "out", "--format", "int4", "--calibrate", "absent"))
        self.assertIn("--calibrate goes with",
                      self.refuse("quantize", self.model, "out", "--format", "f16", "--calibrate", "short.txt"))

    def test_report(self):
        text = self.succeed("quantize", self.model, "out", "--format", "int4", "--report").decode()
        self.assertRegex(text, r"32\.00 -> \d\.\d\d bits each")
        self.assertRegex(text, r"perplexity on built-in sample: [\d.]+ -> [\d.]+ \([+-][\d.]+% \+/- [\d.]+%")
        self.assertRegex(text, r"mean KL divergence: [\d.]+ \+/- [\d.]+ nats a token; same first choice: [\d.]+%")
        errors = []
        for scales in ("search", "largest"):
            self.succeed("quantize", self.model, scales, "--format", "int4", "--golden", "0", "--scales", scales)
            recipe = self.succeed_json("inspect", scales + ".edgellm")["recipe"]
            errors.append(recipe["tensors"]["model.layers.0.mlp.up_proj.weight"]["relative_rms_error"])
        self.assertLess(errors[0], errors[1])

    def test_ternary_of_a_plain_checkpoint(self):
        self.assertIn("not trained ternary", self.refuse("quantize", self.model, "out", "--format", "ternary"))
        self.assertFalse((self.folder / "out.edgellm").exists())
        text = self.succeed("quantize", self.model, "out", "--format", "ternary", "--force").decode()
        self.assertRegex(text, r"perplexity on built-in sample: [\d.]+ -> [\d.]+ \([+-][\d.]+%")
        (self.folder / "eval.txt").write_text("Some other text to be scored. " * 100)
        cost = self.succeed_json("quantize", self.model, "out", "--format", "ternary", "--force", "--eval", "eval.txt")
        self.assertEqual(cost["perplexity"]["text"], "eval.txt")
        self.assertGreater(cost["perplexity"]["after"], 0)

    def test_native_ternary_checkpoints_need_no_force(self):
        checkpoint = SOURCE / "tests" / "golden" / "bitnet-packed"
        if not checkpoint.exists():
            self.skipTest("no BitNet checkpoint under tests/golden")
        result = self.succeed_json("quantize", checkpoint, "out", "--format", "ternary")
        self.assertEqual(result["format"], "ternary")
        self.assertTrue(self.succeed_json("verify", "out.edgellm")["ok"])

    def test_verify(self):
        path = self.quantized()
        lines = self.succeed("verify", path).decode().splitlines()
        self.assertEqual([line.split()[0] for line in lines], ["OK"] * 6)
        self.succeed("verify", path, "--backend", "reference")
        good = path.read_bytes()
        damaged = bytearray(good)
        damaged[len(good) * 3 // 4] ^= 0x10
        path.write_bytes(damaged)
        self.assertIn("1 of 6 checks failed", self.refuse("verify", path))
        self.assertIn("FAILED  checksums", self.last_output.decode())
        for length in (0, 7, 100, len(good) // 2, len(good) - 1):
            path.write_bytes(good[:length])
            self.assertIn("checks failed", self.refuse("verify", path))
        self.assertIn("not an EdgeLLM model file", self.refuse("verify", self.model / "model.safetensors"))

    def test_verify_notices_another_answer(self):
        path = self.quantized()
        expected = re.search(rb'\\"expected\\":\s*\[(\d)', path.read_bytes())
        if not expected:
            self.skipTest("the metadata spells golden prompts in another way")
        changed = bytearray(path.read_bytes())
        at = expected.start(1)
        changed[at] = ord("1") if changed[at] != ord("1") else ord("2")
        path.write_bytes(changed)
        self.assertIn("of 6 checks failed", self.refuse("verify", path))
        self.assertRegex(self.last_output.decode(), r"FAILED  golden prompt 1 of 3: token 1 of the continuation is \d+ and should be")

    def test_inspect_any_source(self):
        path = self.quantized()
        self.succeed("convert", self.model, "model.gguf", "--type", "f16")
        for source in (self.model, path, "model.gguf"):
            text = self.succeed("inspect", source, "--plan", "--tensors").decode()
            self.assertIn("model.layers.0.mlp.up_proj.weight", text)
            self.assertRegex(text, r"(?m)^Attend +layer 0")
            result = self.succeed_json("inspect", source, "--plan")
            self.assertEqual(result["config"]["hidden"], 32)
            self.assertEqual(len(result["tensors"]), 12)
            total = sum(tensor["bytes"] for tensor in result["tensors"])
            self.assertEqual(total, result["details"]["weight_bytes"])
            # One row of the embedding is read, and everything else.
            table = next(t for t in result["tensors"] if t["name"] == "model.embed_tokens.weight")
            self.assertEqual(result["details"]["bytes_per_token"],
                             total - table["bytes"] + table["bytes"] // table["shape"][0])

    def test_convert(self):
        answer = self.succeed("run", self.model, "Hello", "-n", "20", "--temperature", "0")
        self.succeed("convert", self.model, "same.edgellm")
        self.assertEqual(answer, self.succeed("run", "same.edgellm", "Hello", "-n", "20", "--temperature", "0"))
        for name in ("f16", "q8_0", "q4_0"):
            self.assertGreater(self.succeed_json("convert", self.model, name + ".gguf", "--type", name)["bytes"], 10_000)
            self.succeed("run", name + ".gguf", "Hello", "-n", "3")
        self.assertIn("--type", self.refuse("convert", self.model, "out.gguf"))
        self.assertIn("--type", self.refuse("convert", self.model, "out.edgellm", "--type", "f16"))
        self.assertIn("must end in", self.refuse("convert", self.model, "out.bin"))
        self.assertIn("q9", self.refuse("convert", self.model, "out.gguf", "--type", "q9"))

    def test_tokenize_and_back(self):
        text = "Grüße, 世界! \N{GRINNING FACE}\n".encode()
        for source in (self.model, self.model / "tokenizer.json", self.quantized()):
            ids = self.succeed("tokenize", source, stdin=text)
            self.assertRegex(ids, rb"^\d+( \d+)*\n$")
            self.assertEqual(self.succeed("detokenize", source, stdin=ids), text)
        self.assertEqual(self.succeed("tokenize", self.model, "--parse-special", stdin=b"a<|im_end|>"), b"97 257\n")
        self.assertGreater(len(self.succeed("tokenize", self.model, stdin=b"<|im_end|>").split()), 1)
        self.assertEqual(self.succeed("tokenize", self.model, stdin=b""), b"\n")
        self.assertEqual(self.succeed_json("tokenize", self.model, stdin=b"ab")["count"], 2)
        self.assertEqual(self.succeed("detokenize", self.model, stdin=b"[257]"), b"")
        self.assertEqual(self.succeed("detokenize", self.model, "--spell-special", stdin=b"[257]"), b"<|im_end|>")
        self.assertEqual(self.succeed_json("detokenize", self.model, stdin=b"104,105")["text"], "hi")
        self.assertIn("'x' is not a token id", self.refuse("detokenize", self.model, stdin=b"1 x"))
        self.assertIn("0 to 257, not 258", self.refuse("detokenize", self.model, stdin=b"258"))
        self.succeed("tokenize", self.model, stdin=b"\xff\xc3")

    @needs_shared_data
    def test_tokenizers_of_any_kind(self):
        for source in ("tokenizers/gpt2", "tokenizers/llama2/tokenizer.model", "tokenizers/llama3/tokenizer.model",
                       "tokenizers/qwen2.5", "stories260k/tok512.bin", "stories260k/stories260K.bin"):
            ids = self.succeed("tokenize", SHARED / source, stdin=b"Hello world, said the dog.")
            self.assertEqual(self.succeed("detokenize", SHARED / source, stdin=ids), b"Hello world, said the dog.", source)
        vectors = SHARED / "tokenizer_vectors"
        texts = (vectors / "ggml-vocab-gpt-2.gguf.inp").read_text().split("\n__ggml_vocab_test__\n")
        expected = (vectors / "ggml-vocab-gpt-2.gguf.out").read_text().splitlines()
        for text, ids in list(zip(texts, expected))[::8]:
            got = self.succeed("tokenize", vectors / "ggml-vocab-gpt-2.gguf", stdin=text.encode())
            self.assertEqual(got.split(), ids.encode().split(), text)

    def test_template(self):
        messages = [{"role": "user", "content": "Hi"}]
        context = json.dumps({"messages": messages, "add_generation_prompt": True}).encode()
        expected = b"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
        self.assertEqual(self.succeed("template", self.model, stdin=context), expected)
        self.assertEqual(self.succeed("template", self.model, stdin=json.dumps(messages).encode()), expected)
        (self.folder / "chat.jinja").write_text(TEMPLATE + "{{ extra }}{{ strftime_now('%Y') }}")
        context = json.dumps({"messages": [], "extra": "x"}).encode()
        self.assertEqual(self.succeed("template", "chat.jinja", "--now", "0", stdin=context), b"x1970")
        self.assertEqual(self.succeed_json("template", "chat.jinja", "--now", "0", stdin=context)["prompt"], "x1970")
        self.assertIn("must be JSON", self.refuse("template", "chat.jinja", stdin=b"{"))
        (self.folder / "chat.jinja").write_text("{{ raise_exception('no such role') }}")
        self.assertIn("no such role", self.refuse("template", "chat.jinja", stdin=b"{}"))


class Store(ProgramTest):
    def test_store(self):
        model = make_model(self.folder / "model")
        self.succeed("quantize", model, "small", "--format", "int8", "--golden", "0")
        bundled = [entry["name"] for entry in self.succeed_json("list")["models"]]
        self.succeed("cp", "small.edgellm", "mine:int8")
        self.succeed("cp", "mine:int8", "owner/copy")
        self.succeed("cp", model, "folder")
        listed = {entry["name"]: entry for entry in self.succeed_json("list")["models"] if entry["name"] not in bundled}
        self.assertEqual(sorted(listed), ["folder", "mine:int8", "owner/copy"])
        self.assertEqual(listed["mine:int8"]["id"], listed["owner/copy"]["id"])
        self.assertNotEqual(listed["mine:int8"]["id"], listed["folder"]["id"])
        self.assertRegex(listed["folder"]["modified_at"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        lines = self.succeed("list").decode().splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "ID", "SIZE", "MODIFIED"])
        self.assertRegex("\n".join(lines), r"(?m)^mine:int8 +[0-9a-f]{12} +\d.* kB +.*(ago|just now)$")
        self.assertTrue((self.home / ".edgellm" / "models" / "mine:int8.edgellm").exists())
        for name in ("mine:int8", "owner/copy", "folder"):
            self.succeed("run", name, "Hello", "-n", "2")
        self.assertIn("architecture        llama", self.succeed("show", "owner/copy").decode())
        self.assertEqual(self.succeed_json("show", "folder")["details"]["family"], "llama")
        self.assertEqual(self.succeed("show", "folder", "--template").decode(), TEMPLATE + "\n")
        self.succeed("rm", "mine:int8", "folder")
        self.assertIn("not found", self.refuse("rm", "mine:int8"))
        self.assertIn("cannot be a model name", self.refuse("cp", "owner/copy", "../out"))
        self.environment["EDGELLM_MODELS"] = str(self.folder / "elsewhere")
        self.assertIn("not found", self.refuse("run", "owner/copy", "Hello"))

    def test_without_a_home(self):
        del self.environment["HOME"]
        self.succeed("list")
        model = make_model(self.folder / "model")
        self.assertIn("EDGELLM_MODELS", self.refuse("cp", model, "x"))


class Help(ProgramTest):
    def test_help_and_version(self):
        self.assertRegex(self.succeed("--version"), rb"^edgellm version \d+\.\d+\.\d+\n$")
        whole = self.succeed("help")
        self.assertEqual(whole, self.succeed("--help"))
        self.assertEqual(whole, self.succeed())
        for verb in re.findall(r"(?m)^  ([a-z]+)[ ,]", whole.decode().split("Subcommands:")[1]):
            text = self.succeed("help", verb)
            self.assertEqual(text, self.succeed(verb, "--help"))
            self.assertIn(f"Usage: edgellm {verb}".encode(), text)
        self.assertIn("no verb 'x'", self.refuse("help", "x"))


if __name__ == "__main__":
    unittest.main()
