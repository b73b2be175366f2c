// Does llama.cpp read what we export, and say the same? For each source (a model file, a folder, a llama2.c checkpoint): export
// it to GGUF with our program, load that in llama.cpp (the prebuilt library of npm's node-llama-cpp), compare token ids of
// awkward texts and greedy continuations. Sources with a golden.json beside them are compared with that instead.
// Not part of the tests: it downloads a binary. See README.md.
import {execFileSync} from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";

const texts = ["Hello world", " Hello  world   \n\n\t x", "It's 12345.678, isn't IT?", "café naïve 日本語 \u{1f600}",
               "def f(x):\n    return x+1  # ok\r\n"];
const prompts = ["Once upon a time", "The capital of France is", "def add(a, b):"];
const continuationLength = 48;
const smallestDecisiveGap = 0.01;  // of logits that go up to about 12: two f16 roundings in 2,048 each

const {values: options, positionals: sources} = parseArgs({
  allowPositionals: true,
  options: {edgellm: {type: "string", default: "edgellm"}, type: {type: "string", default: "f16"}},
});
if (sources.length === 0) {
  console.error("usage: node check.mjs [--edgellm PROGRAM] [--type f16|q8_0|q4_0] SOURCE...");
  process.exit(2);
}

const edgellm = (args, input) => execFileSync(options.edgellm, args, {input, encoding: "utf8", maxBuffer: 1 << 28});
const equal = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
let failures = 0;

// `certain`: a difference is a mistake. It is none where two logits were closer than llama.cpp's own arithmetic is exact (it
// rounds activations to f16 for F16 weights, and to 8 bits by rules of its own for Q8_0 and Q4_0).
function report(what, ours, theirs, certain) {
  const same = equal(ours, theirs);
  if (!same && certain) ++failures;
  console.log(`  ${same ? "same" : certain ? "DIFFERENT" : "apart"}  ${what}`);
  if (!same) console.log(`    ours    ${ours.join(" ")}\n    theirs  ${theirs.join(" ")}`);
}

// The golden checkpoints have no tokenizer, and llama.cpp's binding needs one: any will do where prompts are ids.
function withStandInTokenizer(source, folder) {
  const copy = path.join(folder, "source");
  fs.cpSync(source, copy, {recursive: true});
  const size = JSON.parse(fs.readFileSync(path.join(source, "config.json"), "utf8")).vocab_size;
  const vocab = Object.fromEntries(Array.from({length: size}, (_, id) => [id === 0 ? "Ċ" : `t${id}`, id]));
  fs.writeFileSync(path.join(copy, "tokenizer.json"), JSON.stringify({
    version: "1.0",
    added_tokens: [{id: size - 1, content: `t${size - 1}`, special: true}],
    pre_tokenizer: {type: "ByteLevel", add_prefix_space: false, use_regex: true},
    decoder: {type: "ByteLevel"},
    model: {type: "BPE", vocab, merges: []},
  }));
  return copy;
}

async function continuation(sequence, ids, length) {
  await sequence.clearHistory();
  const out = [];
  for await (const id of sequence.evaluate(ids, {temperature: 0, yieldEogToken: true})) {
    out.push(id);
    if (out.length >= length) break;
  }
  return out;
}

async function checkGolden(sequence, golden) {
  for (const prompt of golden.prompts) {
    const theirs = await continuation(sequence, prompt.ids, prompt.greedy.length);
    report(`greedy after ${prompt.ids.length} ids (gap ${prompt.smallest_gap.toFixed(4)})`, prompt.greedy, theirs,
           options.type === "f16" && prompt.smallest_gap >= smallestDecisiveGap);
  }
}

async function checkTexts(model, sequence, source, gguf) {
  const ids = (text, flags = []) => edgellm(["tokenize", source, ...flags], text).trim().split(/\s+/).map(Number);
  for (const text of texts) report(`ids of ${JSON.stringify(text)}`, ids(text), [...model.tokenize(text, false)], true);
  for (const prompt of prompts) {
    // Our program on the exported file: both sides then compute with the same weights.
    const ours = JSON.parse(edgellm(["run", gguf, prompt, "--raw", "--temperature", "0", "-n", String(continuationLength),
                                     "--json"])).tokens;
    const theirs = await continuation(sequence, ids(prompt, ["--add-special"]), ours.length);
    report(`greedy after ${JSON.stringify(prompt)}`, ours, theirs, options.type === "f16");
  }
}

const llama = await getLlama({build: "never", gpu: false, logLevel: "error"});
for (const source of sources) {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "peer_check_"));
  try {
    console.log(`${source} as ${options.type}`);
    const goldenPath = path.join(source, "golden.json");
    const hasGolden = fs.existsSync(goldenPath);
    const gguf = path.join(folder, "model.gguf");
    edgellm(["convert", hasGolden ? withStandInTokenizer(source, folder) : source, gguf, "--type", options.type]);
    const model = await llama.loadModel({modelPath: gguf});
    // One thread: the models are small, and spinning threads make a busy machine crawl.
    const context = await model.createContext({contextSize: 256, threads: 1});
    const sequence = context.getSequence();
    if (hasGolden) await checkGolden(sequence, JSON.parse(fs.readFileSync(goldenPath, "utf8")));
    else await checkTexts(model, sequence, source, gguf);
    await model.dispose();
  } finally {
    fs.rmSync(folder, {recursive: true});
  }
}
console.log(failures === 0 ? "all the same" : `${failures} differences`);
process.exit(failures === 0 ? 0 : 1);
