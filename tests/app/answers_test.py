"""`edgellm run` in scripts: what stands on standard output, how it ends, and that it is the same each time."""

import json
import math
import signal
import subprocess
import time
import unittest

from program import PROGRAM, SHARED, STORIES, ProgramTest, make_model, needs_shared_data


class Answers(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model")

    def test_same_seed_same_answer(self):
        first = self.succeed("run", self.model, "Hello", "-n", "40", "--seed", "11")
        self.assertEqual(first, self.succeed("run", self.model, "Hello", "-n", "40", "--seed", "11"))
        self.assertNotEqual(first, self.succeed("run", self.model, "Hello", "-n", "40", "--seed", "12"))
        one_thread = self.succeed("run", self.model, "Hello", "-n", "40", "--seed", "11", "--threads", "1")
        self.assertEqual(first, one_thread)

    def test_the_seed_that_was_drawn_can_be_used_again(self):
        first = self.succeed_json("run", self.model, "Hello", "-n", "20")
        again = self.succeed_json("run", self.model, "Hello", "-n", "20", "--seed", first["seed"])
        self.assertEqual(first["response"], again["response"])

    def test_output_is_the_answer_alone_and_whole_utf8(self):
        done = self.run_program("run", self.model, "Hello", "-n", "300", "--seed", "5")
        self.assertEqual(done.stderr, b"")
        text = done.stdout.decode("utf-8")  # random bytes came out of the model
        self.assertIn("\N{REPLACEMENT CHARACTER}", text)
        self.assertEqual(text, self.succeed_json("run", self.model, "Hello", "-n", "300", "--seed", "5")["response"])

    def test_prompts_from_arguments_and_standard_input(self):
        def answer(*arguments, stdin=b""):
            return self.succeed("run", "-n", "20", "--temperature", "0", self.model, *arguments, stdin=stdin)
        self.assertEqual(answer("Hello there"), answer("Hello", "there"))
        self.assertEqual(answer("Hello"), answer(stdin=b"Hello\n"))
        self.assertEqual(answer("Sum up:\n\nsome text"), answer("Sum up:", stdin=b"some text\n"))
        self.assertEqual(answer("[a,b]"), answer(stdin=b"[a,b]"))
        self.assertNotEqual(answer("[a,b]"), answer("a b"))
        self.assertEqual(answer("--", "-5 degrees", "--or", "more"), answer(stdin=b"-5 degrees --or more"))

    def test_raw_takes_every_byte_and_no_template(self):
        count = lambda *arguments, **settings: self.succeed_json("run", self.model, *arguments, "-n", "1", **settings)[
            "prompt_eval_count"]
        self.assertEqual(count("--raw", stdin=b"Hello\n"), 6)
        self.assertEqual(count("--raw", "Hello"), 5)
        self.assertEqual(count("Hello"), len("\x01user\nHello\x01\n\x01assistant\n"))
        self.assertEqual(count("Hello", "--system", "Be"), len("\x01system\nBe\x01\n\x01user\nHello\x01\n\x01assistant\n"))

    def test_answers_have_the_form_that_was_asked_for(self):
        schema = self.folder / "schema.json"
        schema.write_text(json.dumps({"type": "object", "properties": {
            "a": {"type": "integer", "minimum": 0, "maximum": 99}, "b": {"enum": ["x", "\u00e9"]},
            "c": {"type": "string", "maxLength": 5}}, "required": ["a", "b"]}))
        for seed in range(5):
            answer = json.loads(self.succeed("run", self.model, "Hello", "--temperature", "2", "--seed", str(seed),
                                             "--format", schema))
            self.assertIn(answer["a"], range(100))
            self.assertIn(answer["b"], ("x", "\u00e9"))
            self.assertLessEqual(len(answer.get("c", "")), 5)
        self.assertTrue(self.succeed("run", self.model, "Hello", "-n", "5", "--format", "json").startswith(b"{"))
        grammar = self.folder / "answer.gbnf"
        grammar.write_text('root ::= "yes" | "no"')
        self.assertIn(self.succeed("run", self.model, "Hello", "--grammar", grammar), (b"yes", b"no"))

    def test_forms_that_cannot_be_enforced_are_refused(self):
        schema = self.folder / "schema.json"
        for text, expected in (('{"type": "object", "properties": {"a": {"not": {}}}}',
                                "at '/properties/a/not': the keyword 'not' is not supported"),
                               ("{", "schema: ")):
            schema.write_text(text)
            done = self.run_program("run", self.model, "Hello", "--format", schema)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertIn(expected, done.stderr.decode())
            self.assertEqual(done.stderr.count(b"\n"), 1)
        grammar = self.folder / "answer.gbnf"
        grammar.write_text("root ::= word")
        done = self.run_program("run", self.model, "Hello", "--grammar", grammar)
        self.assertIn("grammar:1:10: the rule 'word' is not defined", done.stderr.decode())
        self.assertNotEqual(self.run_program("run", self.model, "Hello", "--grammar", grammar, "--format", "json").returncode, 0)

    def test_realtime_changes_no_answer_and_says_what_it_cannot_have(self):
        expected = self.succeed("run", self.model, "Hello", "-n", "5", "--seed", "3")
        done = self.run_program("run", self.model, "Hello", "-n", "5", "--seed", "3", "--realtime", "--threads", "1")
        self.assertEqual((done.returncode, done.stdout), (0, expected))
        for line in done.stderr.decode().splitlines():
            self.assertRegex(line, r"^note: --realtime: .*: raise `ulimit")

    def test_stop_strings_never_show(self):
        whole = self.succeed("run", self.model, "Hello", "-n", "200", "--seed", "3").decode()
        for length in (1, 3, 7):  # of tokens that are bytes: these lie across tokens
            stop = whole[40:40 + length]
            expected = whole[:whole.index(stop)]
            self.assertEqual(
                self.succeed("run", self.model, "Hello", "-n", "200", "--seed", "3", "--stop", stop).decode(), expected)
        done = self.succeed_json("run", self.model, "Hello", "-n", "200", "--seed", "3", "--stop", whole[40:43])
        self.assertEqual(done["done_reason"], "stop")
        self.assertLess(done["eval_count"], 200)

    def test_broken_utf8_is_read(self):
        for prompt in (b"\xff\xfe\x80", b"caf\xc3", b"\xed\xa0\x80 ok", b"\x00\x01"):
            self.succeed("run", self.model, "-n", "3", stdin=prompt).decode("utf-8")

    def test_json_is_ollamas_last_object_and_more(self):
        done = self.succeed_json("run", self.model, "Hello", "-n", "7", "--temperature", "0")
        self.assertTrue(done["done"])
        self.assertEqual(done["done_reason"], "length")
        self.assertEqual(done["eval_count"], 7)
        self.assertEqual(len(done["tokens"]), 7)
        self.assertGreaterEqual(done["total_duration"], done["load_duration"])
        for name in ("prompt_eval_count", "prompt_eval_duration", "eval_duration", "eval_rate", "seed"):
            self.assertIn(name, done)
        self.assertEqual(done["backend"]["context"], 2048)

    def test_verbose_goes_to_standard_error(self):
        done = self.run_program("run", self.model, "Hello", "-n", "5", "--temperature", "0", "--verbose")
        self.assertEqual(done.stdout, self.succeed("run", self.model, "Hello", "-n", "5", "--temperature", "0"))
        lines = dict(line.split(":", 1) for line in done.stderr.decode().splitlines() if line)
        self.assertEqual(lines["eval count"].strip(), "5 token(s)")
        for name in ("total duration", "load duration", "prompt eval count", "prompt eval duration", "prompt eval rate",
                     "eval duration", "eval rate", "backend", "weights", "KV cache", "peak memory", "seed"):
            self.assertIn(name, lines)

    def test_standard_input_that_is_closed(self):
        done = subprocess.run(["sh", "-c", '"$@" <&-', "sh", PROGRAM, "run", self.model, "Hello", "-n", "3"],
                              capture_output=True, env=self.environment, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_standard_output_that_is_closed(self):
        done = subprocess.run(["sh", "-c", '"$@" >&-', "sh", PROGRAM, "run", self.model, "Hello", "-n", "3"],
                              stdin=subprocess.DEVNULL, capture_output=True, env=self.environment, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, b"error: cannot write to standard output: Bad file descriptor\n")

    def test_ctrl_c_while_standard_input_is_read(self):
        process = subprocess.Popen([PROGRAM, "tokenize", self.model], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env=self.environment)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), -signal.SIGINT)
        process.communicate()

    def test_every_backend_and_isa_agrees(self):
        expected = self.succeed("run", self.model, "Hello", "-n", "30", "--temperature", "0")
        for choice in (["--backend", "reference"], ["--isa", "scalar"], ["--backend", "cpu"]):
            self.assertEqual(expected, self.succeed("run", self.model, "Hello", "-n", "30", "--temperature", "0", *choice))

    def test_a_model_without_template_continues_the_prompt(self):
        plain = make_model(self.folder / "plain", chat_template=None)
        done = self.run_program("run", plain, "Hello", "-n", "5", "--temperature", "0")
        self.assertEqual(done.stderr, b"note: the model has no chat template: the prompt is continued as it is\n")
        self.assertEqual(done.stdout, self.succeed("run", plain, "Hello", "-n", "5", "--temperature", "0", "--raw"))
        self.assertIn("chat template", self.refuse("run", plain, "Hello", "--system", "Be brief"))

    def test_errors_are_one_line(self):
        self.assertIn("model 'absent' not found", self.refuse("run", "absent", "Hello"))
        self.assertIn("no prompt", self.refuse("run", self.model))
        self.assertIn("top_p", self.refuse("run", self.model, "Hello", "--top-p", "7"))
        self.assertIn("top-k", self.refuse("run", self.model, "Hello", "--top-k", "many", code=2))
        self.assertIn("no option '--wat'", self.refuse("run", self.model, "Hello", "--wat"))
        self.assertIn("MODEL is required", self.refuse("run", code=2))
        self.assertIn("no verb 'rum'", self.refuse("rum", code=2))
        self.assertIn("backend", self.refuse("run", self.model, "Hello", "--backend", "gpu"))
        self.assertIn("stop string", self.refuse("run", self.model, "Hello", "--stop", ""))
        self.assertIn("4096 positions is longer than the 2048", self.refuse("run", self.model, "Hello", "--ctx", "4096"))

    def test_what_does_not_fit_the_context_is_refused_with_numbers(self):
        error = self.refuse("run", self.model, "--ctx", "64", stdin=b"x" * 100)
        self.assertRegex(error, r"1\d\d tokens.*\b64\b")
        done = self.run_program("run", self.model, "Hello", "--ctx", "64", "--temperature", "0")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr.decode(), r"^note: .*context of 64 positions is full: 24 tokens of prompt, 40 of answer")

    def test_context_length_from_the_environment(self):
        self.environment["OLLAMA_CONTEXT_LENGTH"] = "128"
        self.assertEqual(self.succeed_json("run", self.model, "Hello", "-n", "1")["backend"]["context"], 128)
        self.environment["EDGELLM_CONTEXT_LENGTH"] = "256"
        self.assertEqual(self.succeed_json("run", self.model, "Hello", "-n", "1")["backend"]["context"], 256)
        self.environment["EDGELLM_CONTEXT_LENGTH"] = "long"
        self.assertIn("EDGELLM_CONTEXT_LENGTH", self.refuse("run", self.model, "Hello"))

    def test_standard_output_that_is_full(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([PROGRAM, "run", self.model, "Hello", "-n", "3"], stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, env=self.environment, timeout=60)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, b"error: cannot write to standard output: No space left on device\n")

    def test_a_reader_that_leaves(self):
        process = subprocess.Popen([PROGRAM, "run", self.model, "Hello", "--seed", "1"], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)
        process.stdout.read(10)
        process.stdout.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertEqual(process.wait(60), -signal.SIGPIPE)

    def test_ctrl_c_ends_a_script_quietly(self):
        slow = make_model(self.folder / "slow", context=1 << 16)
        process = subprocess.Popen([PROGRAM, "run", slow, "Hello", "--ctx", str(1 << 16), "--temperature", "0"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=self.environment)
        process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        _, errors = process.communicate(timeout=60)
        self.assertLess(time.monotonic() - asked, 10)
        self.assertEqual(process.returncode, -signal.SIGINT)
        self.assertEqual(errors, b"")


@needs_shared_data
class RealModel(ProgramTest):
    """A trained model against the exact greedy text of llama2.c, the reference program for its format."""

    def test_greedy_text_equals_llama2c(self):
        golden = (SHARED / "stories260k" / "golden_greedy_llama2c.txt").read_text()
        cases = golden.split("### prompt: ")[1:]
        self.assertGreaterEqual(len(cases), 3)
        for case in cases:
            prompt, text = case.split("\n", 1)
            prompt = prompt.strip().strip("'")
            text = text.removesuffix("\n")
            answer = self.succeed("run", STORIES, prompt, "--raw", "--temperature", "0", "-n", "300").decode()
            # llama2.c prints the prompt as well; its run ends after a number of tokens, ours goes on.
            self.assertTrue((prompt + answer).lstrip(" ").startswith(text), f"{prompt!r}: {answer!r}")

    def test_perplexity(self):
        text = self.folder / "text.txt"
        text.write_text("Once upon a time, there was a little girl named Lily. She loved to play outside. " * 60)
        result = self.succeed_json("perplexity", STORIES, text, "--ctx", "128")
        self.assertLess(result["perplexity"], 10)
        self.assertEqual(result["scored_tokens"], result["windows"] * 63)
        self.assertAlmostEqual(result["mean_nll"], math.log(result["perplexity"]), places=9)
        self.assertEqual(self.succeed_json("perplexity", STORIES, text)["context"], 512)
        self.assertIn("1024", self.refuse("perplexity", STORIES, text, "--ctx", "1024"))
        text.write_text("Too short.")
        self.assertIn("too few for one window of 512", self.refuse("perplexity", STORIES, text))


if __name__ == "__main__":
    unittest.main()
