// Reads the test vectors of docs/vectors with the very code that the backend runs on, and prints what it could not read.
//   node vectors.mjs FOLDER      -> {"read": {kind: count}, "wrong": [name, …]}
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { calculateJwkThumbprint, importJWK } from "jose";
import { kindOf, openChunk, sha256, unpack } from "./wire.mjs";

const load = (name) => JSON.parse(readFileSync(join(process.argv[2], name), "utf8"));
const { parties } = load("keys.json");

async function holds(vector) {
  const message = Buffer.from(vector.payload, "base64");
  if (kindOf(message) !== vector.kind) return false;
  if (vector.kind === "chunk") {
    const { offset, bytes } = openChunk(message);
    return offset === vector.offset && bytes.equals(Buffer.from(vector.data, "base64"));
  }
  const { kid, jwk, alg } = parties[vector.signer];
  const signer = { kid, alg, key: await importJWK(jwk, alg) };
  const { claims, hash } = await unpack(message, { signer, identity: parties[vector.reader]?.identity });
  return isDeepStrictEqual(claims, vector.claims) && hash === vector.signing_input_sha256;
}

const read = {};
const wrong = [];
for (const vector of load("messages.json").vectors) {
  if (await holds(vector).catch(() => false)) read[vector.kind] = (read[vector.kind] ?? 0) + 1;
  else wrong.push(vector.name);
}
const hashes = load("hashes.json");
for (const { jwk, kid } of hashes.key_ids) if ((await calculateJwkThumbprint(jwk)) !== kid) wrong.push(kid);
const { begin_jws: begin, hash } = hashes.manifest;
if (sha256(begin.slice(0, begin.lastIndexOf("."))) !== hash) wrong.push("manifest");
for (const { kid, recipient, fingerprint } of hashes.fingerprints) {
  const digest = sha256(`${kid}\n${recipient}`).slice(0, 32);
  if (digest.match(/..../g).join(" ") !== fingerprint) wrong.push(fingerprint);
}
console.log(JSON.stringify({ read, wrong }));
