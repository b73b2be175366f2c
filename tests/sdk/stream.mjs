// Conversations over the WebSocket /v1/stream, by a small client of its own: Node has one from version 22 on.
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { connect } from "node:net";
import { model, question, run, test, url } from "./suite.mjs";

/// As much of RFC 6455 as this suite needs: text messages up to 64 KiB, in one frame each.
class Session {
  static async open() {
    const session = new Session();
    const { hostname, port } = new URL(url);
    session.socket = connect(Number(port), hostname.replace(/[[\]]/g, ""));
    const key = randomBytes(16).toString("base64");
    const authorization = process.env.EDGELLM_API_KEY ? `Authorization: Bearer ${process.env.EDGELLM_API_KEY}\r\n` : "";
    session.socket.write(`GET /v1/stream HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
                         `${authorization}Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`);
    session.bytes = Buffer.alloc(0);
    session.wake = () => {};
    session.socket.on("data", (data) => {
      session.bytes = Buffer.concat([session.bytes, data]);
      session.wake();
    });
    const head = await session.until(() => {
      const end = session.bytes.indexOf("\r\n\r\n");
      return end < 0 ? null : session.take(end + 4).toString();
    });
    assert.match(head, /^HTTP\/1\.1 101 /);
    const accept = createHash("sha1").update(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest("base64");
    assert.ok(head.includes(accept));
    return session;
  }
  take(count) {
    const taken = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    return taken;
  }
  async until(look) {
    for (;;) {
      const found = look();
      if (found !== null) return found;
      await new Promise((resolve) => (this.wake = resolve));
    }
  }
  send(message) {
    const text = Buffer.from(typeof message === "string" ? message : JSON.stringify(message));
    const mask = randomBytes(4);
    const head = text.length < 126 ? Buffer.from([0x81, 0x80 | text.length])
                                   : Buffer.from([0x81, 0xfe, text.length >> 8, text.length & 255]);
    this.socket.write(Buffer.concat([head, mask, text.map((byte, i) => byte ^ mask[i % 4])]));
  }
  async receive() {
    const frame = await this.until(() => {
      if (this.bytes.length < 2) return null;
      const short = this.bytes[1] & 127;
      const head = short === 126 ? 4 : 2;
      if (this.bytes.length < head) return null;
      const length = short === 126 ? this.bytes.readUInt16BE(2) : short;
      if (this.bytes.length < head + length) return null;
      const opcode = this.bytes[0] & 15;
      this.take(head);
      return { opcode, text: this.take(length).toString() };
    });
    return frame.opcode === 1 ? JSON.parse(frame.text) : this.receive();
  }
  /// Messages up to the one that ends an answer.
  async answer() {
    const messages = [];
    do messages.push(await this.receive());
    while (!["end", "error"].includes(messages.at(-1).type));
    return messages;
  }
  close() {
    this.socket.destroy();
  }
}

const few = { max_tokens: 12, temperature: 0 };

test("two turns of a conversation", "", async () => {
  const session = await Session.open();
  session.send({ type: "generate", id: "a", model, messages: question, ...few });
  const first = await session.answer();
  assert.equal(first[0].type, "start");
  assert.ok(first.every((message) => message.id === "a"));
  assert.ok(first.filter((message) => message.type === "delta").length > 1);
  const before = first.at(-1);
  assert.ok(["stop", "length"].includes(before.finish_reason));
  assert.ok(before.usage.completion_tokens > 0);
  session.send({ type: "generate", messages: [{ role: "user", content: "And then?" }], ...few });
  const second = await session.answer();
  assert.equal(second.at(-1).type, "end");
  assert.ok(second[0].prompt_tokens > first[0].prompt_tokens);
  session.close();
});

test("cancel", "", async () => {
  const session = await Session.open();
  session.send({ type: "generate", model, messages: question, max_tokens: 500, ignore_eos: true });
  while ((await session.receive()).type !== "delta");
  session.send({ type: "cancel" });
  const end = (await session.answer()).at(-1);
  assert.equal(end.finish_reason, "cancelled");
  session.send({ type: "generate", messages: [{ role: "user", content: "Go on" }], ...few });
  assert.equal((await session.answer()).at(-1).type, "end");
  session.close();
});

test("errors keep the session", "", async () => {
  const session = await Session.open();
  session.send("{");
  assert.equal((await session.answer())[0].error.type, "invalid_request_error");
  session.send({ type: "generate", id: "x", model: "no/such-model", messages: question });
  const [missing] = await session.answer();
  assert.equal(missing.error.code, "model_not_found");
  assert.equal(missing.id, "x");
  session.send({ type: "generate", model, messages: question, ...few });
  assert.equal((await session.answer()).at(-1).type, "end");
  session.close();
});

await run("stream");
