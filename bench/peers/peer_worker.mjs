// Measures llama.cpp (the prebuilt CPU library of npm's node-llama-cpp) on one GGUF file and prints the JSON fields of
// `edgellm bench --json`, plus what only llama.cpp can say of itself. A process of its own, started by llama_cpp.mjs: whoever
// is measured has the machine alone. Not an inference program: prompts are random ids, what is generated is thrown away.
import os from "node:os";
import path from "node:path";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";
import {percentiles, spread} from "./statistics.mjs";

const batchSize = 512;    // llama.cpp's default for a physical batch
const itlPrompt = 32;

const numbers = (text) => text.split(",").filter((part) => part !== "").map(Number);
const {values: options} = parseArgs({
  options: {
    gguf: {type: "string"},
    threads: {type: "string", default: "2"},
    contexts: {type: "string", default: "128"},
    prefill: {type: "string", default: "128,512"},
    tokens: {type: "string", default: "64"},
    itl: {type: "string", default: "500"},
    rounds: {type: "string", default: "3"},
  },
});
const threads = Number(options.threads), tokens = Number(options.tokens), itl = Number(options.itl);
const repetitions = Number(options.rounds);  // after one that is not counted
const contexts = numbers(options.contexts), prefill = numbers(options.prefill);

const now = () => Number(process.hrtime.bigint()) / 1e6;  // ms

// What the library chose is told by its log alone.
const chosen = {cpu_library: "unknown", repack_layouts: [], buffers_mib: {}, flash_attention: "unknown"};
let evalTime;  // of the last printTimings: ms a token by llama.cpp's own clock
function readLog(message) {  // the binding may join several lines
  for (const [, library] of message.matchAll(/loaded CPU backend from (\S+)/g)) chosen.cpu_library = path.basename(library);
  for (const [, layout] of message.matchAll(/repack tensor \S+ with (\w+)/g)) {
    if (!chosen.repack_layouts.includes(layout)) chosen.repack_layouts.push(layout);
  }
  for (const [, name, size] of message.matchAll(/load_tensors:\s+(\S+) model buffer size =\s+([\d.]+) MiB/g)) {
    chosen.buffers_mib[name] = Number(size);
  }
  for (const [, state] of message.matchAll(/Flash Attention (enabled|disabled)/g)) chosen.flash_attention = state;
  for (const [, time, runs] of message.matchAll(/[: ]eval time =\s+([\d.]+) ms \/\s+(\d+) runs/g)) {
    evalTime = Number(time) / Number(runs);
  }
}

// llama.cpp's own time a token since the last call, in ms. It comes through the log, a little later.
async function ownTime(context) {
  evalTime = undefined;
  context.printTimings();
  for (let i = 0; i < 100 && evalTime === undefined; ++i) await new Promise((resolve) => setTimeout(resolve, 5));
  if (evalTime === undefined) throw new Error("llama.cpp's log does not tell its own time any more");
  return evalTime;
}

// One sequence over the binding's own context object: the public API schedules batches of many sequences for each token,
// which costs more than the token of a small model. The package's version is pinned for this.
class Sequence {
  constructor(llama, model, context) {
    this.context = context._ctx;
    this.sampler = new llama._bindings.AddonSampler(model._model);
    this.sampler.applyConfig({temperature: 0});
    this.position = 0;
  }

  clear() {
    this.context.disposeSequence(0);
    this.position = 0;
  }

  // Evaluates the ids in batches; the greedy token after the last.
  async append(ids) {
    let index;
    for (let start = 0; start < ids.length; start += batchSize) {
      const part = ids.subarray(start, start + batchSize);
      const last = start + part.length === ids.length;
      this.context.initBatch(part.length);
      [index] = this.context.addToBatch(0, this.position, part, last ? Uint32Array.of(part.length - 1) : new Uint32Array());
      await this.context.decodeBatch();
      this.position += part.length;
    }
    return this.context.sampleToken(index, this.sampler);
  }
}

// Ids from all over the vocabulary, the same in each run.
function randomIds(count, vocabulary) {
  let state = 1;
  return Uint32Array.from({length: count}, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * vocabulary);
  });
}

