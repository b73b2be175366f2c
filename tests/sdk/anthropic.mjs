// Anthropic's own client against /v1/messages.
import assert from "node:assert/strict";
import Anthropic from "@anthropic-ai/sdk";
import { all, callQuestion, failure, model, question, run, test, url, weather } from "./suite.mjs";

const client = new Anthropic({ baseURL: url, apiKey: process.env.EDGELLM_API_KEY ?? "none", maxRetries: 0 });
const few = { model, max_tokens: 12, temperature: 0 };
const tools = [{ name: weather.name, description: weather.description, input_schema: weather.parameters }];

test("messages", "", async () => {
  const message = await client.messages.create({ ...few, system: "Be brief.", messages: question });
  assert.equal(message.type, "message");
  assert.equal(message.role, "assistant");
  assert.equal(message.content[0].type, "text");
  assert.ok(message.content[0].text.length > 0);
  assert.ok(["end_turn", "max_tokens"].includes(message.stop_reason));
  assert.ok(message.usage.input_tokens + message.usage.cache_read_input_tokens > 0);
  assert.ok(message.usage.output_tokens > 0);
});

test("messages, in a stream", "", async () => {
  const events = await all(await client.messages.create({ ...few, messages: question, stream: true }));
  assert.equal(events[0].type, "message_start");
  assert.equal(events.at(-1).type, "message_stop");
  assert.equal(events.at(-2).type, "message_delta");
  const open = events.findIndex((event) => event.type === "content_block_start");
  const close = events.findIndex((event) => event.type === "content_block_stop");
  assert.ok(open > 0 && close > open);
});

test("the client's own gathering of a stream", "", async () => {
  let text = "";
  const stream = client.messages.stream({ ...few, messages: question }).on("text", (piece) => (text += piece));
  const message = await stream.finalMessage();
  assert.equal(message.content[0].text, text);
  assert.ok(text.length > 0);
});

test("blocks, several turns", "", async () => {
  const message = await client.messages.create({
    ...few,
    system: [{ type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } }],
    messages: [
      { role: "user", content: [{ type: "text", text: "One two" }] },
      { role: "assistant", content: [{ type: "text", text: "Three" }] },
      { role: "user", content: "Four five six" },
    ],
  });
  assert.ok(message.content.length > 0);
});

test("a limit of tokens, stop sequences", "", async () => {
  const cut = await client.messages.create({ ...few, max_tokens: 2, messages: question });
  assert.equal(cut.stop_reason, "max_tokens");
  assert.equal(cut.usage.output_tokens, 2);
  const whole = await client.messages.create({ ...few, messages: question });
  const word = whole.content[0].text.trim().split(/\s+/)[1];
  if (!word) return;
  const stopped = await client.messages.create({ ...few, messages: question, stop_sequences: [word] });
  assert.equal(stopped.stop_reason, "stop_sequence");
  assert.equal(stopped.stop_sequence, word);
});

test("thinking", "thinking", async () => {
  const stream = client.messages.stream({ model, max_tokens: 60, messages: question, thinking: { type: "enabled", budget_tokens: 1024 } });
  const message = await stream.finalMessage();
  assert.equal(message.content[0].type, "thinking");
  assert.ok(message.content[0].thinking.length > 0);
  const next = await client.messages.create({
    model, max_tokens: 12, messages: [...question, { role: "assistant", content: message.content }, { role: "user", content: "And now?" }],
  });
  assert.ok(next.usage.output_tokens > 0);
});

test("tools", "tools", async () => {
  const ask = { model, max_tokens: 100, temperature: 0, tools };
  const message = await client.messages.create({ ...ask, messages: callQuestion, tool_choice: { type: "any" } });
  assert.equal(message.stop_reason, "tool_use");
  const use = message.content.find((block) => block.type === "tool_use");
  assert.equal(use.name, "weather");
  assert.equal(typeof use.input.city, "string");
  const next = await client.messages.create({
    ...ask, max_tokens: 12,
    messages: [...callQuestion, { role: "assistant", content: message.content },
               { role: "user", content: [{ type: "tool_result", tool_use_id: use.id, content: "rain" }] }],
  });
  assert.ok(next.usage.output_tokens > 0);
});

test("tools, in a stream", "tools", async () => {
  const stream = client.messages.stream({
    model, max_tokens: 100, temperature: 0, tools, messages: callQuestion, tool_choice: { type: "tool", name: "weather" },
  });
  const use = (await stream.finalMessage()).content.find((block) => block.type === "tool_use");
  assert.equal(typeof use.input.city, "string");
});

test("count_tokens", "", async () => {
  const counted = await client.messages.countTokens({ model, system: "Be brief.", messages: question });
  const message = await client.messages.create({ ...few, system: "Be brief.", messages: question });
  assert.equal(counted.input_tokens, message.usage.input_tokens + message.usage.cache_read_input_tokens);
});

test("errors", "", async () => {
  const missing = await failure(client.messages.create({ ...few, model: "no/such-model", messages: question }));
  assert.ok(missing instanceof Anthropic.NotFoundError);
  assert.equal(missing.error.error.type, "not_found_error");
  const wrong = await failure(client.messages.create({ ...few, max_tokens: "many", messages: question }));
  assert.ok(wrong instanceof Anthropic.BadRequestError);
  assert.match(wrong.message, /max_tokens/);
  const image = await failure(client.messages.create({
    ...few, messages: [{ role: "user", content: [{ type: "image", source: { type: "url", url: "http://x" } }] }],
  }));
  assert.match(image.message, /messages\[0\]\.content\[0\]\.type/);
});

test("abort", "", async () => {
  const stream = client.messages.stream({ model, max_tokens: 500, messages: question, ignore_eos: true });
  let events = 0;
  const error = await failure((async () => {
    for await (const _ of stream) if (++events === 5) stream.abort();
  })());
  assert.ok(error instanceof Anthropic.APIUserAbortError);
});

await run("anthropic");
