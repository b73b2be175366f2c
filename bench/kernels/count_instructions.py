#!/usr/bin/env python3
"""Instructions per token of the ARM kernels, counted under qemu: a stand-in for speed where there is no such machine.

    cmake --preset arm64 && cmake --build build/arm64 --target kernel_calls
    python3 bench/kernels/count_instructions.py NAME

writes bench/results/NAME.json and NAME.md. qemu runs one instruction at a time and logs those that lie in the kernels of one
instruction set; the difference between two calls and one is a call. Every linear layer's instructions are proportional to its rows,
so 64 rows are counted and scaled up to the layers of BitNet b1.58 2B4T, and for int4 of Qwen2.5-1.5B. Instructions are not cycles:
a tbl, an sdot and an and count the same.
"""

import argparse
import json
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ISAS = {"neon": "cortex-a53", "neon-dotprod": "max"}
BITNET = {"layers": 30, "matrices": [(3840, 2560), (2560, 2560), (13824, 2560), (2560, 6912)]}
QWEN = {"layers": 28, "matrices": [(2048, 1536), (1536, 1536), (17920, 1536), (1536, 8960)]}
SUBJECTS = [("dot", BITNET), ("tables", BITNET), ("dense", BITNET), ("int4-g128", QWEN)]


def kernel_range(program, isa):
    """Addresses of the instruction set's functions in the program, as qemu's -dfilter takes them."""
    space = "edgellm::cpu::" + isa.replace("-", "_") + "::"
    listing = subprocess.run(["nm", "-C", "-S", program], check=True, capture_output=True, text=True).stdout
    ends = []
    for line in listing.splitlines():
        match = re.match(r"([0-9a-f]+) ([0-9a-f]+) [tT] (.*)", line)
        if match and space in match.group(3):
            begin = int(match.group(1), 16)
            ends.append((begin, begin + int(match.group(2), 16)))
    first, last = min(e[0] for e in ends), max(e[1] for e in ends)
    return f"0x{first:x}..0x{last - 1:x}"


def logged(arguments, isa, what, rows, cols, calls):
    command = [arguments.qemu, "-cpu", ISAS[isa], "-singlestep", "-d", "exec,nochain", "-dfilter",
               kernel_range(arguments.program, isa), arguments.program, isa, what, str(rows), str(cols), str(calls)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        count = sum(1 for line in process.stderr if line.startswith(b"Trace"))
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return count


def instructions(arguments, isa, what, rows, cols):
    count = logged(arguments, isa, what, rows, cols, 2) - logged(arguments, isa, what, rows, cols, 1)
    if count <= 0:
        raise SystemExit(f"nothing was counted for {isa} {what}")
    return count


def measure(arguments):
    results = []
    for isa in ISAS:
        for what, model in SUBJECTS:
            linear = preparation = weights = 0
            for rows, cols in model["matrices"]:
                linear += instructions(arguments, isa, what, 64, cols) * rows / 64
                weights += rows * cols
                if what == "tables":
                    preparation += instructions(arguments, isa, "build-tables", 16, cols)
            layers = model["layers"]
            results.append({"isa": isa, "kernel": what, "model": "bitnet-2b4t" if model is BITNET else "qwen2.5-1.5b",
                            "linear_per_token": round(linear * layers), "tables_per_token": round(preparation * layers),
                            "per_weight": (linear + preparation) / weights})
            print(results[-1], flush=True)
    return results


def table(results):
    lines = ["Instructions for one token's linear layers of the blocks, one thread, counted under qemu by "
             "`bench/kernels/count_instructions.py`.", "",
             "| instruction set | kernel | model | millions per token | of them building tables | per weight |", "|---|---|---|---|---|---|"]
    for r in results:
        total = (r["linear_per_token"] + r["tables_per_token"]) / 1e6
        lines.append(f"| {r['isa']} | {r['kernel']} | {r['model']} | {total:.0f} | {r['tables_per_token'] / 1e6:.1f} | {r['per_weight']:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--program", default=str(ROOT / "build" / "arm64" / "bin" / "kernel_calls"))
    parser.add_argument("--qemu", default="qemu-aarch64-static")
    arguments = parser.parse_args()
    results = measure(arguments)
    folder = ROOT / "bench" / "results"
    (folder / f"{arguments.name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{arguments.name}.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
