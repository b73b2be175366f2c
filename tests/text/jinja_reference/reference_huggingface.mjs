// Renders template cases with @huggingface/jinja.
// Reads [{"template": …, "context": …}, …] from standard input, writes [{"output": …} or {"error": …}, …].
import { Template } from "@huggingface/jinja";
import { readFileSync, writeFileSync } from "node:fs";

const NOW = 1784937600; // what strftime_now formats; the tests use the same

// The package's own strftime_now asks for the current local time.
process.env.TZ = "UTC";
globalThis.Date = class extends Date {
  constructor(...given) {
    given.length === 0 ? super(NOW * 1000) : super(...given);
  }
};

const cases = JSON.parse(readFileSync(0, "utf-8"));
const results = cases.map(({ template, context }) => {
  try {
    return { output: new Template(template).render(context) };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
});
writeFileSync(1, JSON.stringify(results));
