// `edgellm serve` and llama.cpp behind an HTTP server, on the same weights, in one run, by turns, with one client for both
// (`edgellm bench --endpoint --users`): streams while a long prompt is read, many clients at once, a shared prompt. Prints a
// table and, with --json, writes everything that was measured. See README.md.
import {spawn} from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import {fileURLToPath} from "node:url";
import {parseArgs} from "node:util";
import {columns, makeShape, run, short} from "./subjects.mjs";
import {spread} from "./statistics.mjs";

const usage = `usage: node serving.mjs --edgellm PROGRAM (--shape NAME[:FORMAT] | --model FILE.edgellm [--gguf FILE.gguf])
    [--threads 2] [--rounds 3] [--streams 4] [--context 1024] [--prompt 8192] [--gaps 400] [--turn 256]
    [--clients 200] [--client-prompt 64] [--client-tokens 64] [--parallel 32] [--users 32] [--shared 2048]
    [--alone] [--serve "--backend cuda"] [--models FOLDER] [--format int4-g128] [--head int8-g128] [--json OUT.json]
  --shape     random weights of a published model's shape, with layers in FORMAT or as --format says
  --alone     EdgeLLM only: no peer (nor its node-llama-cpp) is needed
  --parallel  answers that run together while many clients ask, on both sides; the others wait
  --gaps      tokens of each stream before the long prompt, and after it
  --turn      tokens after which a stream begins anew where it stood (its prompt is cached), so that its own growth does not
              matter; 0: never
  --serve     more options for \`edgellm serve\`, divided by spaces
  --models    keep the files made for --shape there, and use those that are there already
A count of 0 (--streams, --clients, --users) leaves that part out.`;

const number = (value) => ({type: "string", default: String(value)});
const {values: options} = parseArgs({
  options: {
    edgellm: {type: "string"}, shape: {type: "string"}, model: {type: "string"}, gguf: {type: "string"},
    threads: number(2), rounds: number(3), streams: number(4), context: number(1024), prompt: number(8192), gaps: number(400), turn: number(256),
    clients: number(200), "client-prompt": number(64), "client-tokens": number(64), parallel: number(32),
    users: number(32), shared: number(2048), alone: {type: "boolean", default: false}, serve: {type: "string", default: ""},
    models: {type: "string"}, format: {type: "string", default: "int4-g128"}, head: {type: "string", default: "int8-g128"},
    json: {type: "string"}, help: {type: "boolean", default: false},
  },
});
if (options.help || !options.edgellm || Boolean(options.shape) === Boolean(options.model) ||
    (options.model && !options.gguf && !options.alone)) {
  console.error(usage);
  process.exit(2);
}
const count = (name) => Number(options[name]);
const peer = path.join(path.dirname(fileURLToPath(import.meta.url)), "llama_server.mjs");

// A part: what the client measures, and how large both servers must be for it. Streams without turns grow while the prompt is
// read: by a token for each of the prompt at the most.
const parts = [
  {name: "streams", wanted: count("streams") > 0, parallel: count("streams") + 1,
   context: Math.max(count("prompt") + 64, count("context") + (count("turn") || 2 * count("gaps") + count("prompt")) + 64),
   client: ["--users-streams", options.streams, "--users-context", options.context, "--users-long", options.prompt,
            "--users-gaps", options.gaps, "--users-turn", options.turn, "--users-clients", "0", "--users-count", "0"]},
  {name: "clients", wanted: count("clients") > 0, parallel: count("parallel"),
   context: count("client-prompt") + count("client-tokens") + 64,
   client: ["--users-clients", options.clients, "--users-client-prompt", options["client-prompt"], "--users-client-tokens",
            options["client-tokens"], "--users-streams", "0", "--users-count", "0"]},
  {name: "shared", wanted: count("users") > 0, parallel: count("users"), context: count("shared") + 128,
   client: ["--users-count", options.users, "--users-shared", options.shared, "--users-streams", "0", "--users-clients", "0"]},
].filter((part) => part.wanted);

const sides = {
  ours: ({model}, {parallel, context}) => [
    options.edgellm, ["serve", "--model", model, "--port", "0", "--quiet", "--parallel", parallel, "--ctx", context, "--threads",
                      options.threads, "--max-queue", count("clients") + 64, ...options.serve.split(" ").filter(Boolean)]],
  theirs: ({gguf}, {parallel, context}) => [
    process.execPath, [peer, "--gguf", gguf, "--parallel", parallel, "--ctx", context, "--threads", options.threads]],
};

