"""edgellm serve as a process: what it says, how it answers, how it ends."""

import http.client
import json
import re
import signal
import subprocess
import time
import unittest

from program import PROGRAM, ProgramTest


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
        self.assertIn("edgellm_http_connections 1\n", text)
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

    def test_an_address_in_use(self):
        self.start()
        self.assertIn(f"127.0.0.1:{self.port}", self.refuse("serve", "--port", self.port))
        self.assertIn("no address", self.refuse("serve", "--host", "a:b"))
        self.environment["EDGELLM_HOST"] = "a:b"
        self.assertIn("EDGELLM_HOST", self.refuse("serve"))
        self.assertIn("duration", self.refuse("serve", "--grace", "soon"))

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
