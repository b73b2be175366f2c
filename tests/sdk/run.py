#!/usr/bin/env python3
"""Runs the suites of the official clients against a server program.

run.py SERVER [ARGUMENTS of the suites...]: SERVER prints its address and runs until its standard input ends.
run.py --program EDGELLM [ARGUMENTS...]: `edgellm serve` with the demo model.
Exit status 77 (skipped) where Node or the packages are missing: `npm ci` in this folder gets them.
"""

import pathlib
import re
import shutil
import signal
import subprocess
import sys

SUITES = ["ollama.mjs", "openai.mjs", "anthropic.mjs", "stream.mjs"]


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    if shutil.which("node") is None or not (here / "node_modules").is_dir():
        print(f"skipped: needs node, and `npm ci` in {here}")
        return 77
    arguments = sys.argv[1:]
    real = arguments[0] == "--program"
    if real:
        command = [arguments[1], "serve", "--port", "0", "--model", "demo", "--quiet"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        url = re.search(r"http://\S+", server.stderr.readline()).group()
        arguments = ["demo", *arguments[2:]]
    else:
        server = subprocess.Popen([arguments[0]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        url = server.stdout.readline().strip()
        arguments = arguments[1:]
    try:
        failed = [suite for suite in SUITES if subprocess.run(["node", here / suite, url, *arguments]).returncode != 0]
    finally:
        if real:
            server.send_signal(signal.SIGTERM)
        else:
            server.stdin.close()
        status = server.wait(timeout=60)
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
