// Holds many clients, and says when each of them tries to come back after the server has gone.
import { done, open, order, sleep, tell, args } from "./common.js";

const [count, jitter] = [Number(args[0]), args[1]];
const random = jitter === "no" ? { random: () => 0.5 } : {};
let connected = 0;
let lost = 0;
const attempts = [];
const clients = Array.from({ length: count }, () => {
  const client = open({ connectTimeoutMs: 30_000, ...random });
  let isLost = false;
  client.on("state", ({ state }) => {
    if (state === "open") { connected += 1; isLost = false; }
    if (state === "waiting" && client.id) { lost += isLost ? 0 : 1; isLost = true; }
    if (state === "connecting" && isLost) attempts.push(Date.now());
  });
  return client;
});
while (connected < count) await sleep(20);
tell("up");
await order(); // it has ended, and the next is there or will be
const until = Date.now() + 40_000;
while ((lost < count || clients.some((client) => client.state !== "open")) && Date.now() < until) await sleep(50);
tell("back", { lost, open: clients.filter((client) => client.state === "open").length, attempts });
clients.forEach((client) => client.close());
done();
