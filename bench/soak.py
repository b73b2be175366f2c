#!/usr/bin/env python3
"""Clients of all kinds against `edgellm serve` for a while: what they saw must agree with what the server counted, and
nothing may be left over.

    python3 bench/soak.py [--edgellm PROGRAM] [--model demo] [--seconds 600] [--clients 200] [--json OUT.json]

Most clients stream answers to the end. Others vanish in the middle, stall before they read on, send what is no request,
or ask for what cannot be. Exit status 1 when a request went unanswered, the counts differ, memory grew or pages are held.
"""

import argparse
import asyncio
import collections
import json
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMEOUT = 120  # seconds in which any answer must be there
KINDS = [("whole", 60), ("vanish", 12), ("stall", 6), ("garbage", 8), ("bad", 8), ("idle", 6)]


class Client:
    def __init__(self, port, model, counts, gaps, seed):
        self.port, self.model, self.counts, self.gaps = port, model, counts, gaps
        self.random = random.Random(seed)

    async def open(self):
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, writer, body, path="/api/chat"):
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                     % (path.encode(), len(text)) + text)
        await writer.drain()

    def chat(self):
        words = " ".join(self.random.choice(["tell", "me", "a", "story", "about", "music", "and", "the", "king"])
                         for _ in range(self.random.randint(3, 60)))
        return {"model": self.model, "messages": [{"role": "user", "content": words}], "stream": True,
                "options": {"num_predict": self.random.randint(4, 60), "ignore_eos": False}}

    async def read_head(self, reader):
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), TIMEOUT)
        return int(head.split()[1])

    async def read_chunks(self, reader, limit=None, pause=0):
        """Lines of a chunked stream; the last one is returned."""
        last, count, before = None, 0, None
        while True:
            size = int((await asyncio.wait_for(reader.readline(), TIMEOUT)).strip() or b"0", 16)
            data = await asyncio.wait_for(reader.readexactly(size + 2), TIMEOUT)
            if size == 0:
                return last
            now = time.monotonic()
            if before is not None and not pause:
                self.gaps.append(now - before)
            before = now
            last, count = data[:-2], count + 1
            if limit is not None and count >= limit:
                return None
            if pause and count == 2:
                await asyncio.sleep(pause)

    async def whole(self, reader, writer, pause=0):
        await self.send(writer, self.chat())
        status = await self.read_head(reader)
        if status == 503:
            self.counts["busy"] += 1
            return False
        if status != 200:
            self.counts[f"status {status}"] += 1
            return False
        last = await self.read_chunks(reader, pause=pause)
        reply = json.loads(last.splitlines()[-1])
        if not reply.get("done"):
            self.counts["cut"] += 1
            return False
        self.counts["complete"] += 1
        self.counts["tokens"] += reply.get("eval_count", 0)
        return True

    async def stall(self, reader, writer):
        await self.whole(reader, writer, pause=self.random.uniform(0.5, 5))

    async def vanish(self, reader, writer):
        request = self.chat()
        request["options"]["num_predict"] = 400
        await self.send(writer, request)
        if self.random.random() < 0.7:
            if await self.read_head(reader) == 200:
                await self.read_chunks(reader, limit=self.random.randint(1, 5))
        self.counts["vanished"] += 1
        writer.transport.abort()

    async def garbage(self, reader, writer):
        writer.write(bytes(self.random.randrange(256) for _ in range(self.random.randint(1, 400))) + b"\r\n\r\n")
        await writer.drain()
        await asyncio.wait_for(reader.read(), TIMEOUT)  # an error, or nothing, and the end
        self.counts["garbage"] += 1

    async def bad(self, reader, writer):
        body, path = self.random.choice([(b"{", "/api/chat"), ({"model": "absent"}, "/api/generate"),
                                         ({"model": self.model, "messages": 3}, "/v1/chat/completions"), (b"\xff", "/v1/messages"),
                                         ({"model": self.model, "options": {"top_k": "x"}}, "/api/chat")])
        await self.send(writer, body, path)
        status = await self.read_head(reader)
        self.counts["refused" if 400 <= status < 500 else f"bad {status}"] += 1

    async def idle(self, reader, writer):
        await asyncio.sleep(self.random.uniform(0, 3))
        self.counts["idle"] += 1

    async def run(self, until):
        while time.monotonic() < until:
            kind = self.random.choices([k for k, _ in KINDS], [w for _, w in KINDS])[0]
            writer = None
            try:
                reader, writer = await self.open()
                for _ in range(self.random.randint(1, 3) if kind == "whole" else 1):
                    if not await getattr(self, kind)(reader, writer):
                        break
            except (asyncio.TimeoutError, TimeoutError):
                self.counts["unanswered"] += 1
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.counts[f"{kind}: {type(error).__name__}"] += 1
            finally:
                if writer is not None:
                    writer.close()
            await asyncio.sleep(self.random.uniform(0, 0.2))


