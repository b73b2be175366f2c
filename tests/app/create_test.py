"""edgellm create: models over models, what they add, and a store that is whole whenever it is killed."""

import hashlib
import http.client
import json
import os
import random
import re
import signal
import subprocess
import threading
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


    def start_server(self):
        process = subprocess.Popen([PROGRAM, "serve", "--port", "0", "--quiet"], stderr=subprocess.PIPE, text=True,
                                   cwd=self.folder, env=self.environment)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for line in process.stderr:
            if found := re.search(r"listening on http://127.0.0.1:(\d+)", line):
                return process, int(found[1])
        self.fail("the server did not start")

    @staticmethod
    def ask(port, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request(method, path, body)
        status = connection.getresponse().status
        connection.close()
        return status

    def test_uploads_killed_at_any_point(self):
        """Whatever lies there as a blob is whole; what an ended server left over is taken away when it is old."""
        self.succeed("convert", self.model, "m.gguf", "--type", "q8_0")
        content = (self.folder / "m.gguf").read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        numbers = random.Random(4)
        create = json.dumps({"model": "sent", "files": {"m.gguf": digest}, "system": "terse", "stream": False})
        for _ in range(12):
            process, port = self.start_server()
            wait = numbers.uniform(0, 0.03)
            killer = threading.Timer(wait, process.kill)
            killer.start()
            try:
                self.ask(port, "POST", "/api/blobs/" + digest, content)
                self.ask(port, "POST", "/api/create", create)
            except OSError:
                pass  # killed
            except http.client.HTTPException:
                pass
            killer.join()
            process.wait()
            for path in (self.store / ".blobs").glob("sha256-*"):
                self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), path.name.removeprefix("sha256-"))
            self.assertIn(self.names(), ([], ["sent"]))
            if self.names():
                self.assertEqual(self.succeed_json("show", "sent")["system"], "terse")
                self.succeed("rm", "sent")
        for path in (self.store / ".pull").iterdir():
            os.utime(path, (0, 0))
        process, port = self.start_server()
        self.assertEqual(self.ask(port, "POST", "/api/blobs/" + digest, content), 201)
        self.assertEqual(self.ask(port, "POST", "/api/create", create), 200)
        self.assertEqual(self.succeed_json("run", "sent", "Hi", "-n", "1")["eval_count"], 1)
        self.assertEqual(list((self.store / ".pull").iterdir()), [])
        self.assertEqual(len(list((self.store / ".blobs").glob("making-*"))), 0)

    def test_quantised_and_killed_at_any_point(self):
        """A store with a model, half-made weights, or both: never half a model; and what is left over goes."""
        numbers = random.Random(9)
        (self.folder / "Modelfile").write_text("FROM ./model\nSYSTEM terse\n")
        command = [PROGRAM, "create", "mine", "-q", "q8_0"]
        begin = time.monotonic()
        self.succeed(*command[1:])
        takes = time.monotonic() - begin
        for i in range(25):
            if i % 5 == 0:
                self.succeed("rm", "mine")
            existed = self.names() == ["mine"]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=subprocess.DEVNULL)
            time.sleep(numbers.uniform(0, 1.1 * takes))
            process.send_signal(signal.SIGKILL)
            process.wait()
            if existed or self.names():
                self.assertEqual(self.names(), ["mine"])
                self.assertEqual(self.succeed_json("show", "mine")["details"]["quantization_level"], "int8-g32")
            else:
                self.succeed("create", "mine", "-q", "q8_0")
        self.succeed("create", "mine", "-q", "q8_0")
        self.assertEqual(self.succeed_json("run", "mine", "Hi", "-n", "1")["eval_count"], 1)
        self.assertEqual(len([path for path in (self.store / ".blobs").iterdir() if path.is_dir()]), 1)
        self.succeed("rm", "mine")
        self.assertEqual([path for path in (self.store / ".blobs").iterdir() if path.is_dir()], [])


if __name__ == "__main__":
    unittest.main()
