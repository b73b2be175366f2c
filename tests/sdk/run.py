#!/usr/bin/env python3
"""Runs the suites of the official clients against a server program that prints its address first.

run.py SERVER [ARGUMENTS of the suites...]: SERVER runs until its standard input ends. Exit status 77 (skipped) where
Node or the packages are missing: `npm ci` in this folder gets them.
"""

import pathlib
import shutil
import subprocess
import sys

SUITES = ["ollama.mjs", "openai.mjs", "anthropic.mjs", "stream.mjs"]


def main() -> int:
    here = pathlib.Path(__file__).resolve().parent
    if shutil.which("node") is None or not (here / "node_modules").is_dir():
        print(f"skipped: needs node, and `npm ci` in {here}")
        return 77
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        failed = [suite for suite in SUITES if subprocess.run(["node", here / suite, url, *sys.argv[2:]]).returncode != 0]
    finally:
        server.stdin.close()
        status = server.wait(timeout=30)
    print(f"failed: {', '.join(failed)}" if failed else "all passed")
    return 1 if failed or status != 0 else 0


if __name__ == "__main__":
    sys.exit(main())
