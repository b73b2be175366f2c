// Ollama's own client against Ollama's routes.
import assert from "node:assert/strict";
import { Ollama } from "ollama";
import { all, callQuestion, failure, isCount, model, question, run, schema, test, url, weather } from "./suite.mjs";

const client = new Ollama({ host: url });
const options = { num_predict: 12, temperature: 0, seed: 1 };
const tools = [{ type: "function", function: weather }];

function checkEnd(end) {
  assert.equal(end.done, true);
  assert.ok(["stop", "length"].includes(end.done_reason), end.done_reason);
  for (const key of ["total_duration", "prompt_eval_count", "eval_count"]) assert.ok(end[key] > 0, key);
  assert.ok(!Number.isNaN(Date.parse(end.created_at)));
  assert.equal(end.model, model);
}

test("generate", "", async () => {
  const answer = await client.generate({ model, prompt: "One two three", stream: false, options });
  assert.ok(answer.response.length > 0);
  assert.ok(Array.isArray(answer.context) && answer.context.every(isCount));
  checkEnd(answer);
});

test("generate, in a stream", "", async () => {
  const parts = await all(await client.generate({ model, prompt: "One two three", stream: true, options }));
  assert.ok(parts.length > 2);
  assert.ok(parts.slice(0, -1).every((part) => part.done === false));
  assert.ok(parts.map((part) => part.response).join("").length > 0);
  checkEnd(parts.at(-1));
});

test("generate with the context of an earlier answer", "", async () => {
  const first = await client.generate({ model, prompt: "One two three", stream: false, options });
  const next = await client.generate({ model, prompt: "Four five", context: first.context, stream: false, options });
  assert.ok(next.prompt_eval_count > 0);
  checkEnd(next);
});

test("raw", "", async () => {
  checkEnd(await client.generate({ model, prompt: "Once upon a time there was", raw: true, stream: false, options }));
});

test("load and unload", "", async () => {
  const load = await client.generate({ model, prompt: "", stream: false });
  assert.equal(load.done_reason, "load");
  const unload = await client.chat({ model, messages: [], keep_alive: 0, stream: false });
  assert.equal(unload.done_reason, "unload");
});

test("chat", "", async () => {
  const answer = await client.chat({ model, messages: question, stream: false, options });
  assert.equal(answer.message.role, "assistant");
  assert.ok(answer.message.content.length > 0);
  checkEnd(answer);
});

test("chat, in a stream", "", async () => {
  const parts = await all(await client.chat({ model, messages: question, stream: true, options }));
  assert.ok(parts.length > 2);
  assert.ok(parts.map((part) => part.message.content).join("").length > 0);
  checkEnd(parts.at(-1));
});

test("a limit of tokens ends with length", "", async () => {
  const answer = await client.chat({ model, messages: question, stream: false, options: { ...options, num_predict: 2 } });
  assert.equal(answer.done_reason, "length");
  assert.equal(answer.eval_count, 2);
});

test("the same seed says the same", "", async () => {
  const ask = () => client.chat({ model, messages: question, stream: false, options: { ...options, temperature: 1, seed: 5 } });
  assert.equal((await ask()).message.content, (await ask()).message.content);
});

test("thinking", "thinking", async () => {
  const parts = await all(await client.chat({ model, messages: question, think: true, stream: true, options: { num_predict: 40 } }));
  assert.ok(parts.some((part) => part.message.thinking?.length > 0));
});

test("tools", "tools", async () => {
  const answer = await client.chat({ model, messages: callQuestion, tools, stream: false, options: { temperature: 0, num_predict: 60 } });
  const [call] = answer.message.tool_calls;
  assert.equal(call.function.name, "weather");
  assert.equal(typeof call.function.arguments, "object");
  const next = await client.chat({
    model, tools, stream: false, options,
    messages: [...callQuestion, answer.message, { role: "tool", tool_name: "weather", content: "rain" }],
  });
  checkEnd(next);
});

test("tools, in a stream", "tools", async () => {
  const parts = await all(await client.chat({ model, messages: callQuestion, tools, stream: true, options: { temperature: 0, num_predict: 60 } }));
  const calls = parts.flatMap((part) => part.message.tool_calls ?? []);
  assert.equal(calls[0].function.name, "weather");
  assert.equal(typeof calls[0].function.arguments, "object");
});

test("JSON and schemas", "schema", async () => {
  for (const format of ["json", schema]) {
    const answer = await client.chat({ model, messages: question, format, stream: false, options: { temperature: 0, num_predict: 200 } });
    if (answer.done_reason === "length") continue;
    const value = JSON.parse(answer.message.content);
    if (format === schema) assert.equal(typeof value.ok, "boolean");
  }
});

test("log-probabilities", "", async () => {
  const answer = await client.chat({ model, messages: question, logprobs: true, top_logprobs: 3, stream: false, options });
  assert.equal(answer.logprobs.length, answer.eval_count);
  for (const token of answer.logprobs) {
    assert.ok(token.logprob <= 0);
    assert.equal(token.top_logprobs.length, 3);
  }
});

test("embeddings", "embeddings", async () => {
  const answer = await client.embed({ model, input: ["a", "b c"] });
  assert.equal(answer.embeddings.length, 2);
  assert.ok(answer.embeddings[0].every(Number.isFinite));
  const old = await client.embeddings({ model, prompt: "a" });
  assert.deepEqual(old.embedding, answer.embeddings[0]);
});

test("no such model", "", async () => {
  const error = await failure(client.chat({ model: "no/such-model", messages: question, stream: false }));
  assert.equal(error.status_code, 404);
  assert.match(error.message, /model 'no\/such-model' not found/);
});

test("an option of the wrong type", "", async () => {
  const error = await failure(client.chat({ model, messages: question, stream: false, options: { num_ctx: "large" } }));
  assert.equal(error.status_code, 400);
  assert.match(error.message, /option "num_ctx" must be of type integer/);
});

test("abort", "", async () => {
  const own = new Ollama({ host: url });
  const stream = await own.generate({ model, prompt: "One two three", stream: true, raw: true, options: { num_predict: 500 } });
  let parts = 0;
  const error = await failure((async () => {
    for await (const _ of stream) if (++parts === 2) own.abort();
  })());
  assert.equal(error.name, "AbortError");
});

await run("ollama");
