#!/usr/bin/env python3
"""`edgellm bench` on random weights of published shapes, one after the other, into one JSON file and a table.

    python3 bench/shapes.py [--edgellm PROGRAM] [--threads N] [--isa NAME] [--itl 2000] NAME

writes bench/results/NAME.json and NAME.md. Keep the machine otherwise idle.
"""

import argparse
import json
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
SUBJECTS = [
    ("smollm-135m", "int4-g128"),
    ("qwen2.5-0.5b", "int4-g128"),
    ("qwen2.5-1.5b", "int4-g128"),
    ("bitnet-2b4t", "ternary"),
]


def measure(arguments, shape, weights):
    command = [arguments.edgellm, "bench", "--shape", shape, "--format", weights, "--head", "int8-g128", "--contexts", "128,1024",
               "--prefill", "128,512", "--itl", str(arguments.itl), "--json"]
    if arguments.threads:
        command += ["--threads", str(arguments.threads)]
    if arguments.isa:
        command += ["--isa", arguments.isa]
    print(" ".join(map(str, command[1:])), flush=True)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def spread(values):
    return f"{values['median']:.1f} ({values['min']:.1f} to {values['max']:.1f})"


def table(results):
    first = results[0]
    lines = [f"# {first['machine']}", "",
             f"`{first['isa']}`, {first['threads']} threads; head int8-g128; made by `bench/shapes.py`, commit {first['commit']}.", "",
             "| shape | weights | read GB/s | decode at 128, tok/s | of the bandwidth | decode at 1024, tok/s | of the bandwidth | "
             "prefill 128, tok/s | prefill 512, tok/s | between tokens p50 / p99 / p99.9, ms | allocations, page faults |",
             "|" + "---|" * 11]
    for r in results:
        near, far = r["decode"]
        itl = r["itl_ms"]
        lines.append(
            f"| {r['model']} | {r['format']} | {r['read_gb_s']:.1f} | {spread(near['tok_s'])} | {100 * near['share']:.0f} % | "
            f"{spread(far['tok_s'])} | {100 * far['share']:.0f} % | {spread(r['prefill'][0]['tok_s'])} | "
            f"{spread(r['prefill'][1]['tok_s'])} | {itl['p50']:.2f} / {itl['p99']:.2f} / {itl['p999']:.2f} | "
            f"{r['allocations']}, {r['page_faults']['minor']}+{r['page_faults']['major']} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--edgellm", default=ROOT / "build" / "release" / "bin" / "edgellm")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--isa")
    parser.add_argument("--itl", type=int, default=2000)
    arguments = parser.parse_args()
    results = [measure(arguments, shape, weights) for shape, weights in SUBJECTS]
    folder = ROOT / "bench" / "results"
    (folder / f"{arguments.name}.json").write_text(json.dumps(results, indent=1) + "\n")
    text = table(results)
    (folder / f"{arguments.name}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
