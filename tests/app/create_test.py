"""edgellm create: models over models, what they add, and a store that is whole whenever it is killed."""

import json
import random
import signal
import subprocess
import time
import unittest

from program import PROGRAM, ProgramTest, make_model


class Create(ProgramTest):
    def setUp(self):
        super().setUp()
        self.model = make_model(self.folder / "model")
        self.store = self.folder / "store"
        self.environment["EDGELLM_MODELS"] = str(self.store)

    def create(self, name, text):
        (self.folder / "Modelfile").write_text(text)
        self.succeed("create", name, "-f", "Modelfile")

    def names(self):
        return [model["name"] for model in self.succeed_json("list")["models"] if not model["bundled"]]

    def test_parameters_template_and_system(self):
        self.create("mine", 'FROM ./model\nPARAMETER temperature 0\nPARAMETER num_predict 3\nPARAMETER stop "zz"\n'
                            "PARAMETER num_ctx 128\nSYSTEM You are terse.\nMESSAGE user Hi\nMESSAGE assistant Hello\n")
        self.assertEqual(self.names(), ["mine"])
        shown = self.succeed_json("show", "mine")
        self.assertEqual(shown["system"], "You are terse.")
        self.assertEqual(shown["parameters"]["num_ctx"], 128)
        self.assertEqual(shown["parameters"]["stop"], ["zz"])
        plain = self.succeed_json("run", self.model, "Hi", "-n", "3", "--temperature", "0")
        answer = self.succeed_json("run", "mine", "Hi")
        self.assertEqual(answer["eval_count"], 3)
        # The system message and two more messages stand before the prompt; --system takes the place of the first.
        more = answer["prompt_eval_count"] - plain["prompt_eval_count"]
        self.assertEqual(more, sum(len(role) + len(text) + 4 for role, text in
                                   (("system", "You are terse."), ("user", "Hi"), ("assistant", "Hello"))))
        shorter = self.succeed_json("run", "mine", "Hi", "--system", "x", "-n", "1")
        self.assertEqual(answer["prompt_eval_count"] - shorter["prompt_eval_count"], len("You are terse.") - 1)
        self.assertIn("context", self.refuse("run", "mine", "x" * 200))

        # Over one another: the later says over the earlier.
        self.create("yours", "FROM mine\nPARAMETER num_predict 2\nTEMPLATE {{ messages[-1].content }}")
        shown = self.succeed("show", "yours", "--modelfile").decode()
        self.assertIn(f"FROM {self.model}\n", shown)
        self.assertIn("PARAMETER num_predict 2", shown)
        self.assertNotIn("PARAMETER num_predict 3", shown)
        self.assertEqual(self.succeed_json("run", "yours", "abc")["prompt_eval_count"], 3)
        (self.folder / "Again").write_text(shown)
        self.succeed("create", "again", "-f", "Again")
        self.assertEqual((self.store / "again.model.json").read_bytes(), (self.store / "yours.model.json").read_bytes())
        self.succeed("cp", "again", "copy")
        self.succeed("rm", "again", "mine")
        self.assertEqual(self.names(), ["copy", "yours"])
        self.assertEqual(self.succeed_json("run", "copy", "abc")["eval_count"], 2)

    def test_refusals(self):
        for text, part in (("FROM nothing", "not found"), ("FROM ./model\nADAPTER x", "not supported yet"),
                           ("FROM ./model\nPARAMETER top_q 3", "top_q"), ("FROM ./model\nPARAMETER top_k x", "integer"),
                           ("FROM ./model\nPARAMETER num_ctx 0", "num_ctx"),
                           ("FROM ./model\nTEMPLATE {{ .System }}", "Jinja"), ("FROM ./model\nTEMPLATE {% if %}", "TEMPLATE"),
                           ("FROM ./model\nFOO", "line 2")):
            (self.folder / "Modelfile").write_text(text)
            self.assertIn(part, self.refuse("create", "mine"), text)
        (self.folder / "Modelfile").write_text("FROM ./model")
        self.refuse("create", "../mine")
        self.refuse("create", "mine", "-f", "absent")
        self.assertEqual(self.names(), [])
        self.succeed("cp", "model", "base")
        self.create("mine", "FROM base")
        self.succeed("rm", "base")
        self.assertIn("made from 'base'", self.refuse("run", "mine", "Hi"))

    def test_killed_at_any_point(self):
        numbers = random.Random(7)
        systems = ["one " * 1000, "two " * 1000]
        self.create("mine", f"FROM ./model\nSYSTEM {systems[0]}")
        for i in range(60):
            (self.folder / "Modelfile").write_text(f"FROM ./model\nSYSTEM {systems[i % 2]}")
            process = subprocess.Popen([PROGRAM, "create", "mine"], cwd=self.folder, env=self.environment,
                                       stderr=subprocess.DEVNULL)
            time.sleep(numbers.uniform(0, 0.03))
            process.send_signal(signal.SIGKILL)
            process.wait()
            self.assertEqual([path.name for path in self.store.iterdir() if path.name != ".pull"], ["mine.model.json"])
            self.assertIn(json.loads((self.store / "mine.model.json").read_text())["system"],
                          [system.strip() for system in systems])
        self.assertEqual(self.names(), ["mine"])


if __name__ == "__main__":
    unittest.main()
