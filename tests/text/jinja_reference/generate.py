"""Writes what the tests of the chat templates expect, from the two reference implementations.

  npm ci && python3 generate.py [FOLDER-OF-CHAT-TEMPLATES]

Needs Python's jinja2 and node. Rewrites in ../data: jinja_cases.json (keeps templates and context, renews the expected
results) and, where a folder of *.jinja files is given, chat_templates_expected.json (the conversations of
chat_conversations.json through each of them; the outputs only).
"""

import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DATA = HERE.parent / "data"


def rendered(cases):
    """The results of jinja2 and of @huggingface/jinja."""
    text = json.dumps(cases)
    results = []
    for command in ([sys.executable, HERE / "reference_jinja2.py"], ["node", HERE / "reference_huggingface.mjs"]):
        run = subprocess.run(command, input=text, capture_output=True, text=True, check=True, encoding="utf-8")
        results.append(json.loads(run.stdout))
    return zip(*results)


def expectation(jinja2, huggingface):
    """What jinja2 gives; and what the other gives where that is something else."""
    result = dict(jinja2)
    same = jinja2.get("output") == huggingface.get("output")  # two errors are the same, whatever their texts
    if not same:
        result["huggingface"] = huggingface
    return result


def write(path, head, rows):
    """JSON with a row a line, so that changes can be read."""
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"{head}[\n{lines}\n]" + ("}\n" if head else "\n"), encoding="utf-8")


def generate_cases():
    path = DATA / "jinja_cases.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    cases = [{"template": case["template"], "context": file["context"]} for case in file["cases"]]
    rows = [{"name": case["name"], "template": case["template"], **expectation(*results)}
            for case, results in zip(file["cases"], rendered(cases))]
    write(path, '{"context": ' + json.dumps(file["context"], ensure_ascii=False) + ',\n "cases": ', rows)


def generate_transcripts(folder):
    conversations = json.loads((DATA / "chat_conversations.json").read_text(encoding="utf-8"))
    names, cases = [], []
    for path in sorted(folder.glob("*.jinja")):
        for conversation in conversations:
            names.append({"template": path.stem, "conversation": conversation["name"]})
            # Read as bytes: Python would normalise line ends, and that is the templates' own business.
            cases.append({"template": path.read_bytes().decode("utf-8"), "context": conversation["context"]})
    rows = [{**name, **expectation(*results)} for name, results in zip(names, rendered(cases))]
    write(DATA / "chat_templates_expected.json", "", rows)


generate_cases()
if len(sys.argv) > 1:
    generate_transcripts(pathlib.Path(sys.argv[1]))
