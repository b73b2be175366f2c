#!/usr/bin/env python3
"""`ternary_bench` on this machine into bench/results/NAME.json and a table, NAME.md. Keep the machine otherwise idle.

    cmake --preset release && cmake --build --preset release --target ternary_bench
    python3 bench/kernels/ternary.py [--threads 1,2] NAME [JSON...]

JSON: files that ternary_bench wrote already, instead of running it.
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
KERNELS = ("dot", "tables", "dense")


def table(results):
    lines = ["One token through the ternary layers of BitNet b1.58 2B4T, made by `bench/kernels/ternary.py`: thousand million weights per "
             "second (median), the fastest in bold; \"in the cache\" is one layer of 17 MB again and again.", "",
             "| instruction set | threads | read GB/s | matrices | dot | tables | dense |", "|---|---|---|---|---|---|---|"]
    for r in results:
        rates = [r["kernels"][k]["gweights_s"]["median"] for k in KERNELS]
        cells = [f"**{x:.1f}**" if x == max(rates) else f"{x:.1f}" for x in rates]
        lines.append(f"| {r['isa']} | {r['threads']} | {r['read_gb_s']:.1f} | {r['matrices']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("measured", nargs="*")
    parser.add_argument("--program", default=ROOT / "build" / "release" / "bin" / "ternary_bench")
    parser.add_argument("--threads", default="1,2")
    arguments = parser.parse_args()
    if arguments.measured:
        results = [entry for path in arguments.measured for entry in json.loads(pathlib.Path(path).read_text())]
    else:
        results = json.loads(subprocess.run([arguments.program, "--threads", arguments.threads], check=True,
                                            capture_output=True, text=True).stdout)
    folder = ROOT / "bench" / "results"
    (folder / f"{arguments.name}.json").write_text(json.dumps(results, indent=1) + "\n")
    (folder / f"{arguments.name}.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
