// One message on the wire (section 2): kind byte, then a JWS, sealed or not; and a chunk.
import { createHash, randomBytes } from "node:crypto";
import * as age from "age-encryption";
import { CompactSign, compactVerify, decodeProtectedHeader } from "jose";

/** Every JWS message: kind byte, and whether it travels sealed. */
export const KINDS = {
  command: { byte: 0x01, sealed: true },
  ack: { byte: 0x02, sealed: false },
  receipt: { byte: 0x11, sealed: true },
  begin: { byte: 0x20, sealed: true },
  end: { byte: 0x22, sealed: true },
  abort: { byte: 0x23, sealed: true },
  erase: { byte: 0x24, sealed: true },
  rectify: { byte: 0x25, sealed: true },
  resync: { byte: 0x26, sealed: true },
  go: { byte: 0x30, sealed: true },
  "upload-ack": { byte: 0x31, sealed: false },
  stored: { byte: 0x32, sealed: true },
  erased: { byte: 0x33, sealed: true },
  failed: { byte: 0x34, sealed: true },
  rectified: { byte: 0x35, sealed: true },
  state: { byte: 0x40, sealed: false },
  alert: { byte: 0x50, sealed: true },
};
const CHUNK = 0x21;
const BY_BYTE = new Map(Object.entries(KINDS).map(([kind, { byte }]) => [byte, kind]));

export const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");

/** A fresh id: 128 random bits in lower-case base32. */
export function newId() {
  let bits = BigInt(`0x${randomBytes(16).toString("hex")}`) << 2n; // 26 characters hold 130 bits
  let id = "";
  for (; id.length < 26; bits >>= 5n) id = "abcdefghijklmnopqrstuvwxyz234567"[Number(bits & 31n)] + id;
  return id;
}

export const nowSeconds = () => Math.floor(Date.now() / 1000);

/** Sign claims as a holder of keys and make the MQTT payload of a message; `recipient` where the kind is sealed. */
export async function pack(kind, claims, { holder, recipient }) {
  const jws = await new CompactSign(Buffer.from(JSON.stringify(claims)))
    .setProtectedHeader({ alg: holder.alg, kid: holder.kid, typ: `pv1.${kind}` })
    .sign(holder.key);
  let body = Buffer.from(jws, "ascii");
  if (KINDS[kind].sealed) {
    const encrypter = new age.Encrypter();
    encrypter.addRecipient(recipient);
    body = Buffer.from(await encrypter.encrypt(body));
  }
  return Buffer.concat([Buffer.of(KINDS[kind].byte), body]);
}

/** Check a JWS against one known key and type; returns the claims and the SHA-256 of the signing input. */
export async function verify(jws, signer, typ) {
  const header = decodeProtectedHeader(jws);
  if (Object.keys(header).sort().join() !== "alg,kid,typ") throw new Error("JWS header has other members");
  if (header.kid !== signer.kid || header.typ !== typ) throw new Error(`JWS of ${header.kid}, ${header.typ}`);
  const { payload } = await compactVerify(jws, signer.key, { algorithms: [signer.alg] });
  return {
    claims: JSON.parse(Buffer.from(payload).toString("utf8")),
    hash: sha256(jws.slice(0, jws.lastIndexOf("."))),
  };
}

/** Tell a message's kind, `chunk` among them; throws for an unknown byte. */
export function kindOf(message) {
  if (message[0] === CHUNK) return "chunk";
  const kind = BY_BYTE.get(message[0]);
  if (!kind) throw new Error(`unknown kind byte ${message[0]}`);
  return kind;
}

/** Split a chunk into offset and bytes. */
export function openChunk(message) {
  return { offset: Number(message.readBigUInt64BE(1)), bytes: message.subarray(9) };
}

async function unseal(body, identity) {
  const decrypter = new age.Decrypter();
  decrypter.addIdentity(identity);
  return decrypter.decrypt(new Uint8Array(body));
}

/** Tell whether a sealed message is sealed to this identity. */
export const opens = (message, identity) => unseal(message.subarray(1), identity).then(() => true, () => false);

/** Unseal with an age identity where the kind is sealed, and verify; returns `{claims, hash}`. */
export async function unpack(message, { signer, identity }) {
  const kind = kindOf(message);
  const body = message.subarray(1);
  const jws = KINDS[kind].sealed ? await unseal(body, identity) : body;
  return verify(Buffer.from(jws).toString("ascii"), signer, `pv1.${kind}`);
}
