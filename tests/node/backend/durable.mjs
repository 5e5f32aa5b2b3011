// What must survive SIGKILL and a power cut: a JSON file that is whole at every instant, and folders whose entries are.
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Make creations, renames and removals in a folder durable; a file's own fsync does not. */
export function syncFolder(folder) {
  const handle = openSync(folder, "r");
  fsyncSync(handle);
  closeSync(handle);
}

/** Replace a file by new bytes: a reader sees the old or the new ones, after a crash too. */
export function writeDurably(path, bytes) {
  writeFileSync(`${path}.new`, bytes, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  syncFolder(dirname(path));
}

/** A value that lives in a JSON file; change `value`, then `save`. */
export class DurableJson {
  constructor(path, initial) {
    this.path = path;
    this.value = existsSync(path) ? JSON.parse(readFileSync(path, "utf8")) : initial;
  }

  save() {
    writeDurably(this.path, JSON.stringify(this.value));
  }
}
