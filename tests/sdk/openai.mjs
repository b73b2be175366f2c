// OpenAI's own client against OpenAI's routes.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { all, callQuestion, failure, isCount, model, question, run, schema, test, url, weather } from "./suite.mjs";

const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: process.env.EDGELLM_API_KEY ?? "none", maxRetries: 0 });
const chat = client.chat.completions;
const few = { max_completion_tokens: 12, temperature: 0, seed: 1 };
const tools = [{ type: "function", function: weather }];

function checkUsage(usage) {
  assert.ok(usage.prompt_tokens > 0 && usage.completion_tokens > 0);
  assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens);
  assert.ok(isCount(usage.prompt_tokens_details.cached_tokens));
}

test("chat", "", async () => {
  const answer = await chat.create({ model, messages: question, ...few });
  assert.equal(answer.object, "chat.completion");
  assert.match(answer.id, /^chatcmpl-/);
  assert.equal(answer.choices[0].message.role, "assistant");
  assert.ok(answer.choices[0].message.content.length > 0);
  assert.ok(["stop", "length"].includes(answer.choices[0].finish_reason));
  checkUsage(answer.usage);
});

test("chat, in a stream", "", async () => {
  const chunks = await all(await chat.create({ model, messages: question, stream: true, stream_options: { include_usage: true }, ...few }));
  assert.equal(chunks[0].choices[0].delta.role, "assistant");
  assert.ok(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("").length > 0);
  assert.equal(new Set(chunks.map((chunk) => chunk.id)).size, 1);
  assert.equal(new Set(chunks.map((chunk) => chunk.created)).size, 1);
  assert.equal(chunks.at(-1).choices.length, 0);
  checkUsage(chunks.at(-1).usage);
  assert.ok(["stop", "length"].includes(chunks.at(-2).choices[0].finish_reason));
});

test("the client's own gathering of a stream", "", async () => {
  const stream = client.chat.completions.stream({ model, messages: question, ...few });
  const whole = await stream.finalChatCompletion();
  assert.ok(whole.choices[0].message.content.length > 0);
});

test("a system message, a developer's, parts of text", "", async () => {
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "One" }, { type: "text", text: "two three" }] },
  ];
  assert.equal((await chat.create({ model, messages, ...few })).choices.length, 1);
  messages[0].role = "developer";
  assert.equal((await chat.create({ model, messages, ...few })).choices.length, 1);
});

test("several answers", "", async () => {
  const answer = await chat.create({ model, messages: question, ...few, temperature: 1, n: 3 });
  assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1, 2]);
  const chunks = await all(await chat.create({ model, messages: question, ...few, n: 2, stream: true }));
  assert.deepEqual(new Set(chunks.map((chunk) => chunk.choices[0].index)), new Set([0, 1]));
});

test("log-probabilities", "", async () => {
  const answer = await chat.create({ model, messages: question, ...few, logprobs: true, top_logprobs: 2 });
  const { content } = answer.choices[0].logprobs;
  assert.equal(content.length, answer.usage.completion_tokens);
  for (const token of content) {
    assert.ok(token.logprob <= 0);
    assert.equal(token.top_logprobs.length, 2);
    assert.ok(token.bytes.every((byte) => byte >= 0 && byte < 256));
  }
  const chunks = await all(await chat.create({ model, messages: question, ...few, logprobs: true, stream: true }));
  assert.ok(chunks.some((chunk) => chunk.choices[0].logprobs?.content.length > 0));
});

test("limits and stops", "", async () => {
  const cut = await chat.create({ model, messages: question, ...few, max_completion_tokens: 2 });
  assert.equal(cut.choices[0].finish_reason, "length");
  assert.equal(cut.usage.completion_tokens, 2);
  const whole = await chat.create({ model, messages: question, ...few });
  const word = whole.choices[0].message.content.trim().split(/\s+/)[1];
  if (!word) return;
  const stopped = await chat.create({ model, messages: question, ...few, stop: [word] });
  assert.equal(stopped.choices[0].finish_reason, "stop");
  assert.ok(!stopped.choices[0].message.content.includes(word));
});

