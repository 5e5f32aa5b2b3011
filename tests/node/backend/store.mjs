// The store's half of section 6: what is promised here is on the disk first.
//
// Every method takes verified claims and returns the answers, `[kind, claims]`, without `iss`, `aud` and `iat`.
// An upload is `open`, `stored` or `erased` (kept as a tombstone, so that it never begins again).
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, truncateSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import { DurableJson, syncFolder, writeDurably } from "./durable.mjs";
import { newId, sha256 } from "./wire.mjs";

const ACK_BYTES = 1 << 20; // section 6: at least every 1 MiB …
const ACK_CHUNKS = 16; // … and well inside the agent's window of 128 chunks, however small those are

export class Store {
  #open = new Map(); // upload -> {handle, written, unacked}: what is written but perhaps not yet durable

  constructor(folder, { region, stallAtBytes = Infinity }) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.folder = folder;
    this.region = region;
    this.stallAtBytes = stallAtBytes; // a test's wish: from here on write, but neither sync nor answer
    this.state = new DurableJson(join(folder, "state.json"), { epoch: newId(), uploads: {} });
    this.state.save();
    for (const [upload, known] of Object.entries(this.uploads)) this.#recover(upload, known);
  }

  get uploads() {
    return this.state.value.uploads;
  }

  path(upload, part) {
    return join(this.folder, `${upload}.${part}`);
  }

  #recover(upload, known) {
    if (known.status === "erased") this.#remove(upload); // killed between tombstone and removal
    // Bytes behind the durable offset were never promised and may be anything after a power cut.
    if (known.status === "open" && existsSync(this.path(upload, "payload")))
      truncateSync(this.path(upload, "payload"), known.offset);
  }

  /** What to send at a new connection: leave to go on for everything half-sent. */
  pending() {
    return Object.entries(this.uploads)
      .filter(([, known]) => known.status === "open")
      .map(([upload]) => this.#go(upload));
  }

  begin(claims, manifest) {
    const { upload, header, payload, regions, object } = claims;
    const known = this.uploads[upload];
    const refuse = (reason) => [["failed", { upload, manifest, reason }]];
    if (known?.status === "erased") return refuse("erased");
    if (known && known.manifest !== manifest) return refuse("manifest_changed");
    if (known?.status === "stored") return [this.#stored(upload)];
    if (regions.length && !regions.includes(this.region)) return refuse("region_refused");
    if (!known) {
      const bytes = Buffer.from(header.data, "base64url");
      if (bytes.length !== header.bytes || sha256(bytes) !== header.sha256) return refuse("hash_mismatch");
      writeDurably(this.path(upload, "header"), bytes);
      const parts = { payload, header: { bytes: header.bytes, sha256: header.sha256 } };
      this.uploads[upload] = { status: "open", manifest, object, offset: 0, ...parts };
      this.state.save();
    } else this.#sync(upload);
    return [this.#go(upload)];
  }

  chunk(upload, { offset, bytes }) {
    const known = this.uploads[upload];
    if (known?.status !== "open" || !bytes.length || offset + bytes.length > known.payload.bytes) return [];
    const file = this.#file(upload);
    if (offset > file.written) return []; // a gap: `end` or the agent's patience closes it
    const fresh = bytes.subarray(file.written - offset);
    if (fresh.length) writeSync(file.handle, fresh, 0, fresh.length, file.written);
    file.written += fresh.length;
    file.unacked += 1;
    if (file.written >= this.stallAtBytes) return [];
    const whole = file.written === known.payload.bytes;
    if (!whole && file.written - known.offset < ACK_BYTES && file.unacked < ACK_CHUNKS) return [];
    this.#sync(upload);
    return [["upload-ack", { upload, manifest: known.manifest, offset: known.offset }]];
  }

  end({ upload, manifest }) {
    const known = this.uploads[upload];
    const refuse = (reason) => [["failed", { upload, manifest, reason }]];
    if (!known) return refuse("unknown_upload");
    if (known.status === "erased") return refuse("erased");
    if (known.manifest !== manifest) return refuse("manifest_changed");
    if (known.status === "stored") return [this.#stored(upload)];
    if (this.#file(upload).written >= this.stallAtBytes) return [];
    this.#sync(upload);
    if (known.offset < known.payload.bytes) return [this.#go(upload)];
    this.#close(upload);
    if (sha256(readFileSync(this.path(upload, "payload"))) !== known.payload.sha256) {
      known.offset = 0;
      this.state.save();
      truncateSync(this.path(upload, "payload"), 0);
      return refuse("hash_mismatch");
    }
    known.status = "stored";
    this.state.save();
    return [this.#stored(upload)];
  }

  abort({ upload, manifest, jti }) {
    if (this.uploads[upload]?.status === "stored") return [this.#stored(upload)];
    const parts = this.#remove(upload);
    if (this.uploads[upload]?.status === "open") delete this.uploads[upload]; // no tombstone: it may begin again
    this.state.save();
    return [["erased", { re: jti, items: [{ upload, manifest, ...parts }] }]];
  }

  erase({ items, jti }) {
    // The tombstones first: a kill in between must not leave an upload that is called stored but has no bytes.
    for (const { upload, object, manifest } of items) this.uploads[upload] = { status: "erased", manifest, object };
    this.state.save();
    return [["erased", { re: jti, items: items.map(({ upload, manifest }) => ({ upload, manifest, ...this.#remove(upload) })) }]];
  }

  rectify({ about, number, data, items, jti: re }) {
    const kept = items.map(({ upload, manifest }) => {
      const known = this.uploads[upload];
      if (known?.status !== "stored" || known.manifest !== manifest) return { upload, manifest, result: "absent" };
      known.corrections ??= {};
      if (number > (known.corrections[about]?.number ?? 0)) known.corrections[about] = { number, data };
      return { upload, manifest, result: "kept" };
    });
    this.state.save();
    return [["rectified", { re, items: kept }]];
  }

  resync({ stored, jti: re }) {
    const { region, state } = this;
    return stored.map(({ upload, manifest }) => {
      const known = this.uploads[upload];
      if (known?.status === "erased") return ["failed", { upload, manifest, reason: "erased", re }];
      if (known?.status === "stored" && known.manifest === manifest) return this.#stored(upload, re);
      return ["go", { upload, manifest, region, offset: 0, epoch: state.value.epoch, re }];
    });
  }

  #go(upload) {
    const { manifest, offset } = this.uploads[upload];
    return ["go", { upload, manifest, region: this.region, offset, epoch: this.state.value.epoch }];
  }

  #stored(upload, re) {
    const { manifest, object, payload, header } = this.uploads[upload];
    const claims = { upload, manifest, object, payload, header, region: this.region, epoch: this.state.value.epoch };
    return ["stored", re ? { ...claims, re } : claims];
  }

  #file(upload) {
    if (!this.#open.has(upload)) {
      const path = this.path(upload, "payload");
      const handle = openSync(path, existsSync(path) ? "r+" : "wx+", 0o600);
      syncFolder(this.folder);
      this.#open.set(upload, { handle, written: this.uploads[upload].offset, unacked: 0 });
    }
    return this.#open.get(upload);
  }

  #sync(upload) {
    const file = this.#file(upload);
    file.unacked = 0;
    fsyncSync(file.handle);
    if (this.uploads[upload].offset === file.written) return;
    this.uploads[upload].offset = file.written;
    this.state.save();
  }

  #close(upload) {
    const file = this.#open.get(upload);
    if (file) closeSync(file.handle);
    this.#open.delete(upload);
  }

  #remove(upload) {
    this.#close(upload);
    const told = {};
    for (const part of ["header", "payload"]) {
      told[part] = existsSync(this.path(upload, part)) ? "erased" : "absent";
      if (told[part] === "erased") unlinkSync(this.path(upload, part));
    }
    syncFolder(this.folder);
    return told;
  }
}
