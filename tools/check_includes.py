#!/usr/bin/env python3
"""Holds #include lines to the layers of ARCHITECTURE.md: a folder of src/ may include only what stands below it.

Run from anywhere; prints each violation and exits with 1 if there is one.
"""

import pathlib
import re
import sys

ALLOWED = {
    "base": set(),
    "http": {"base"},
    "hub": {"base"},
    "quant": {"base"},
    "plan": {"base", "quant"},
    "text": {"base"},
    "constrain": {"base", "text"},
    "model": {"base", "quant", "plan"},
    "backend": {"base", "quant", "plan"},
    "convert": {"base", "quant", "plan", "model", "text"},
    "engine": {"base", "quant", "plan", "backend"},
    "serve": {"base", "hub", "quant", "plan", "model", "text", "constrain", "convert", "backend", "engine"},
    "api": {"base", "hub", "plan", "model", "text", "constrain", "engine", "serve", "http"},
    "bench": {"base", "hub", "quant", "plan", "model", "text", "constrain", "convert", "backend", "engine", "serve"},
    "app": {"base", "hub", "quant", "plan", "model", "text", "constrain", "convert", "backend", "engine", "serve", "bench", "http", "api"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')
GENERATED = {"commit.h"}  # written by the build
CUDA = re.compile(r"^(cuda|cublas|nccl|cooperative_groups|mma\.h)")


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent / "src"
    problems = []
    for path in sorted(p for p in root.rglob("*") if p.suffix in {".h", ".cc", ".cu", ".cuh"}):
        parts = path.relative_to(root).parts
        layer = parts[0]
        if layer not in ALLOWED:
            problems.append(f"{path}: folder '{layer}' is not in the layer graph")
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, name = match.groups()
            target = name.split("/")[0]
            where = f"{path.relative_to(root.parent)}:{number}"
            if quote == '"' and name in GENERATED:
                continue
            if quote == '"' and target not in ALLOWED:
                problems.append(f"{where}: \"{name}\" does not start with a folder of src/")
            elif quote == '"' and target != layer and target not in ALLOWED[layer]:
                problems.append(f"{where}: {layer} must not include {target}")
            elif CUDA.match(name) and parts[:2] != ("backend", "cuda"):
                problems.append(f"{where}: only backend/cuda may include CUDA headers")
            elif name.startswith("boost/") and layer != "http":
                problems.append(f"{where}: only http may include Boost")
    print("\n".join(problems) if problems else "includes follow the layers")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