test("logit_bias, penalties, extras", "", async () => {
  const answer = await chat.create({
    model, messages: question, ...few, logit_bias: { 5: -100 }, presence_penalty: 0.5, frequency_penalty: 0.5, user: "me",
    top_k: 20, min_p: 0.05, repetition_penalty: 1.1, min_tokens: 1, priority: "interactive",
  });
  assert.equal(answer.choices.length, 1);
});

test("tools", "tools", async () => {
  const answer = await chat.create({ model, messages: callQuestion, tools, tool_choice: "required", temperature: 0, max_completion_tokens: 100 });
  const { message, finish_reason } = answer.choices[0];
  assert.equal(finish_reason, "tool_calls");
  assert.equal(message.tool_calls[0].function.name, "weather");
  assert.equal(typeof JSON.parse(message.tool_calls[0].function.arguments).city, "string");
  const next = await chat.create({
    model, tools, ...few,
    messages: [...callQuestion, message, { role: "tool", tool_call_id: message.tool_calls[0].id, content: "rain" }],
  });
  assert.equal(next.choices.length, 1);
});

test("tools, in a stream", "tools", async () => {
  const stream = client.chat.completions.stream({
    model, messages: callQuestion, tools, temperature: 0, max_completion_tokens: 100,
    tool_choice: { type: "function", function: { name: "weather" } },
  });
  const whole = await stream.finalChatCompletion();
  assert.equal(whole.choices[0].message.tool_calls[0].function.name, "weather");
  JSON.parse(whole.choices[0].message.tool_calls[0].function.arguments);
});

test("response_format", "schema", async () => {
  const formats = [{ type: "json_object" }, { type: "json_schema", json_schema: { name: "x", strict: true, schema } }];
  for (const response_format of formats) {
    const answer = await chat.create({ model, messages: question, response_format, temperature: 0, max_completion_tokens: 200 });
    if (answer.choices[0].finish_reason === "length") continue;
    const value = JSON.parse(answer.choices[0].message.content);
    if (response_format.type === "json_schema") assert.equal(typeof value.ok, "boolean");
  }
});

test("text completions", "", async () => {
  const answer = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 8, temperature: 0 });
  assert.equal(answer.object, "text_completion");
  assert.ok(answer.choices[0].text.length > 0);
  checkUsage(answer.usage);
  const chunks = await all(await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 8, stream: true }));
  assert.ok(chunks.map((chunk) => chunk.choices[0].text).join("").length > 0);
});

test("text completions: several prompts, echo, log-probabilities", "", async () => {
  const two = await client.completions.create({ model, prompt: ["Once upon", "There was a"], max_tokens: 4, n: 2 });
  assert.deepEqual(two.choices.map((choice) => choice.index), [0, 1, 2, 3]);
  const echo = await client.completions.create({ model, prompt: "Once upon a time", max_tokens: 4, echo: true, logprobs: 2 });
  const { text, logprobs } = echo.choices[0];
  assert.ok(text.startsWith("Once upon a time"));
  for (const key of ["token_logprobs", "top_logprobs", "text_offset"]) assert.equal(logprobs[key].length, logprobs.tokens.length);
  assert.equal(logprobs.token_logprobs[0], null);
  const tokens = await client.completions.create({ model, prompt: [5, 6, 7], max_tokens: 4 });
  assert.equal(tokens.usage.prompt_tokens, 3);
});

test("responses", "", async () => {
  const answer = await client.responses.create({ model, input: question[0].content, instructions: "Be brief.", max_output_tokens: 12 });
  assert.match(answer.id, /^resp_/);
  assert.ok(["completed", "incomplete"].includes(answer.status));
  assert.ok(answer.output_text.length > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.input_tokens + answer.usage.output_tokens);
});

test("responses, in a stream", "", async () => {
  const stream = client.responses.stream({ model, input: [{ role: "user", content: question[0].content }], max_output_tokens: 12 });
  let text = "";
  const numbers = [];
  for await (const event of stream) {
    numbers.push(event.sequence_number);
    if (event.type === "response.output_text.delta") text += event.delta;
  }
  assert.deepEqual(numbers, numbers.map((_, i) => i));
  const { output } = await stream.finalResponse();
  assert.equal(output.flatMap((item) => item.content).map((part) => part.text).join(""), text);
  assert.ok(text.length > 0);
});

