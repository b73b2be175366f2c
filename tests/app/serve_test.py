"""edgellm serve as a process: what it says, how it answers, how it ends."""

import http.client
import json
import re
import signal
import subprocess
import time
import unittest

from program import PROGRAM, ProgramTest, make_model


class Serve(ProgramTest):
    def start(self, *arguments, **environment):
        process = subprocess.Popen([PROGRAM, "serve", "--port", "0", *arguments], stderr=subprocess.PIPE, text=True,
                                   cwd=self.folder, env={**self.environment, **environment})
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        while line := process.stderr.readline():
            if found := re.search(r"listening on http://(.*):(\d+)", line):
                self.port = int(found[2])
                return process
        self.fail("it does not listen")

    def ask(self, method, path, headers={}, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, reply.read().decode()
        finally:
            connection.close()

    def end(self, process, by=signal.SIGTERM):
        process.send_signal(by)
        said = process.stderr.read()
        self.assertEqual(process.wait(30), 0, said)
        return said

    def test_probes(self):
        process = self.start()
        self.assertEqual(self.ask("GET", "/"), (200, "Ollama is running"))
        self.assertEqual(self.ask("HEAD", "/"), (200, ""))
        for path in ("/health", "/ready", "/live"):
            self.assertEqual(self.ask("GET", path), (200, '{"status":"ok"}'))
        status, text = self.ask("GET", "/api/version")
        self.assertEqual(status, 200)
        self.assertRegex(json.loads(text)["version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual(self.ask("POST", "/api/version", body="x")[0], 405)
        status, text = self.ask("GET", "/absent")
        self.assertEqual(status, 404)
        self.assertIn("/absent", json.loads(text)["error"])
        status, text = self.ask("GET", "/metrics")
        self.assertEqual(status, 200)
        self.assertIn('edgellm_http_requests_total{method="GET",status="200"} 5\n', text)
        self.assertIn('edgellm_http_requests_total{method="GET",status="404"} 1\n', text)
        self.assertRegex(text, r"edgellm_http_connections [12]\n")  # the one before may still be closing
        said = self.end(process)
        self.assertRegex(said, r"(?m)^\S+Z 127\.0\.0\.1 GET /absent 404 ")

    def test_log_is_one_line_a_request_and_tells_no_secret(self):
        process = self.start(EDGELLM_API_KEY="secret,other")
        self.assertEqual(self.ask("GET", "/metrics?key=secret")[0], 401)
        self.assertEqual(self.ask("GET", "/metrics", {"Authorization": "Bearer other"})[0], 200)
        self.assertEqual(self.ask("GET", "/%0a%0aforged", {"X-Request-Id": "mine"})[0], 404)
        said = self.end(process)
        self.assertNotIn("secret", said)
        self.assertRegex(said, r"(?m)^\S+Z 127\.0\.0\.1 GET /%0a%0aforged 404 \S+ \S+ \S+ mine$")

    def test_quiet(self):
        process = self.start("--quiet")
        self.ask("GET", "/health")
        self.assertEqual(self.end(process, signal.SIGINT).count("\n"), 1)  # that it stops

    def test_an_address_for_others_needs_a_key(self):
        message = self.refuse("serve", "--host", "0.0.0.0:0")
        self.assertIn("key", message)
        self.assertIn("0.0.0.0", message)
        self.environment["OLLAMA_HOST"] = "0.0.0.0:0"
        self.environment["OLLAMA_API_KEY"] = "not for this server"
        self.assertIn("key", self.refuse("serve"))
        self.start("--host", "0.0.0.0", "--api-key", "k")
        self.assertEqual(self.ask("GET", "/metrics", {"x-api-key": "k"})[0], 200)

    def test_origins_and_hosts(self):
        self.start("--origins", "https://page.example", EDGELLM_ALLOWED_HOSTS="box.lan")
        self.assertEqual(self.ask("GET", "/health", {"Origin": "https://page.example"})[0], 200)
        self.assertEqual(self.ask("GET", "/health", {"Origin": "https://evil.example"})[0], 403)
        self.assertEqual(self.ask("GET", "/health", {"Host": "box.lan"})[0], 200)
        self.assertEqual(self.ask("GET", "/health", {"Host": "evil.example"})[0], 403)

    def test_a_page_in_a_browser(self):
        """What a front end of Ollama's on this machine does: it looks around, asks whether it may ask, and streams a chat."""
        model = str(make_model(self.folder / "model"))
        self.start("--model", model, "--ctx", "256")
        self.wait_until_ready()
        page = {"Host": f"localhost:{self.port}", "Origin": "http://localhost:3000", "Sec-Fetch-Mode": "cors", "Referer": "http://localhost:3000/"}

        def send(method, path, headers={}, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            self.addCleanup(connection.close)
            connection.request(method, path, body, {**page, **headers})
            reply = connection.getresponse()
            self.assertEqual(reply.getheader("access-control-allow-origin"), page["Origin"])
            self.assertIn("origin", reply.getheader("vary").lower())
            return reply

        self.assertEqual(send("GET", "/").read(), b"Ollama is running")
        self.assertIn("version", json.loads(send("GET", "/api/version").read()))
        self.assertIsInstance(json.loads(send("GET", "/api/tags").read())["models"], list)
        self.assertEqual(len(json.loads(send("GET", "/api/ps").read())["models"]), 1)
        for path, method, wanted in (("/api/chat", "POST", "content-type"), ("/api/delete", "DELETE", "content-type,authorization"),
                                     ("/v1/chat/completions", "POST", "authorization,content-type,x-stainless-os")):
            reply = send("OPTIONS", path, {"Access-Control-Request-Method": method, "Access-Control-Request-Headers": wanted})
            self.assertEqual((reply.status, reply.read()), (204, b""))
            self.assertIn(method, reply.getheader("access-control-allow-methods"))
            self.assertEqual(reply.getheader("access-control-allow-headers"), wanted)
        body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hello"}], "options": {"num_predict": 4}})
        reply = send("POST", "/api/chat", {"Content-Type": "application/json"}, body)
        self.assertEqual(reply.status, 200)
        self.assertEqual(reply.getheader("content-type"), "application/x-ndjson")
        lines = [json.loads(line) for line in reply.read().splitlines()]
        self.assertEqual([line["done"] for line in lines], [False] * (len(lines) - 1) + [True])
        self.assertEqual(lines[-1]["eval_count"], 4)
        self.assertEqual(lines[0]["message"]["role"], "assistant")
        reply = send("POST", "/api/chat", {"Content-Type": "application/json"}, "{")  # the page may read what was wrong
        self.assertEqual(reply.status, 400)
        self.assertIn("error", json.loads(reply.read()))

    def test_an_address_in_use(self):
        self.start()
        self.assertIn(f"127.0.0.1:{self.port}", self.refuse("serve", "--port", self.port))
        self.assertIn("no address", self.refuse("serve", "--host", "a:b"))
        self.environment["EDGELLM_HOST"] = "a:b"
        self.assertIn("EDGELLM_HOST", self.refuse("serve"))
        self.assertIn("duration", self.refuse("serve", "--grace", "soon"))

    def wait_until_ready(self):
        for _ in range(600):
            if self.ask("GET", "/health")[0] == 200:
                return
            time.sleep(0.05)
        self.fail("it is not ready")

    def generate(self, **request):
        return self.ask("POST", "/api/generate", body=json.dumps({"model": str(self.model), "stream": False, **request}))

    def test_a_model_answers_and_is_counted(self):
        self.model = make_model(self.folder / "model")
        process = self.start("--model", str(self.model), "--parallel", "2", "--ctx", "256")
        self.wait_until_ready()
        options = {"num_predict": 5, "temperature": 0}
        status, text = self.generate(prompt="hello", options=options)
        self.assertEqual(status, 200, text)
        self.assertEqual(json.loads(text)["eval_count"], 5)
        status, text = self.generate(prompt="x" * 1000, options=options)
        self.assertEqual(status, 400)
        self.assertIn("256", json.loads(text)["error"])
        self.assertEqual(self.ask("POST", "/v1/chat/completions", body='{"model": "absent", "messages": []}')[0], 400)
        status, text = self.ask("POST", "/v1/absent")
        self.assertEqual(status, 404)
        self.assertIn("message", json.loads(text)["error"])  # as OpenAI's errors are
        text = self.ask("GET", "/metrics")[1]
        label = f'{{model="{self.model}"}}'
        self.assertIn(f"edgellm_generation_tokens_total{label} 5\n", text)
        self.assertIn(f"edgellm_time_to_first_token_seconds_count{label} 1\n", text)
        self.assertIn(f'edgellm_answers_finished_total{{model="{self.model}",reason="length"}} 1\n', text)
        self.assertIn(f"edgellm_requests_running{label} 0\n", text)
        self.assertRegex(text, rf"edgellm_model_bytes{re.escape(label)} [1-9]")
        self.end(process)

    def test_a_running_answer_ends_before_the_program(self):
        self.model = make_model(self.folder / "model")
        process = self.start("--model", str(self.model))
        self.wait_until_ready()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        request = {"model": str(self.model), "prompt": "a", "options": {"num_predict": 1500, "temperature": 0}}
        connection.request("POST", "/api/generate", json.dumps(request))
        reply = connection.getresponse()
        reply.readline()
        process.send_signal(signal.SIGTERM)
        last = json.loads(reply.read().splitlines()[-1])
        self.assertTrue(last["done"])
        self.assertEqual(last["eval_count"], 1500)
        connection.close()
        process.stderr.read()
        self.assertEqual(process.wait(30), 0)

    def test_what_runs_past_the_grace_is_cut(self):
        self.model = make_model(self.folder / "model", context=30000)
        process = self.start("--model", str(self.model), "--grace", "0s", "--ctx", "30000")
        self.wait_until_ready()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        request = {"model": str(self.model), "prompt": "a", "options": {"num_predict": 29000, "temperature": 0}}
        connection.request("POST", "/api/generate", json.dumps(request))
        reply = connection.getresponse()
        reply.readline()
        process.send_signal(signal.SIGTERM)
        with self.assertRaises((http.client.HTTPException, OSError)):
            reply.read()
        process.stderr.read()
        self.assertEqual(process.wait(30), 0)

    def test_a_model_that_is_not_there(self):
        self.assertIn("absent", self.refuse("serve", "--port", "0", "--quiet", "--model", "absent"))

    def test_idle_connections_do_not_hold_up_the_end(self):
        process = self.start("--grace", "20s")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("GET", "/health")
        connection.getresponse().read()
        started = time.monotonic()
        self.end(process)
        self.assertLess(time.monotonic() - started, 10)
        connection.close()


if __name__ == "__main__":
    unittest.main()
