// A small HTTP server over llama.cpp (the prebuilt library of npm's node-llama-cpp), for serving.mjs: OpenAI's /v1/completions,
// with the continuous batching, slots and prefix cache of llama.cpp's own llama-server, of which no prebuilt program is to be
// had. Greedy. README.md says what is like llama-server and what is not.
import http from "node:http";
import {parseArgs} from "node:util";
import {getLlama} from "node-llama-cpp";

const {values: options} = parseArgs({
  options: {
    gguf: {type: "string"}, port: {type: "string", default: "0"}, threads: {type: "string", default: "2"},
    parallel: {type: "string", default: "4"},   // slots
    ctx: {type: "string", default: "4096"},     // positions of each slot
    batch: {type: "string", default: "512"},    // tokens of one decode call
  },
});
const threads = Number(options.threads), parallel = Number(options.parallel), batch = Number(options.batch);
const context_size = Number(options.ctx);
const similarity = 0.1;  // share of a prompt that a slot must hold to be chosen for it: llama-server's default

const llama = await getLlama({
  build: "never", gpu: false, maxThreads: threads, logLevel: "error",
  logger: (level, message) => process.stderr.write(`${message}\n`),
});
const model = await llama.loadModel({modelPath: options.gguf});
const context = await model.createContext({contextSize: context_size, threads, batchSize: batch, sequences: parallel,
                                           flashAttention: "auto", ignoreMemorySafetyChecks: true});
if (context._ctx.getThreads() !== threads) throw new Error(`${context._ctx.getThreads()} threads instead of ${threads}`);
const native = context._ctx, names = model._model;

function greedySampler() {
  const sampler = new llama._bindings.AddonSampler(names);
  sampler.applyConfig({temperature: 0});
  return sampler;
}

// `tokens`: whose keys and values the slot's sequence holds. `task`: whom it works for.
const slots = Array.from({length: parallel}, (_, id) => ({id, tokens: [], task: null, sampler: greedySampler(), used: 0}));
const queue = [];
let clock = 0, wake = null;

const commonLength = (a, b) => {
  let length = 0;
  while (length < a.length && length < b.length && a[length] === b[length]) ++length;
  return length;
};

// The free slot that holds most of the prompt, if that is enough of it; else the one that was not used for longest.
function chooseSlot(prompt) {
  const free = slots.filter((slot) => slot.task === null);
  if (free.length === 0) return null;
  const best = free.map((slot) => [commonLength(slot.tokens, prompt), slot]).reduce((a, b) => (b[0] > a[0] ? b : a));
  return best[0] > similarity * prompt.length ? best[1] : free.reduce((a, b) => (b.used < a.used ? b : a));
}

function begin(task, slot) {
  // The last token is computed anew whatever is cached: its logits are wanted.
  const kept = Math.min(commonLength(slot.tokens, task.prompt), task.prompt.length - 1);
  if (kept < slot.tokens.length) {
    if (kept > 0) {
      native.removeTokenCellsFromSequence(slot.id, kept, -1);
    } else {
      native.disposeSequence(slot.id);
    }
    slot.tokens.length = kept;
  }
  slot.task = task;
  slot.used = ++clock;
  task.cached = kept;
}

function end(slot, reason) {
  slot.task.finish(reason);
  slot.task = null;
  slot.used = ++clock;
}

