// What the suites share: node NAME.mjs URL [MODEL] [--without tools,thinking,embeddings,schema]. Each case is told on a
// line; the exit status is 1 when one fails. Cases look at shapes, not at what a model says: any model will do.
import assert from "node:assert/strict";

const words = process.argv.slice(2);
const flag = words.indexOf("--without");
const without = new Set(flag >= 0 ? words.splice(flag, 2)[1].split(",") : []);
export const [url, model = "demo"] = words;
if (!url) {
  console.error("usage: node NAME.mjs URL [MODEL] [--without tools,thinking,embeddings,schema]");
  process.exit(2);
}

const cases = [];
/// `needs`: what the model must be able to do, or "".
export function test(name, needs, body) {
  cases.push({ name, needs, body });
}

export async function run(title) {
  let failed = 0, skipped = 0;
  for (const { name, needs, body } of cases) {
    if (needs && without.has(needs)) {
      ++skipped;
      continue;
    }
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error("no end after 60 s")), 60000);
    });
    try {
      await Promise.race([body(), late]);
      console.log(`ok      ${title}: ${name}`);
    } catch (error) {
      ++failed;
      console.log(`FAILED  ${title}: ${name}\n${error.stack ?? error}`);
    } finally {
      clearTimeout(timer);
    }
  }
  console.log(`${title}: ${cases.length - failed - skipped} passed, ${failed} failed, ${skipped} skipped`);
  process.exit(failed > 0 ? 1 : 0);
}

/// The error that a promise ends with.
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  assert.fail("it should have failed");
}

export async function all(iterable) {
  const items = [];
  for await (const item of iterable) items.push(item);
  return items;
}

export function isCount(value) {
  return Number.isInteger(value) && value >= 0;
}

export const question = [{ role: "user", content: "Say one two three four five six seven eight please" }];
export const callQuestion = [{ role: "user", content: "call the function: how is the weather in Bern?" }];
export const weather = {
  name: "weather",
  description: "The weather of a city",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"], additionalProperties: false },
};
export const schema = {
  type: "object",
  properties: { ok: { type: "boolean" } },
  required: ["ok"],
  additionalProperties: false,
};
