"""edgellm ps and stop: what they ask a server, and what they make of its answers."""

import http.server
import json
import threading
import unittest
from datetime import datetime, timedelta, timezone

from program import ProgramTest


class Server:
    """Answers by path; keeps what it was asked."""

    def __init__(self, answers):
        self.asked = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                length = int(self.headers.get("Content-Length", 0))
                outer.asked.append((self.path, json.loads(self.rfile.read(length) or b"null"), self.headers.get("Authorization")))
                status, body = answers[self.path]
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body.encode())

            do_POST = do_GET

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Ps(ProgramTest):
    def serve(self, answers):
        server = Server(answers)
        self.addCleanup(server.close)
        self.environment["OLLAMA_HOST"] = f"127.0.0.1:{server.server.server_address[1]}"
        return server

    def test_lists_what_is_loaded(self):
        soon = (datetime.now(timezone.utc) + timedelta(seconds=270)).strftime("%Y-%m-%dT%H:%M:%S.123456789Z")
        models = [{"name": "a:latest", "digest": "0123456789abcdef", "size": 2_000_000_000, "size_vram": 0,
                   "context_length": 4096, "expires_at": soon},
                  {"name": "b", "digest": "fedcba9876543210", "size": 4_000_000_000, "size_vram": 4_000_000_000,
                   "context_length": 8192, "expires_at": None},
                  {"name": "c", "digest": "", "size": 100, "size_vram": 25, "context_length": 1,
                   "expires_at": "2020-01-01T00:00:00Z"}]
        self.serve({"/api/ps": (200, json.dumps({"models": models}))})
        lines = self.succeed("ps").decode().splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "ID", "SIZE", "PROCESSOR", "CONTEXT", "UNTIL"])
        self.assertEqual(lines[1].split(), "a:latest 0123456789ab 2.0 GB 100% CPU 4096 4 minutes from now".split())
        self.assertEqual(lines[2].split(), "b fedcba987654 4.0 GB 100% GPU 8192 Forever".split())
        self.assertEqual(lines[3].split(), "c 100 B 75%/25% CPU/GPU 1 Stopping...".split())
        self.assertEqual(self.succeed_json("ps")["models"], models)

    def test_stops_a_model(self):
        server = self.serve({"/api/generate": (200, '{"done":true,"done_reason":"unload"}')})
        self.environment["EDGELLM_API_KEY"] = "secret"
        self.succeed("stop", "a", "b")
        self.assertEqual(server.asked, [("/api/generate", {"model": name, "keep_alive": 0, "stream": False}, "Bearer secret")
                                        for name in ("a", "b")])

    def test_failures(self):
        self.serve({"/api/generate": (404, '{"error":"model \'x\' not found"}'), "/api/ps": (200, "<html>")})
        self.assertEqual(self.refuse("stop", "x"), "model 'x' not found")
        self.assertIn("no server of models", self.refuse("ps"))
        self.environment["EDGELLM_HOST"] = ":1"
        self.assertIn("cannot connect", self.refuse("ps"))
        self.environment["EDGELLM_HOST"] = "ftp://x"
        self.refuse("ps")

    def test_addresses_are_what_serve_takes(self):
        server = self.serve({"/api/ps": (200, '{"models":[]}')})
        port = self.environment["OLLAMA_HOST"].rsplit(":", 1)[1]
        for address in (f"127.0.0.1:{port}", f":{port}", f"0.0.0.0:{port}", f"http://localhost:{port}/", f" :{port} "):
            self.environment["EDGELLM_HOST"] = address
            self.assertEqual(self.succeed_json("ps")["models"], [], address)
        self.assertEqual(len(server.asked), 5)


if __name__ == "__main__":
    unittest.main()