test("responses: functions", "tools", async () => {
  const flat = [{ type: "function", strict: true, ...weather }];
  const input = [{ role: "user", content: callQuestion[0].content }];
  const ask = { model, tools: flat, tool_choice: "required", max_output_tokens: 100, temperature: 0 };
  const answer = await client.responses.create({ ...ask, input });
  const call = answer.output.find((item) => item.type === "function_call");
  assert.equal(call.name, "weather");
  JSON.parse(call.arguments);
  input.push(...answer.output, { type: "function_call_output", call_id: call.call_id, output: "rain" });
  const next = await client.responses.create({ ...ask, input, tool_choice: "auto", max_output_tokens: 12 });
  assert.ok(next.output.length > 0);
  const events = await all(client.responses.stream({ ...ask, input: input.slice(0, 1) }));
  assert.ok(events.some((event) => event.type === "response.function_call_arguments.done" && JSON.parse(event.arguments)));
});

test("responses: a schema", "schema", async () => {
  const answer = await client.responses.parse({ model, input: "Is it so?", max_output_tokens: 200, temperature: 0,
                                                text: { format: { type: "json_schema", name: "x", strict: true, schema } } });
  if (answer.status === "completed") assert.equal(typeof JSON.parse(answer.output_text).ok, "boolean");
});

test("embeddings", "embeddings", async () => {
  const packed = await client.embeddings.create({ model, input: ["a", "b c"] });  // the client asks for base64 by itself
  const plain = await client.embeddings.create({ model, input: ["a", "b c"], encoding_format: "float" });
  assert.equal(plain.data.length, 2);
  assert.deepEqual(packed.data[0].embedding.map(Math.fround), plain.data[0].embedding.map(Math.fround));
  assert.ok(plain.usage.prompt_tokens > 0);
});

test("errors", "", async () => {
  const missing = await failure(chat.create({ model: "no/such-model", messages: question }));
  assert.equal(missing.status, 404);
  assert.equal(missing.code, "model_not_found");
  const wrong = await failure(chat.create({ model, messages: question, temperature: "hot" }));
  assert.ok(wrong instanceof OpenAI.BadRequestError);
  assert.equal(wrong.param, "temperature");
  assert.equal(wrong.type, "invalid_request_error");
  const keyword = await failure(chat.create({
    model, messages: question,
    response_format: { type: "json_schema", json_schema: { name: "x", schema: { type: "object", patternProperties: {} } } },
  }));
  assert.match(keyword.message, /patternProperties/);
  const stored = await failure(client.responses.create({ model, input: "Hi", previous_response_id: "resp_1" }));
  assert.equal(stored.param, "previous_response_id");
  const image = await failure(chat.create({
    model, messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "data:," } }] }],
  }));
  assert.equal(image.param, "messages[0].content[0].type");
});

test("a prompt longer than the context says so", "", async () => {
  const long = await failure(chat.create({ model, messages: [{ role: "user", content: "long ".repeat(40000) }], max_tokens: 5 }));
  assert.equal(long.status, 400);
  assert.equal(long.code, "context_length_exceeded");
  assert.match(long.message, /\d+ tokens/);
});

test("abort", "", async () => {
  const stream = await chat.create({ model, messages: question, stream: true, max_tokens: 500, ignore_eos: true });
  let chunks = 0;
  for await (const _ of stream) if (++chunks === 3) stream.controller.abort();
  assert.ok(chunks >= 3 && chunks < 100, `${chunks} chunks`);
  const controller = new AbortController();
  const whole = chat.create({ model, messages: question, max_tokens: 500, ignore_eos: true }, { signal: controller.signal });
  setTimeout(() => controller.abort(), 50);
  assert.ok((await failure(whole)) instanceof OpenAI.APIUserAbortError);
});

await run("openai");
