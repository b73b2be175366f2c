// What the comparisons of this folder share: programs run to their end, the two files of a shape, tables.
import {execFile} from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import {promisify} from "node:util";

// What it wrote to standard output.
export async function run(program, args) {
  try {
    return (await promisify(execFile)(program, args, {maxBuffer: 1 << 26})).stdout;
  } catch (failure) {
    throw new Error(`${program} ${args.join(" ")}: ${failure.stderr?.trim() || failure.message}`);
  }
}

// The two files of a shape (NAME or NAME:FORMAT); those that are there already are used again. `options`: edgellm, format, head.
export async function makeShape(options, shape, folder) {
  const [name, format = options.format] = shape.split(":");
  const subject = {name, model: path.join(folder, `${name}-${format}-${options.head}.edgellm`)};
  subject.gguf = subject.model.replace(/edgellm$/, "gguf");
  for (const file of [subject.model, subject.gguf]) {
    if (fs.existsSync(file)) continue;
    console.error(`making ${file}`);
    await run(options.edgellm, ["bench", "--shape", name, "--format", format, "--head", options.head, "--save", file]);
  }
  return subject;
}

export const short = (value) => (value >= 1000 ? value.toFixed(0) : value.toPrecision(4));
export const spreadText = ({median: middleValue, min, max}) => `${short(middleValue)} (${short(min)} to ${short(max)})`;

// Lines of cells, as text in columns.
export function columns(lines) {
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  return lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i])).join("   ").trimEnd()).join("\n");
}