// One decode call, as llama-server fills it: a token of every answer, then prompts in the order of the slots, up to `batch`.
async function step() {
  for (const slot of slots) {
    if (slot.task?.gone) end(slot, "cancelled");
  }
  while (queue.length > 0) {
    if (queue[0].gone) {
      queue.shift();
      continue;
    }
    const slot = chooseSlot(queue[0].prompt);
    if (slot === null) break;
    begin(queue.shift(), slot);
  }
  const busy = slots.filter((slot) => slot.task !== null);
  if (busy.length === 0) return false;
  let room = batch;
  const shares = [];
  for (const slot of busy.filter((one) => one.task.next !== undefined)) {
    shares.push({slot, ids: Uint32Array.of(slot.task.next), last: true});
    --room;
  }
  for (const slot of busy.filter((one) => one.task.next === undefined)) {
    if (room === 0) break;
    const ids = Uint32Array.from(slot.task.prompt.slice(slot.tokens.length, slot.tokens.length + room));
    shares.push({slot, ids, last: slot.tokens.length + ids.length === slot.task.prompt.length});
    room -= ids.length;
  }
  native.initBatch(batch - room);
  for (const share of shares) {
    [share.index] = native.addToBatch(share.slot.id, share.slot.tokens.length, share.ids,
                                      share.last ? Uint32Array.of(share.ids.length - 1) : new Uint32Array());
  }
  await native.decodeBatch();
  for (const {slot, ids, last, index} of shares) {
    for (const id of ids) slot.tokens.push(id);
    if (!last) continue;
    const task = slot.task, id = await native.sampleToken(index, slot.sampler);
    const over = !task.ignore_eos && names.isEogToken(id);
    if (!over) task.token(id);
    task.next = id;
    if (over || task.generated === task.most) {
      end(slot, over ? "stop" : "length");
    } else if (slot.tokens.length + 1 >= context_size) {
      end(slot, "length");
    }
  }
  return true;
}

async function run() {
  for (;;) {
    if (await step()) {
      await new Promise((resolve) => setImmediate(resolve));  // sockets have their turn
    } else {
      await new Promise((resolve) => { wake = resolve; });
    }
  }
}

const sendJson = (response, status, body) => {
  response.writeHead(status, {"content-type": "application/json"});
  response.end(JSON.stringify(body));
};
const refuse = (response, status, message) => sendJson(response, status, {error: {message, code: status}});

function complete(request, response, body) {
  const prompt = typeof body.prompt === "string" ? Array.from(names.tokenize(body.prompt, true)) : body.prompt;
  if (!Array.isArray(prompt) || prompt.length === 0 || !prompt.every(Number.isInteger)) {
    return refuse(response, 400, "a prompt is a text or a list of ids");
  }
  if (prompt.length >= context_size) {
    return refuse(response, 400, `the prompt has ${prompt.length} tokens, the context of a slot ${context_size}`);
  }
  if (body.stream !== true) return refuse(response, 400, "answers are streamed here");
  const frame = {id: "cmpl", object: "text_completion", model: body.model};
  const event = (choices, more) => response.write(`data: ${JSON.stringify({...frame, choices, ...more})}\n\n`);
  const task = {
    prompt, most: body.max_tokens ?? 16, ignore_eos: body.ignore_eos === true, generated: 0, cached: 0, next: undefined, gone: false,
    token(id) {
      ++task.generated;
      event([{index: 0, text: names.detokenize(Uint32Array.of(id)), finish_reason: null}]);
    },
    finish(reason) {
      if (task.gone) return;
      event([{index: 0, text: "", finish_reason: reason}]);
      if (body.stream_options?.include_usage) {
        event([], {usage: {prompt_tokens: prompt.length, completion_tokens: task.generated,
                           prompt_tokens_details: {cached_tokens: task.cached}}});
      }
      response.end("data: [DONE]\n\n");
    },
  };
  response.on("close", () => { task.gone = true; });
  response.writeHead(200, {"content-type": "text/event-stream"});
  response.flushHeaders();
  queue.push(task);
  wake?.();
}

const server = http.createServer((request, response) => {
  if (request.method === "GET" && request.url === "/health") return sendJson(response, 200, {status: "ok"});
  if (request.method !== "POST" || request.url !== "/v1/completions") return refuse(response, 404, "there is nothing here");
  request.socket.setNoDelay(true);
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    let body;
    try {
      body = JSON.parse(Buffer.concat(parts).toString());
    } catch {
      return refuse(response, 400, "the body is no JSON");
    }
    complete(request, response, body);
  });
});
server.listen(Number(options.port), "127.0.0.1", () => {
  process.stderr.write(`listening on http://127.0.0.1:${server.address().port}\n`);
});
process.on("SIGTERM", () => process.exit(0));
run().catch((failure) => {
  process.stderr.write(`${failure.stack}\n`);
  process.exit(1);
});
