// npm's bonjour-service as a camera: announces one service by multicast DNS until it is told to end.
//   node mdns-camera.mjs INSTANCE TYPE PORT ROTATING-ID
import { Bonjour } from "bonjour-service";

const [instance, type, port, id] = process.argv.slice(2);
const bonjour = new Bonjour();
bonjour.publish({ name: instance, type, port: Number(port), txt: { v: "1", id } });
console.log(JSON.stringify({ ready: true }));
process.on("SIGTERM", () => bonjour.unpublishAll(() => bonjour.destroy(() => process.exit(0))));
