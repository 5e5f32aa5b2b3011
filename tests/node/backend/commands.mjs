// The backend's half of sections 4 and 5: commands are kept, byte for byte, until a terminal receipt stands for them.
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DurableJson } from "./durable.mjs";
import { newId, nowSeconds, pack } from "./wire.mjs";

const TERMINAL = new Set(["done", "partial", "refused", "failed"]);
const LIFE_S = 7 * 24 * 3600;

export class Commands {
  constructor(folder, { holder, device }) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.holder = holder;
    this.device = device;
    this.state = new DurableJson(join(folder, "commands.json"), { seq: 0, commands: {} });
  }

  /** Make a command and keep it; returns `{claims, payload}`. */
  async make(verb, own) {
    const iat = nowSeconds();
    const claims = { iss: this.holder.kid, aud: this.device.name, iat, exp: iat + LIFE_S, jti: newId() };
    Object.assign(claims, { seq: (this.state.value.seq += 1), verb, ...own });
    const payload = await pack("command", claims, { holder: this.holder, recipient: this.device.recipient });
    this.state.value.commands[claims.jti] = { payload: payload.toString("base64url"), receipt: null };
    this.state.save();
    return { claims, payload };
  }

  /** The same bytes again of everything that has no terminal receipt yet. */
  unfinished() {
    const waiting = Object.values(this.state.value.commands).filter(({ receipt }) => !TERMINAL.has(receipt?.status));
    return waiting.map(({ payload }) => Buffer.from(payload, "base64url"));
  }

  /** Take a verified receipt in; returns the claims of its `ack`, or null where none is due. */
  take(receipt) {
    const { value } = this.state;
    const command = value.commands[receipt.cmd];
    if (!TERMINAL.has(receipt.status)) return null;
    if (receipt.next_seq) value.seq = Math.max(value.seq, receipt.next_seq - 1);
    if (command && !TERMINAL.has(command.receipt?.status)) {
      command.receipt = receipt;
      this.state.save(); // durable before the acknowledgement lets the device forget it
    }
    return this.acknowledge(receipt.jti);
  }

  acknowledge(...acks) {
    return { iss: this.holder.kid, aud: this.device.name, iat: nowSeconds(), acks };
  }

  /** Never below what the device has seen of us: our own file may be older than it. */
  raise(highest = 0) {
    this.state.value.seq = Math.max(this.state.value.seq, highest);
  }
}
