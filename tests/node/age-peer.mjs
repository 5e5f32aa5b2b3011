// npm's age-encryption as a peer: does the jobs of a JSON file in order and prints one JSON line of answers.
//   {"op": "keygen", "pq": false}                                 -> {"identity", "recipient"}
//   {"op": "encrypt", "recipients": [...], "in": path, "out": path} -> {}
//   {"op": "decrypt", "identities": [...], "in": path, "out": path} -> {}
//   {"op": "vectors", "out": folder}                               -> {"count"}
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import * as age from "age-encryption";

const operations = {
  async keygen({ pq }) {
    const identity = pq ? await age.generateHybridIdentity() : await age.generateX25519Identity();
    return { identity, recipient: await age.identityToRecipient(identity) };
  },
  async encrypt(job) {
    const encrypter = new age.Encrypter();
    for (const recipient of job.recipients) encrypter.addRecipient(recipient);
    await writeFile(job.out, await encrypter.encrypt(new Uint8Array(await readFile(job.in))));
    return {};
  },
  async decrypt(job) {
    const decrypter = new age.Decrypter();
    for (const identity of job.identities) decrypter.addIdentity(identity);
    await writeFile(job.out, await decrypter.decrypt(new Uint8Array(await readFile(job.in)), "uint8array"));
    return {};
  },
  async vectors({ out }) {
    const { ...vectors } = await import("cctv-age");
    const files = vectors.default ?? vectors;
    for (const [name, bytes] of Object.entries(files)) await writeFile(join(out, name), bytes);
    return { count: Object.keys(files).length };
  },
};

const jobs = JSON.parse(await readFile(process.argv[2], "utf8"));
const answers = [];
for (const job of jobs) answers.push(await operations[job.op](job));
console.log(JSON.stringify(answers));
