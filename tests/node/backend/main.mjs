// A store and a backend for one device, written from docs/ alone: the proof that they suffice.
//
//   node main.mjs init --dir DIR
//   node main.mjs --dir DIR --broker mqtts://… --identity FOLDER --tenant T --device-descriptor FILE
//
// Events go to stdout and commands come from stdin, one JSON object a line:
//   {"do": "delete", "select": {…}}  {"do": "export", "select": {…}, "form": "objects"}  {"do": "inventory", "select": {…}}
//   {"do": "acks", "on": false}      leave receipts unacknowledged, to see them repeated
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import mqtt from "mqtt";
import { Commands } from "./commands.mjs";
import { initKeys, loadKeys, readDevice } from "./keys.mjs";
import { Store } from "./store.mjs";
import { kindOf, nowSeconds, openChunk, opens, pack, unpack } from "./wire.mjs";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    dir: { type: "string" },
    broker: { type: "string" },
    identity: { type: "string" },
    tenant: { type: "string", default: "acme" },
    region: { type: "string", default: "eu" },
    "device-descriptor": { type: "string" },
    "stall-at": { type: "string", default: "Infinity" }, // bytes of a payload, see store.mjs
  },
});

const tell = (event, more = {}) => console.log(JSON.stringify({ event, ...more }));

async function serve() {
  const keys = await loadKeys(options.dir);
  const device = await readDevice(options["device-descriptor"]);
  const store = new Store(join(options.dir, "store"), {
    region: options.region,
    stallAtBytes: Number(options["stall-at"]),
  });
  const commands = new Commands(join(options.dir, "backend"), { holder: keys.backend, device });
  const place = `pv1/${options.tenant}/${device.name}`;
  let acknowledges = true;
  let seen = { online: false, session: 0 }; // the device's last state on this connection

  const file = (name) => readFileSync(join(options.identity, name));
  const client = mqtt.connect(options.broker, {
    ca: file("ca.crt"),
    cert: file("tls.crt"),
    key: file("tls.key"),
    reconnectPeriod: 500,
  });
  // Nobody waits for a PUBACK of ours: the client reads none while `handleMessage` is busy, so that would never end.
  const publish = (channel, payload) => client.publish(`${place}/${channel}`, payload, { qos: 1 });

  async function answer(answers) {
    for (const [kind, own] of answers) {
      const claims = { iss: keys.store.kid, aud: device.name, iat: nowSeconds(), ...own };
      publish("upack", await pack(kind, claims, { holder: keys.store, recipient: device.recipient }));
      tell("said", { kind, claims });
    }
  }

  async function acknowledge(claims) {
    if (!claims || !acknowledges) return;
    publish("cmd", await pack("ack", claims, { holder: keys.backend }));
    tell("said", { kind: "ack", claims });
  }

  async function send(verb, own) {
    const { claims, payload } = await commands.make(verb, own);
    publish("cmd", payload);
    tell("said", { kind: "command", claims });
  }

  const act = {
    begin: (claims, hash) => answer(store.begin(claims, hash)),
    end: (claims) => answer(store.end(claims)),
    abort: (claims) => answer(store.abort(claims)),
    erase: (claims) => answer(store.erase(claims)),
    rectify: (claims) => answer(store.rectify(claims)),
    resync: (claims) => answer(store.resync(claims)),
    receipt: (claims) => acknowledge(commands.take(claims)),
    alert: (claims) => acknowledge(commands.acknowledge(claims.jti)),
    state(claims) {
      if (claims.session < seen.session) return; // the will of a session that is over
      // It also speaks on every change; only a device that was away can have missed a command.
      const turned = claims.online && !(seen.online && seen.session === claims.session);
      seen = claims;
      commands.raise(claims.issuers[keys.backend.kid]?.highest);
      if (turned) for (const payload of commands.unfinished()) publish("cmd", payload);
    },
  };

  /** Take one message of the device; anything that does not hold is told and dropped. */
  async function hear(topic, message) {
    const [channel, name] = topic.slice(place.length + 1).split("/");
    const kind = kindOf(message);
    const belongs = { up: ["begin", "end", "abort", "erase", "rectify", "resync", "chunk"], rcpt: ["receipt"] }[channel] ?? [channel];
    if (!belongs.includes(kind)) throw new Error(`${kind} on ${topic}`);
    if (kind === "chunk") return answer(store.chunk(name, openChunk(message)));
    const holder = channel === "up" ? keys.store : keys.backend;
    // The device seals an alert to one reader, but all readers share the topic: those of others do not open.
    if (kind === "alert" && !(await opens(message, holder.identity))) return tell("not for us", { kind });
    const { claims, hash } = await unpack(message, { signer: device, identity: holder.identity });
    if (claims.iss !== device.name || (kind !== "state" && claims.aud !== holder.kid))
      throw new Error(`${kind} from ${claims.iss} to ${claims.aud}`);
    if (["begin", "end", "abort"].includes(kind) && claims.upload !== name) throw new Error(`${kind} on ${topic}`);
    tell("heard", { kind, claims });
    return act[kind](claims, hash);
  }

  // One message at a time, in the broker's order, and acknowledged to the broker when it is done with.
  client.handleMessage = ({ topic, payload }, done) => {
    hear(topic, payload)
      .catch((error) => tell("dropped", { topic, reason: error.message }))
      .finally(done);
  };
  client.on("connect", async () => {
    seen = { online: false, session: 0 };
    const topics = ["up/#", `rcpt/${keys.backend.kid}`, "state", "alert"].map((channel) => `${place}/${channel}`);
    await client.subscribeAsync(topics, { qos: 1 });
    tell("online", { kids: { backend: keys.backend.kid, store: keys.store.kid } });
    await answer(store.pending());
  });
  client.on("error", (error) => tell("broker", { reason: error.message }));

  createInterface({ input: process.stdin }).on("line", async (line) => {
    const { do: verb, ...own } = JSON.parse(line);
    if (verb === "acks") acknowledges = own.on;
    else await send(verb, own);
    tell("did", { verb });
  });
  process.on("SIGTERM", () => client.end(false, {}, () => process.exit(0)));
}

if (positionals[0] === "init") await initKeys(options.dir);
else await serve();