// Starts a server; its address once it is ready.
async function start([program, args]) {
  const server = spawn(program, args.map(String), {stdio: ["ignore", "ignore", "pipe"]});
  let said = "", ended = false;
  server.stderr.on("data", (bytes) => { said += bytes; });
  server.on("exit", () => { ended = true; });
  for (;;) {
    const address = said.match(/listening on (http:\/\/\S+?)[,\s]/)?.[1];
    if (ended) throw new Error(`${program} ${args.join(" ")}: ${said.trim()}`);
    if (address && (await fetch(`${address}/health`).catch(() => null))?.status === 200) return {server, address};
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function stop(server) {
  const gone = new Promise((resolve) => server.once("exit", resolve));
  if (server.exitCode === null && server.kill("SIGTERM")) await gone;
}

async function measure(side, subject, part) {
  const {server, address} = await start(sides[side](subject, part));
  try {
    return JSON.parse(await run(options.edgellm, ["bench", subject.model, "--endpoint", address, "--users", "--rounds", "1", "--json",
                                                  ...part.client]));
  } finally {
    await stop(server);
  }
}

// The rows of the table: what is compared, and how a measurement tells it.
const rows = [
  ["streams", "between tokens before, p50 ms", (r) => r.long_prompt.itl_before_ms.p50],
  ["streams", "  p99", (r) => r.long_prompt.itl_before_ms.p99],
  ["streams", "beside the prompt, p50 ms", (r) => r.long_prompt.itl_beside_ms.p50],
  ["streams", "  p99", (r) => r.long_prompt.itl_beside_ms.p99],
  ["streams", "  max", (r) => r.long_prompt.itl_beside_ms.max],
  ["streams", "after it, p50 ms", (r) => r.long_prompt.itl_after_ms.p50],
  ["streams", "  p99", (r) => r.long_prompt.itl_after_ms.p99],
  ["streams", "p99 beside : before", (r) => r.long_prompt.p99_ratio.median],
  ["streams", "p50 beside : before", (r) => r.long_prompt.p50_ratio.median],
  ["streams", "p99 beside : after", (r) => r.long_prompt.itl_beside_ms.p99 / r.long_prompt.itl_after_ms.p99],
  ["streams", "the prompt's first token, s", (r) => r.long_prompt.ttft_ms.median / 1000],
  ["streams", "  alone", (r) => r.long_prompt.ttft_alone_ms.median / 1000],
  ["clients", "whole answers", (r) => r.clients.whole],
  ["clients", "lost", (r) => r.clients.asked - r.clients.whole],
  ["clients", "to the first token, p50 ms", (r) => r.clients.ttft_ms.p50],
  ["clients", "  p99", (r) => r.clients.ttft_ms.p99],
  ["clients", "between tokens, p50 ms", (r) => r.clients.itl_ms.p50],
  ["clients", "  p99", (r) => r.clients.itl_ms.p99],
  ["clients", "tokens/s of all", (r) => r.clients.tok_s.median],
  ["shared", "first's first token, ms", (r) => r.shared_prompt.first_ms.median],
  ["shared", "the others one by one, % of it", (r) => 100 * r.shared_prompt.one_by_one.median_ratio.median],
  ["shared", "  the slowest", (r) => 100 * r.shared_prompt.one_by_one.slowest_ratio.median],
  ["shared", "the others at once, % of it", (r) => 100 * r.shared_prompt.at_once.median_ratio.median],
  ["shared", "  the slowest", (r) => 100 * r.shared_prompt.at_once.slowest_ratio.median],
];
const titles = {
  streams: `${options.streams} streams at ${options.context} tokens beside a prompt of ${options.prompt}`,
  clients: `${options.clients} clients at once, prompts of ${options["client-prompt"]}, answers of ${options["client-tokens"]}, ` +
           `${options.parallel} together`,
  shared: `${options.users} requests over one prompt of ${options.shared}`,
};

const used = options.alone ? ["ours"] : ["ours", "theirs"];
const cell = ({median, min, max}) => (min === max ? short(median) : `${short(median)} (${short(min)} to ${short(max)})`);

function table(results) {
  const lines = [["", "EdgeLLM", ...(options.alone ? [] : ["llama.cpp"])]];
  for (const part of parts) {
    lines.push([titles[part.name], ...used.map(() => "")]);
    for (const [, name, value] of rows.filter((row) => row[0] === part.name)) {
      lines.push([`  ${name}`, ...used.map((side) => cell(spread(results[part.name].map((round) => value(round[side])))))]);
    }
  }
  return columns(lines);
}

const folder = options.models ?? fs.mkdtempSync(path.join(os.tmpdir(), "edgellm_serving_"));
try {
  fs.mkdirSync(folder, {recursive: true});
  const subject = options.shape ? await makeShape(options, options.shape, folder)
                                : {name: path.basename(options.model), model: path.resolve(options.model), gguf: options.gguf};
  subject.model = path.resolve(subject.model);
  const results = Object.fromEntries(parts.map((part) => [part.name, []]));
  for (let i = 0; i < count("rounds"); ++i) {
    for (const part of parts) {
      const round = {};
      for (const side of used) {
        console.error(`round ${i + 1} of ${options.rounds}, ${part.name}, ${side}`);
        round[side] = await measure(side, subject, part);
      }
      results[part.name].push(round);
    }
  }
  const first = results[parts[0].name][0].ours;
  console.log(`${subject.name}: ${first.machine}; ${options.threads} threads${options.serve && `; serve ${options.serve}`}; ` +
              `EdgeLLM ${first.client}; ${options.rounds} rounds by turns, medians\n\n${table(results)}`);
  if (options.json) {
    const {edgellm, models, json, model, gguf, ...settings} = options;  // where things lie on this machine is nobody's business
    for (const rounds of Object.values(results)) {
      for (const round of rounds) {
        for (const side of used) {
          delete round[side].endpoint;
          round[side].model = subject.name;
        }
      }
    }
    fs.writeFileSync(json, `${JSON.stringify({name: subject.name, settings, results}, null, 2)}\n`);
  }
} catch (failure) {
  console.error(`error: ${failure.message}`);
  process.exitCode = 1;
} finally {
  if (!options.models) fs.rmSync(folder, {recursive: true});
}
