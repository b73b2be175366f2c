"""A hub for tests of the program: serves a folder's files as one repository, with ranges, as fast or slow as it is told."""

import hashlib
import http.server
import json
import threading
import time

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandInHub:
    """`files`: path in the repository → bytes. Whatever is asked of owner/model is counted in `requests`."""

    def __init__(self, files, bytes_per_second=None):
        self.files, self.bytes_per_second = dict(files), bytes_per_second
        self.requests, self.sent = [], 0
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                try:
                    hub.answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # clients are killed here

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        path = request.path.split("?")[0]
        self.requests.append(path)
        if path == "/api/models/owner/model/revision/main":
            return self.send(request, 200, json.dumps(self.listing()).encode())
        for prefix in (f"/owner/model/resolve/{COMMIT}/", "/plain/"):
            name = path[len(prefix):]
            if path.startswith(prefix) and name in self.files:
                return self.send_part(request, self.files[name])
        self.send(request, 404, b"Entry not found")

    def listing(self):
        entries = []
        for path, content in self.files.items():
            entries.append({"rfilename": path, "size": len(content), "blobId": "0" * 40,
                            "lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}})
        return {"id": "owner/model", "sha": COMMIT, "siblings": entries}

    def send_part(self, request, content):
        asked = request.headers.get("Range")
        if not asked:
            return self.send(request, 200, content)
        first, last = asked.removeprefix("bytes=").split("-")
        first, last = int(first), min(int(last), len(content) - 1)
        self.send(request, 206, content[first:last + 1], {"Content-Range": f"bytes {first}-{last}/{len(content)}"})

    def send(self, request, status, body, headers=()):
        request.send_response(status)
        for name, value in dict(headers).items():
            request.send_header(name, value)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        step = max(1, self.bytes_per_second // 50) if self.bytes_per_second else len(body) or 1
        for begin in range(0, len(body), step):
            piece = body[begin:begin + step]
            request.wfile.write(piece)
            self.sent += len(piece)
            if self.bytes_per_second:
                time.sleep(0.02)