async def metrics(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    values = {}
    for line in text.splitlines():
        match = re.match(r"edgellm_(\w+)(?:\{(.*)\})? ([0-9.e+-]+)$", line)
        if match:
            values[match[1] + ("/" + match[2].split("reason=")[1].strip('"') if "reason=" in (match[2] or "") else "")] = float(match[3])
    return values


async def soak(arguments, port):
    counts, gaps, memory = collections.Counter(), [], []
    until = time.monotonic() + arguments.seconds
    clients = [asyncio.create_task(Client(port, arguments.model, counts, gaps, seed).run(until)) for seed in range(arguments.clients)]
    while time.monotonic() < until:
        await asyncio.sleep(max(1, arguments.seconds / 60))
        now = await metrics(port)
        memory.append(now["resident_bytes"] / 1e6)
        print(f"\r{counts['complete']} answers, {memory[-1]:.0f} MB, {now['http_connections']:.0f} connections ", end="", file=sys.stderr)
    await asyncio.gather(*clients)
    await asyncio.sleep(2)
    print(file=sys.stderr)
    return counts, sorted(gaps), memory, await metrics(port)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgellm", default=ROOT / "build" / "release" / "bin" / "edgellm")
    parser.add_argument("--model", default="demo")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    server = subprocess.Popen([arguments.edgellm, "serve", "--port", "0", "--quiet", "--model", arguments.model, "--parallel", "32"],
                              stderr=subprocess.PIPE, text=True)
    port = int(re.search(r":(\d+)", server.stderr.readline().split("//")[1])[1])
    try:
        time.sleep(1)
        counts, gaps, memory, end = asyncio.run(soak(arguments, port))
    finally:
        server.send_signal(signal.SIGTERM)
    status = server.wait(60)
    third = max(1, len(memory) // 3)
    problems = []
    finished = sum(end[f"answers_finished_total/{r}"] for r in ("stop", "length", "context_full"))
    if counts["unanswered"] or counts["cut"]:
        problems.append(f"{counts['unanswered']} requests were not answered, {counts['cut']} cut")
    # Who vanished may have been answered to the end before the server saw it.
    if not counts["complete"] <= finished <= counts["complete"] + counts["vanished"]:
        problems.append(f"clients saw {counts['complete']} whole answers, the server counted {finished:.0f}")
    if end["answers_finished_total/failed"] or end["kv_pages_held"] or end["requests_running"] or end["requests_waiting"]:
        problems.append("answers failed, or pages or requests are left over")
    if max(memory[-third:]) > max(memory[:third]) * 1.1 + 16:
        problems.append(f"memory grew from {max(memory[:third]):.0f} to {max(memory[-third:]):.0f} MB")
    if status != 0:
        problems.append(f"the server ended with {status}")
    result = {"seconds": arguments.seconds, "clients": arguments.clients, "model": arguments.model, "counts": dict(counts),
              "finished": {k.split("/")[1]: v for k, v in end.items() if k.startswith("answers_finished_total/")},
              "gap_ms": {p: 1000 * gaps[min(len(gaps) - 1, int(len(gaps) * q))] for p, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))},
              "memory_mb": {"first_third": max(memory[:third]), "last_third": max(memory[-third:])},
              "pages_held": end["kv_pages_held"], "problems": problems}
    print(json.dumps(result, indent=1))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
