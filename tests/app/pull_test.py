"""edgellm pull: from a hub to the store; and whatever interrupts it, a store that is whole."""

import json
import os
import random
import signal
import subprocess
import time
import unittest

from gguf_parts import split_gguf
from program import PROGRAM, ProgramTest, make_model
from stand_in_hub import StandInHub


class Pull(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model")
        self.store = self.folder / "store"
        self.environment["EDGELLM_MODELS"] = str(self.store)

    def start_hub(self, files=None, **options):
        if files is None:
            files = {path.name: path.read_bytes() for path in self.model.iterdir()}
            files["README.md"] = b"# not needed"
        hub = StandInHub(files, **options)
        self.addCleanup(hub.close)
        self.environment["EDGELLM_HUB"] = hub.url
        return hub

    def names(self):
        return [model["name"] for model in self.succeed_json("list")["models"] if not model["bundled"]]

    def test_checkpoint_is_pulled_and_runs(self):
        hub = self.start_hub()
        result = self.succeed_json("pull", "owner/model")
        self.assertEqual(result["name"], "owner/model")
        self.assertTrue(result["changed"])
        self.assertEqual(self.names(), ["owner/model"])
        self.assertFalse((self.store / "owner/model/README.md").exists())
        for path in self.model.iterdir():
            self.assertEqual((self.store / "owner/model" / path.name).read_bytes(), path.read_bytes())
        self.assertEqual(self.succeed_json("run", "owner/model", "Hi", "-n", "2", "--threads", "1")["eval_count"], 2)
        self.succeed("run", "hf.co/owner/model", "Hi", "-n", "1", "--threads", "1")
        sent = hub.sent
        self.assertFalse(self.succeed_json("pull", "hf.co/owner/model:latest")["changed"])
        self.assertLess(hub.sent - sent, 10_000)  # the list of files alone
        self.succeed("rm", "owner/model")
        self.assertEqual(self.names(), [])

    def test_split_gguf(self):
        self.succeed("convert", self.model, "m.gguf", "--type", "q8_0")
        said = ("Hi there", "-n", "8", "--threads", "1", "--temperature", "0")
        expected = self.succeed("run", "m.gguf", *said)
        parts = split_gguf((self.folder / "m.gguf").read_bytes(), 3)
        names = [f"m-Q8_0-0000{i + 1}-of-00003.gguf" for i in range(3)]
        hub = self.start_hub({"q/" + name: part for name, part in zip(names, parts)})
        self.succeed("pull", "owner/model:Q8_0")
        self.assertEqual(self.names(), ["owner/model:Q8_0"])
        self.assertEqual(sorted(path.name for path in (self.store / "owner/model:Q8_0").iterdir()), names)
        self.assertEqual(self.succeed("run", "owner/model:Q8_0", *said), expected)
        facts = [self.succeed_json("show", model)["details"] for model in ("owner/model:Q8_0", "m.gguf")]
        self.assertEqual(facts[0], facts[1])
        self.assertFalse(self.succeed_json("pull", "owner/model:Q8_0")["changed"])
        # From a plain web server, by the address of any part.
        elsewhere = StandInHub({name: part for name, part in zip(names, parts)})
        self.addCleanup(elsewhere.close)
        self.succeed("pull", elsewhere.url + "/plain/" + names[1], "--name", "mine")
        self.assertEqual(self.succeed("run", "mine", *said), expected)
        self.assertEqual(self.succeed("run", self.store / "mine" / names[0], *said), expected)
        del elsewhere.files[names[2]]
        self.assertIn(names[2], self.refuse("pull", elsewhere.url + "/plain/" + names[1], "--name", "other"))
        (self.store / "mine" / names[2]).unlink()
        self.assertIn(names[2], self.refuse("run", "mine", "Hi"))

    def test_gguf_by_quantisation_and_by_address(self):
        self.succeed("convert", self.model, "m.gguf", "--type", "q8_0")
        whole = (self.folder / "m.gguf").read_bytes()
        hub = self.start_hub({"m-Q8_0.gguf": whole, "m-Q2_K.gguf": b"GGUF not this one"})
        self.succeed("pull", "owner/model:q8_0")
        self.assertEqual((self.store / "owner/model:q8_0.gguf").read_bytes(), whole)
        elsewhere = StandInHub(hub.files)
        self.addCleanup(elsewhere.close)
        self.succeed("pull", elsewhere.url + "/plain/m-Q8_0.gguf", "--name", "mine")
        self.assertEqual(self.names(), ["mine", "owner/model:q8_0"])
        self.succeed("run", "mine", "Hi", "-n", "1", "--threads", "1")

    def test_refusals(self):
        self.start_hub({"pytorch_model.bin": b"x", "config.json": b"{}"})
        self.assertIn("pickle", self.refuse("pull", "owner/model"))
        self.assertIn("no such model", self.refuse("pull", "other/model").replace("not found", "no such model"))
        self.assertIn("no model of a hub", self.refuse("pull", "model"))
        self.environment["EDGELLM_HUB"] = "http://127.0.0.1:1"
        self.assertIn("cannot connect", self.refuse("pull", "owner/model"))
        self.assertEqual(self.names(), [])

    def interrupt(self, hub, wait, number):
        """Starts a pull, ends it by a signal after `wait` seconds; returns how it ended."""
        process = subprocess.Popen([PROGRAM, "pull", "owner/model"], cwd=self.folder, env=self.environment,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(wait)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
        return process.returncode, errors

    def check_whole(self, content):
        """The store lists nothing, or the model as it should be."""
        names = self.names()
        self.assertIn(names, ([], ["owner/model"]))
        if names:
            self.assertEqual((self.store / "owner/model.gguf").read_bytes(), content)
        return bool(names)

    def test_killed_at_any_point_it_goes_on(self):
        content = b"GGUF" + random.Random(5).randbytes(24_000_000)
        hub = self.start_hub({"m-Q4_0.gguf": content}, bytes_per_second=3_000_000)
        numbers = random.Random(11)
        rounds = 0
        while not self.check_whole(content) and rounds < 60:
            self.interrupt(hub, numbers.uniform(0.05, 0.9), signal.SIGKILL)
            rounds += 1
        self.assertGreater(rounds, 2)
        if not self.check_whole(content):
            hub.bytes_per_second = None
            self.succeed("pull", "owner/model")
        self.assertTrue(self.check_whole(content))
        self.assertEqual([path.name for path in (self.store / ".pull").iterdir()], [])

    def test_killed_while_a_model_is_replaced(self):
        old, new = (b"GGUF" + random.Random(n).randbytes(300_000) for n in (1, 2))
        numbers = random.Random(3)
        for _ in range(20):
            self.start_hub({"m-Q4_0.gguf": old})
            self.succeed("pull", "owner/model")
            hub = self.start_hub({"m-Q4_0.gguf": new})
            self.interrupt(hub, numbers.uniform(0.0, 0.12), signal.SIGKILL)
            self.assertEqual(self.names(), ["owner/model"])
            self.assertIn((self.store / "owner/model.gguf").read_bytes(), (old, new))
        self.succeed("pull", "owner/model")
        self.assertEqual((self.store / "owner/model.gguf").read_bytes(), new)

    def test_interrupted_it_keeps_what_it_has(self):
        content = b"GGUF" + random.Random(5).randbytes(20_000_000)
        hub = self.start_hub({"m-Q4_0.gguf": content}, bytes_per_second=2_000_000)
        code, errors = self.interrupt(hub, 1.2, signal.SIGINT)
        self.assertEqual(code, -signal.SIGINT, errors)
        self.assertIn(b"is kept", errors)
        self.assertEqual(self.names(), [])
        sent, hub.bytes_per_second = hub.sent, None
        self.assertGreater(sent, 1_000_000)
        self.succeed("pull", "owner/model")
        self.assertLess(hub.sent - sent, len(content) - sent // 2)
        self.assertTrue(self.check_whole(content))

    def test_unfinished_pulls_can_be_removed(self):
        hub = self.start_hub({"m-Q4_0.gguf": b"GGUF" + bytes(5_000_000)}, bytes_per_second=1_000_000)
        self.interrupt(hub, 0.5, signal.SIGKILL)
        self.assertTrue(any((self.store / ".pull").iterdir()))
        self.succeed("rm", "owner/model")
        self.assertFalse(any((self.store / ".pull").iterdir()))
        self.refuse("rm", "owner/model")

    def test_two_processes_share_a_download(self):
        content = b"GGUF" + random.Random(5).randbytes(3_000_000)
        hub = self.start_hub({"m-Q4_0.gguf": content}, bytes_per_second=2_000_000)
        processes = [subprocess.Popen([PROGRAM, "pull", "owner/model"], cwd=self.folder, env=self.environment,
                                      stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(3)]
        self.assertEqual([process.wait(60) for process in processes], [0, 0, 0])
        self.assertLess(hub.sent, len(content) + 50_000)
        self.assertTrue(self.check_whole(content))


if __name__ == "__main__":
    unittest.main()
