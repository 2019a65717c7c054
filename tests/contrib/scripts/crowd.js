// Owns a crowd in one room that says things, comes back when it is cut off, and tells what it heard.
import { args, ask, done, open, order, tell, until } from "./common.js";

const [clients, each] = args.map(Number);
const crowd = await Promise.all(Array.from({ length: clients }, async (_, number) => {
  const socket = open();
  const one = { socket, heard: [], visits: 0, joined: false };
  socket.on("said", (_, text) => one.heard.push(text));
  socket.on("disconnect", () => { one.joined = false; tell("cut off", { number }); });
  socket.on("connect", async () => {
    one.pid = await ask(socket, "join", "crowd");
    one.visits += 1;
    one.joined = true;
    tell("joined", { number, pid: one.pid, sid: socket.id });
  });
  await until(() => one.joined);
  return one;
}));
tell("all here", { pids: crowd.map((one) => one.pid) });
await order();
for (let number = 0; number < each; number++) {
  await Promise.all(crowd.map(async (one, who) => {
    for (;;) { // what was said while it was cut off is said again
      await until(() => one.joined);
      const problem = await one.socket.timeout(3_000).emitWithAck("say", "crowd", `${who}:${number}`).catch((error) => String(error));
      if (problem === undefined || problem === null) return;
    }
  }));
  if (number % 20 === 10) tell("said", { number });
}
await until(() => crowd.every((one) => one.joined));
await ask(crowd[0].socket, "say", "crowd", "the end");
await until(() => crowd.every((one) => one.heard.at(-1) === "the end"));
tell("heard", { heard: crowd.map((one) => one.heard), visits: crowd.map((one) => one.visits) });
await order();
crowd.forEach((one) => one.socket.close());
done();
