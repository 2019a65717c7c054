// Owns what all scripts do: Socket.IO clients, lines of JSON for the test, orders from it.
import { createInterface } from "node:readline";
import { io } from "socket.io-client";

export const [url, ...args] = process.argv.slice(2);
export const tell = (event, fields = {}) => console.log(JSON.stringify({ event, ...fields }));
export const open = (more = {}) => io(url, {
  transports: ["websocket"], forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200, ...more,
});
export const once = (socket, name) => new Promise((resolve) => socket.once(name, (...values) => resolve(values)));
export const ask = (socket, ...values) => socket.timeout(20_000).emitWithAck(...values);
export const until = async (condition) => { while (!condition()) await new Promise((go) => setTimeout(go, 5)); };

process.on("unhandledRejection", (error) => { tell("unhandled", { text: String(error?.stack ?? error) }); process.exit(3); });

/** Resolves when the test has written a line. */
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const order = async () => (await lines.next()).value;
export const done = () => process.stdin.destroy(); // nothing else may keep the process running

/** Clients on at least two workers: the first, and one that is elsewhere. */
export async function apart() {
  const here = open();
  const [pid] = await once(here, "welcome");
  for (;;) {
    const there = open();
    const [other] = await once(there, "welcome");
    if (other !== pid) return [here, there];
    there.close();
  }
}