// Milliseconds between consecutive tokens after a prompt, and llama.cpp's own time a token.
async function timeTokens(sequence, prompt, count) {
  sequence.clear();
  let id = await sequence.append(prompt);
  await ownTime(sequence.context);
  const gaps = new Float64Array(count);
  let last = now();
  for (let i = 0; i < count; ++i) {
    id = await sequence.append(Uint32Array.of(id));
    const time = now();
    gaps[i] = time - last;
    last = time;
  }
  return {gaps, own: await ownTime(sequence.context)};
}

async function measureDecode(sequence, ids, context, bytes) {
  const rates = [], own = [];
  for (let i = 0; i <= repetitions; ++i) {
    const times = await timeTokens(sequence, ids.subarray(0, context), tokens);
    if (i === 0) continue;
    rates.push(1000 * tokens / times.gaps.reduce((a, b) => a + b, 0));
    own.push(1000 / times.own);
  }
  const rate = spread(rates);
  return {context, tok_s: rate, gb_s: rate.median * bytes / 1e9, own_clock_tok_s: spread(own)};
}

// Milliseconds from the prompt to its first token.
async function measurePrefill(sequence, ids, count) {
  const times = [];
  for (let i = 0; i <= repetitions; ++i) {
    sequence.clear();
    const start = now();
    await sequence.append(ids.subarray(0, count));
    if (i > 0) times.push(now() - start);
  }
  return times;
}

// Bytes of weights that one token reads: all matrices, but of an embedding that is not also the head only a row.
function bytesPerToken(model) {
  const tensors = model.fileInfo.tensorInfo;
  const untied = tensors.some((tensor) => tensor.name === "output.weight");
  const bindings = model._llama._bindings;
  return tensors.filter((tensor) => !(untied && tensor.name === "token_embd.weight")).reduce((sum, tensor) => {
    const count = tensor.dimensions.reduce((product, size) => product * Number(size), 1);
    return sum + count / bindings.getBlockSizeForGgmlType(tensor.ggmlType) * bindings.getTypeSizeForGgmlType(tensor.ggmlType);
  }, 0);
}

const llama = await getLlama({
  build: "never", gpu: false, maxThreads: threads, logLevel: "debug",
  logger: (level, message) => {
    readLog(message);
    if (level === "error" || level === "fatal") process.stderr.write(`${message}\n`);
  },
});
const model = await llama.loadModel({modelPath: options.gguf});
const longest = Math.max(...contexts.map((size) => size + tokens), itlPrompt + itl, ...prefill) + 1;
const context = await model.createContext({contextSize: longest, threads, batchSize, sequences: 1, flashAttention: "auto",
                                           performanceTracking: true, ignoreMemorySafetyChecks: true});
if (context._ctx.getThreads() !== threads) throw new Error(`${context._ctx.getThreads()} threads instead of ${threads}`);
const sequence = new Sequence(llama, model, context);
const vocabulary = Number(model.fileInfo.tensorInfo.find((tensor) => tensor.name === "token_embd.weight").dimensions[1]);
const ids = randomIds(longest, vocabulary);
const bytes = bytesPerToken(model);

const result = {
  machine: `${os.cpus()[0]?.model ?? "unknown processor"}, ${os.availableParallelism()} core(s)`,
  commit: `llama.cpp ${llama.llamaCppRelease.release}`,
  model: path.basename(options.gguf), format: model.typeDescription, backend: "llama.cpp",
  isa: chosen.cpu_library.replace(/^libggml-cpu-?|\.so$/g, ""), threads, bytes_per_token: bytes,
};
result.decode = [];
for (const size of contexts) result.decode.push(await measureDecode(sequence, ids, size, bytes));
result.prefill = [];
for (const size of prefill) {
  const times = await measurePrefill(sequence, ids, size);
  result.prefill.push({tokens: size, tok_s: spread(times.map((time) => 1000 * size / time))});
  result.ttft_ms ??= spread(times).median;
}
if (itl > 0) {
  const before = process.resourceUsage();
  const {gaps} = await timeTokens(sequence, ids.subarray(0, itlPrompt), itl);
  const after = process.resourceUsage();
  result.itl_ms = {tokens: itl, ...percentiles(gaps)};
  result.page_faults = {minor: after.minorPageFault - before.minorPageFault,  // of the prompt as well
                        major: after.majorPageFault - before.majorPageFault};
}
result.rss_mb = process.resourceUsage().maxRSS * 1024 / 1e6;
result.llama_cpp = {...chosen, system: llama.systemInfo.trim(), batch: batchSize};
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
