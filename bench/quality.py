#!/usr/bin/env python3
"""What each weight format costs a model in quality, on text that it was not calibrated on: perplexity, KL divergence, bytes.

  bench/quality.py MODEL --books FOLDER [--program build/dev/bin/edgellm] [--characters 60000] [--name sibling] [--only ROW ...]

FOLDER holds books.train.jsonl.xz, from which the calibration text is cut (a passage from the middle of every book), and
books.dev.jsonl, books of other authors that the model was not trained on, from which the scored text is cut (the same number of
characters from the beginning of every book). Prints a table and writes bench/results/quality-NAME.json and .md.
"""

import argparse
import datetime
import json
import lzma
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CALIBRATION_PASSAGE = 4000  # characters of each training book


def variants():
    """(name, options of `quantize`), in the order of the table."""
    for group in (32, 64, 128):
        yield f"int8-g{group}", ["--format", f"int8-g{group}"]
        yield f"int8-g{group} calibrated", ["--format", f"int8-g{group}", "CALIBRATE"]
    for zero in ("", "-z"):
        for group in (32, 64, 128):
            name = f"int4-g{group}{zero}"
            yield f"{name} plain rounding", ["--format", name, "--scales", "largest"]
            yield f"{name} least error", ["--format", name]
            yield f"{name} calibrated", ["--format", name, "CALIBRATE"]
    yield "int4-g32, head int4-g32: plain rounding", ["--format", "int4", "--head", "int4-g32", "--scales", "largest"]
    yield "int4-g32, head int4-g32: calibrated", ["--format", "int4", "--head", "int4-g32", "CALIBRATE"]


def write_texts(books, folder, characters):
    calibration, evaluation = folder / "calibration.txt", folder / "evaluation.txt"
    passages = []
    with lzma.open(books / "books.train.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            text = json.loads(line)["text"]
            passages.append(text[len(text) // 2:][:CALIBRATION_PASSAGE])
    calibration.write_text("\n\n".join(passages), encoding="utf-8")
    held_out = [json.loads(line)["text"] for line in (books / "books.dev.jsonl").open(encoding="utf-8")]
    evaluation.write_text("\n\n".join(text[: characters // len(held_out)] for text in held_out), encoding="utf-8")
    return calibration, evaluation


def measure(program, model, options, folder, calibration, evaluation):
    if "CALIBRATE" in options:
        options = [option for option in options if option != "CALIBRATE"] + ["--calibrate", str(calibration)]
    command = [program, "quantize", model, str(folder / "result"), "--golden", "0", "--json", "--eval", str(evaluation)]
    return json.loads(subprocess.run(command + options, check=True, stdout=subprocess.PIPE).stdout)


def row_of(name, result):
    cost = result["perplexity"]
    return {
        "name": name,
        "weight_bytes": result["weight_bytes"],
        "bits_per_weight": round(result["bits_per_weight"], 3),
        "perplexity": round(cost["after"], 4),
        "perplexity_standard_error": round(cost["after_standard_error"], 4),
        "loss_percent": round((cost["after"] / cost["before"] - 1) * 100, 3),
        "loss_percent_standard_error": round(cost["nll_difference_standard_error"] * cost["after"] / cost["before"] * 100, 3),
        "mean_kl": round(cost["mean_kl"], 6),
        "mean_kl_standard_error": round(cost["mean_kl_standard_error"], 6),
        "top1_agreement": round(cost["top1_agreement"], 4),
    }


def to_markdown(report):
    lines = [
        f"# Quality of {report['model']}, format by format", "",
        f"{report['scored_tokens']} tokens of held-out books in windows of 512; calibration on {report['calibration']}. "
        f"Perplexity before: {report['perplexity']:.3f} ± {report['perplexity_standard_error']:.3f}, "
        f"{report['weight_bytes']:,} bytes. The error of the loss is that of both models on the same tokens. "
        f"Made by `bench/quality.py` on {report['date']}, commit {report['commit']}.", "",
        "| weights | bytes | bits a weight | perplexity | loss | KL, nats a token | same first choice |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        lines.append(
            f"| {row['name']} | {row['weight_bytes']:,} | {row['bits_per_weight']:.2f} | {row['perplexity']:.3f} | "
            f"{row['loss_percent']:+.2f} % ± {row['loss_percent_standard_error']:.2f} | "
            f"{row['mean_kl']:.5f} ± {row['mean_kl_standard_error']:.5f} | {row['top1_agreement'] * 100:.1f} % |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--books", type=pathlib.Path, required=True)
    parser.add_argument("--program", default=str(ROOT / "build" / "dev" / "bin" / "edgellm"))
    parser.add_argument("--characters", type=int, default=60_000)
    parser.add_argument("--name", default="sibling", help="of the result files")
    parser.add_argument("--only", nargs="*", help="only these rows, by their whole names")
    arguments = parser.parse_args()
    commit = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, text=True)
    report = {"model": pathlib.Path(arguments.model).name, "date": datetime.date.today().isoformat(), "commit": commit.stdout.strip(),
              "calibration": "16,384 tokens of the training books"}
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        calibration, evaluation = write_texts(arguments.books, folder, arguments.characters)
        for label, options in variants():
            if arguments.only and label not in arguments.only:
                continue
            result = measure(arguments.program, arguments.model, options, folder, calibration, evaluation)
            cost = result["perplexity"]
            report.update(scored_tokens=cost["scored_tokens"], perplexity=cost["before"],
                          perplexity_standard_error=cost["before_standard_error"],
                          weight_bytes=result["source_weight_bytes"])
            rows.append(row_of(label, result))
            report["rows"] = rows
            print(to_markdown(report).splitlines()[-1], file=sys.stderr, flush=True)
    results = ROOT / "bench" / "results"
    results.mkdir(parents=True, exist_ok=True)
    (results / f"quality-{arguments.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    (results / f"quality-{arguments.name}.md").write_text(to_markdown(report))
    print(to_markdown(report), end="")


if __name__ == "__main__":
    main()
