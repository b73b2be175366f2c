// EdgeLLM and llama.cpp on the same weights, in one run: whole processes by turns, A B A B, so that a machine that drifts
// drifts for both. Prints a table and, with --json, writes everything that was measured. See README.md.
import {spawn} from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";
import {columns, makeShape, run, spreadText} from "./subjects.mjs";
import {median} from "./statistics.mjs";

const usage = `usage: node llama_cpp.mjs --edgellm PROGRAM (--shape NAME[:FORMAT] ... | --model FILE.edgellm --gguf FILE.gguf)
    [--threads 2] [--rounds 3] [--contexts 128] [--prefill 128,512] [--tokens 64] [--itl 500] [--load]
    [--format int4-g128] [--head int8-g128] [--models FOLDER] [--json OUT.json]
  --shape    random weights of a published model's shape, made by \`edgellm bench --save\`, with layers in FORMAT or as
             --format says; may be given again
  --load     the times between tokens once more, while another process keeps one core busy
  --models   keep the files made for --shape there, and use those that are there already`;

const {values: options} = parseArgs({
  options: {
    edgellm: {type: "string"}, shape: {type: "string", multiple: true, default: []}, model: {type: "string"},
    gguf: {type: "string"}, threads: {type: "string", default: "2"}, rounds: {type: "string", default: "3"},
    contexts: {type: "string", default: "128"}, prefill: {type: "string", default: "128,512"},
    tokens: {type: "string", default: "64"}, itl: {type: "string", default: "500"},
    format: {type: "string", default: "int4-g128"}, head: {type: "string", default: "int8-g128"},
    load: {type: "boolean", default: false}, models: {type: "string"}, json: {type: "string"},
    help: {type: "boolean", default: false},
  },
});
if (options.help || !options.edgellm || (options.shape.length > 0) === Boolean(options.model && options.gguf)) {
  console.error(usage);
  process.exit(2);
}
const worker = path.join(path.dirname(fileURLToPath(import.meta.url)), "peer_worker.mjs");

const lengths = (contexts, prefill, tokens, rounds) => [
  "--threads", options.threads, "--contexts", contexts, "--prefill", prefill, "--tokens", tokens, "--itl", options.itl,
  "--rounds", rounds];
const full = lengths(options.contexts, options.prefill, options.tokens, "3");
const tokenTimesOnly = lengths("32", "32", "1", "1");

const sides = {
  ours: async (subject, args) => JSON.parse(await run(options.edgellm, ["bench", subject.model, ...args, "--json"])),
  theirs: async (subject, args) => JSON.parse(await run(process.execPath, [worker, "--gguf", subject.gguf, ...args])),
};

async function underLoad(measure) {
  const busy = spawn(process.execPath, ["-e", "for (;;);"], {stdio: "ignore"});
  try {
    return await measure();
  } finally {
    busy.kill("SIGKILL");
  }
}

async function measureRound(subject) {
  const round = {};
  for (const side of ["ours", "theirs"]) round[side] = await sides[side](subject, full);
  if (!options.load) return round;
  for (const side of ["ours", "theirs"]) {
    round[side].itl_ms_under_load = (await underLoad(() => sides[side](subject, tokenTimesOnly))).itl_ms;
  }
  return round;
}

// The rows of the table: what is compared, and how a round of one side tells it (a number, or a spread of numbers).
function figures(round) {
  const rows = [];
  const add = (name, ours, theirs = ours) => rows.push({name, ours, theirs});
  round.ours.decode.forEach(({context}, i) => {
    add(`decode at ${context}, tok/s`, (side) => side.decode[i].tok_s);
    add("  against its own clock", (side) => side.decode[i].tok_s, (side) => side.decode[i].own_clock_tok_s);
  });
  round.ours.prefill.forEach(({tokens}, i) => add(`prefill of ${tokens}, tok/s`, (side) => side.prefill[i].tok_s));
  add("time to first token, ms", (side) => side.ttft_ms);
  for (const [title, key] of [["between tokens", "itl_ms"], ["  under load", "itl_ms_under_load"]]) {
    if (!round.ours[key]) continue;
    add(`${title} p50, ms`, (side) => side[key].p50);
    add(`${title} p99, ms`, (side) => side[key].p99);
    add(`${title} p99/p50`, (side) => side[key].p99 / side[key].p50);
  }
  add("peak memory, MB", (side) => side.rss_mb);
  return rows;
}

const middle = (value) => (typeof value === "number" ? value : value.median);
const summary = (values) => ({
  median: median(values.map(middle)),
  min: Math.min(...values.map((value) => (typeof value === "number" ? value : value.min))),
  max: Math.max(...values.map((value) => (typeof value === "number" ? value : value.max))),
});

function compare(rounds) {
  return figures(rounds[0]).map(({name, ours, theirs}) => {
    const ratios = rounds.map((round) => middle(ours(round.ours)) / middle(theirs(round.theirs)));
    return {name, ours: summary(rounds.map((round) => ours(round.ours))),
            theirs: summary(rounds.map((round) => theirs(round.theirs))), ratios, ratio: median(ratios)};
  });
}

function table(rows) {
  const lines = [["", "EdgeLLM", "llama.cpp", "EdgeLLM / llama.cpp, by round", "median"]];
  for (const row of rows) {
    lines.push([row.name, spreadText(row.ours), spreadText(row.theirs),
                row.ratios.map((ratio) => ratio.toFixed(3)).join(" "), row.ratio.toFixed(3)]);
  }
  return columns(lines);
}

function head(subject, {ours, theirs}) {
  const size = (file) => `${(fs.statSync(file).size / 1e6).toFixed(1)} MB`;
  const peer = theirs.llama_cpp;
  const buffers = Object.entries(peer.buffers_mib).map(([name, mib]) => `${name} ${mib} MiB`).join(", ");
  return [`${subject.name}: ${ours.machine}; memory read at ${ours.read_gb_s.toFixed(1)} GB/s; ${ours.threads} threads`,
          `  EdgeLLM ${ours.commit}: ${ours.format}, ${size(subject.model)}, ${ours.isa}`,
          `  ${theirs.commit}: ${theirs.format}, ${size(subject.gguf)}, ${peer.cpu_library}, flash attention ` +
          `${peer.flash_attention}, ${buffers}${peer.repack_layouts.length > 0 ? `, repacked as ${peer.repack_layouts}` : ""}`,
         ].join("\n");
}

async function measureSubject(subject) {
  const rounds = [];
  for (let i = 0; i < Number(options.rounds); ++i) {
    console.error(`${subject.name}: round ${i + 1} of ${options.rounds}`);
    rounds.push(await measureRound(subject));
  }
  const rows = compare(rounds);
  console.log(`${head(subject, rounds[0])}\n\n${table(rows)}\n`);
  const {edgellm, models, json, ...settings} = options;  // where things lie on this machine is nobody's business
  return {name: subject.name, settings, comparison: rows, rounds};
}

const folder = options.models ?? fs.mkdtempSync(path.join(os.tmpdir(), "edgellm_peers_"));
const results = [];
try {
  fs.mkdirSync(folder, {recursive: true});
  if (options.model) results.push(await measureSubject({name: path.basename(options.model), model: options.model, gguf: options.gguf}));
  for (const name of options.shape) results.push(await measureSubject(await makeShape(options, name, folder)));
} catch (failure) {
  console.error(`error: ${failure.message}`);
  process.exitCode = 1;
} finally {
  if (!options.models) fs.rmSync(folder, {recursive: true});
}
if (options.json) fs.writeFileSync(options.json, `${JSON.stringify(results, null, 2)}\n`);
