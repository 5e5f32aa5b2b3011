// The keys of a backend and of a store, the descriptors an owner puts into a key set, and reading a device's (section 3).
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as age from "age-encryption";
import { calculateJwkThumbprint, decodeJwt, exportJWK, generateKeyPair, importJWK } from "jose";
import { writeDurably } from "./durable.mjs";
import { verify } from "./wire.mjs";

// On purpose not twice the same: both signature algorithms and both kinds of age recipient of the protocol get used.
const MAKE = {
  backend: { alg: "ES256", identity: age.generateHybridIdentity },
  store: { alg: "EdDSA", identity: age.generateX25519Identity },
};

/** Make both key holders: `keys.json` is secret, `backend.json` and `store.json` are for the owner. */
export async function initKeys(folder) {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const secrets = {};
  for (const [role, { alg, identity: makeIdentity }] of Object.entries(MAKE)) {
    const pair = await generateKeyPair(alg, { extractable: true });
    const identity = await makeIdentity();
    secrets[role] = { alg, identity, jwk: await exportJWK(pair.privateKey) };
    const descriptor = {
      v: 1,
      role,
      name: `node-${role}`,
      jwk: await exportJWK(pair.publicKey),
      alg,
      recipient: await age.identityToRecipient(identity),
    };
    writeDurably(join(folder, `${role}.json`), `${JSON.stringify(descriptor)}\n`);
  }
  writeDurably(join(folder, "keys.json"), JSON.stringify(secrets));
}

/** Load `{backend, store}`, each `{kid, alg, key, identity}`. */
export async function loadKeys(folder) {
  const holders = {};
  for (const [role, secret] of Object.entries(JSON.parse(readFileSync(join(folder, "keys.json"), "utf8")))) {
    holders[role] = {
      kid: await calculateJwkThumbprint(secret.jwk), // takes only the public members
      alg: secret.alg,
      key: await importJWK(secret.jwk, secret.alg),
      identity: secret.identity,
    };
  }
  return holders;
}

/** Read a device's self-signed descriptor: `{name, kid, alg, key, recipient}`. Whose it is, the fingerprint tells. */
export async function readDevice(path) {
  const jws = readFileSync(path, "ascii").trim();
  const unverified = decodeJwt(jws);
  const device = {
    name: unverified.name,
    kid: await calculateJwkThumbprint(unverified.jwk),
    alg: unverified.alg,
    key: await importJWK(unverified.jwk, unverified.alg),
    recipient: unverified.recipient,
  };
  await verify(jws, device, "pv1.descriptor");
  if (unverified.v !== 1 || unverified.role !== "device") throw new Error(`${path}: not a device's descriptor`);
  return device;
}
