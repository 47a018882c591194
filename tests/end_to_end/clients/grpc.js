// Every kind of call as an app on Node.js makes it, with @grpc/grpc-js; what came of each, as one JSON object.
// Messages are given as the octets of their fields: text is field 1, count 3, delay_ms 4, status 5, message 6.
"use strict";

const grpc = require("@grpc/grpc-js");

const ECHO = "/idtoken_proxy.Echo/";
const [, , target] = process.argv;
const client = new grpc.Client(target, grpc.credentials.createInsecure());
const same = (octets) => octets;

const text = (value) => Buffer.concat([Buffer.from([0x0a, value.length]), Buffer.from(value)]);
const number = (field, value) => {
  const octets = [field << 3];
  for (; value > 127; value >>= 7) octets.push((value & 127) | 128);
  return Buffer.from([...octets, value]);
};
const message = (value) => Buffer.concat([Buffer.from([0x32, value.length]), Buffer.from(value)]);
// A reply begins with its text, where it has one.
const said = (octets) => (octets[0] === 0x0a ? octets.subarray(2, 2 + octets[1]).toString() : "");
const soon = (ms = 10000) => ({ deadline: Date.now() + ms });
const ended = (call) => new Promise((resolve) => {
  call.on("error", () => {}); // its status says the same
  call.on("status", ({ code, details }) => resolve({ code, details }));
});

function unary(octets, options = soon(), metadata = new grpc.Metadata(), path = ECHO + "Unary") {
  return new Promise((resolve) => {
    const told = { head: {}, trailers: {} };
    const call = client.makeUnaryRequest(path, same, same, octets, metadata, options, (error, reply) => {
      told.text = reply ? said(reply) : null;
    });
    call.on("metadata", (head) => { told.head = head.getMap(); });
    call.on("status", ({ code, details, metadata: trailers }) => {
      setImmediate(() => resolve({ ...told, code, details, trailers: trailers.getMap() }));
    });
  });
}

const cases = {
  async unary() {
    const { code, text: reply } = await unary(text("hello"));
    return [code, reply];
  },
  async binary_metadata() {
    const metadata = new grpc.Metadata();
    metadata.set("x-echo-initial", "first");
    metadata.set("x-echo-trailing-bin", Buffer.from([0, 255]));
    const { code, head, trailers } = await unary(text("a"), soon(), metadata);
    return [code, head["x-echo-initial"], trailers["x-echo-trailing-bin"].toString("hex")];
  },
  async server_streaming() {
    const call = client.makeServerStreamRequest(
      ECHO + "ServerStream", same, same, Buffer.concat([text("s"), number(3, 5)]), soon());
    const got = [];
    call.on("data", (octets) => got.push(said(octets)));
    return [(await ended(call)).code, got.join("")];
  },
  async client_streaming() {
    let reply = null;
    const call = client.makeClientStreamRequest(
      ECHO + "ClientStream", same, same, soon(), (error, octets) => { reply = octets; });
    for (let at = 0; at < 5; at++) call.write(text("c" + at));
    call.end();
    const { code } = await ended(call);
    return [code, said(reply)];
  },
  async bidi_streaming() {
    const call = client.makeBidiStreamRequest(ECHO + "BidiStream", same, same, soon());
    const got = [];
    call.on("data", (octets) => {
      got.push(said(octets));
      if (got.length < 3) call.write(text("b" + got.length));
      else call.end();
    });
    call.write(text("b0"));
    return [(await ended(call)).code, got.join(" ")];
  },
  async status() {
    const { code, details } = await unary(Buffer.concat([number(5, 9), message("100 % \t w\u00f6rds".replace("\u00f6", "o"))]));
    return [code, details];
  },
  async unimplemented() {
    return [(await unary(text("a"), soon(), new grpc.Metadata(), ECHO + "Nothing")).code];
  },
  async deadline() {
    return [(await unary(number(4, 5000), soon(200))).code];
  },
  async cancel() {
    const call = client.makeServerStreamRequest(
      ECHO + "ServerStream", same, same, Buffer.concat([number(3, 1000), number(4, 20)]), soon());
    call.once("data", () => call.cancel());
    return [(await ended(call)).code];
  },
  async many() {
    const all = Array.from({ length: 200 }, (_, at) => unary(text("m" + at)));
    const replies = await Promise.all(all);
    return [replies.filter(({ code, text: reply }, at) => code === 0 && reply === "m" + at).length];
  },
  async health() {
    const { code } = await unary(Buffer.alloc(0), soon(), new grpc.Metadata(), "/grpc.health.v1.Health/Check");
    return [code];
  },
  async refused() {
    const metadata = new grpc.Metadata();
    metadata.set("origin", "http://evil.test");
    const { code, details } = await unary(text("a"), soon(), metadata);
    return [code, details.includes("may not use this proxy")];
  },
};

(async () => {
  const told = {};
  for (const [name, run] of Object.entries(cases)) told[name] = await run();
  client.close();
  process.stdout.write(JSON.stringify(told));
})();
