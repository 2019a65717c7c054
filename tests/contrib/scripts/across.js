// Owns one thing after another that a client has the server do with one on another worker.
import { apart, ask, done, once, open, tell } from "./common.js";

const [here, there] = await apart();
const next = (socket) => once(socket, "value").then(([value]) => value);
there.on("question", (text, answer) => answer(`${text} = 42`));
there.on("which bytes", (answer) => answer({ part: Buffer.from([0, 255]) }, "and text"));

let value = next(there);
await ask(here, "to", there.id, { text: "hello", list: [1, null] });
tell("to", { value: await value });

value = next(there);
await ask(here, "bytes", there.id, Buffer.from([0, 1, 255]));
const got = await value;
tell("bytes", { size: got.size, data: [...got.data] });

tell("call", { value: await ask(here, "call", there.id) });

tell("call bytes", { value: await ask(here, "call bytes", there.id) });

value = next(here);
await ask(here, "callback", there.id);
tell("callback", { value: await value });

await Promise.all([here, there].map((socket) => ask(socket, "join", "pair")));
let heard = [];
here.on("value", (one) => heard.push(one));
value = next(there);
await ask(here, "skip", "chat:pair");
await ask(there, "to", here.id, "behind"); // what was emitted before would be here before
while (heard.at(-1) !== "behind") await next(here);
tell("skip", { heard, there: await value });
here.removeAllListeners("value");

await ask(here, "enter", there.id, "mine");
await ask(here, "enter", here.id, "mine");
value = Promise.all([here, there].map(next));
await ask(here, "burst", "mine", 1);
tell("enter", { value: await value });

await ask(here, "expel", there.id, "mine");
heard = [];
there.on("value", (one) => heard.push(one));
value = next(here);
await ask(here, "burst", "mine", 1);
await value;
await ask(here, "to", there.id, "behind");
while (heard.at(-1) !== "behind") await next(there);
tell("expel", { heard });

heard.length = 0;
await ask(here, "burst", "chat:pair", 500);
await ask(here, "to", there.id, "behind");
while (heard.at(-1) !== "behind") await next(there);
tell("burst", { heard });

heard.length = 0;
await ask(here, "close", "chat:pair");
await ask(here, "burst", "chat:pair", 1);
await ask(here, "to", there.id, "behind");
while (heard.at(-1) !== "behind") await next(there);
tell("close", { heard });

tell("too large", { value: await ask(here, "too large", there.id) });

const refused = open({ auth: { refused: true }, reconnection: false });
tell("refused", { text: (await once(refused, "connect_error"))[0].message });
refused.close();

await ask(here, "join", "watchers");
const left = once(here, "left");
const gone = once(there, "disconnect");
const who = there.id;
await ask(here, "kick", who);
tell("kick", { reason: (await gone)[0], left: await left, who });

value = next(here);
const answer = await fetch(new URL("/shout", process.argv[2]), { method: "POST", body: "from outside" });
tell("shout", { status: answer.status, value: await value });

const big = open({ reconnection: false });
await once(big, "welcome");
const cut = once(big, "disconnect");
big.emit("say", "x".repeat(200_000));
tell("big", { reason: (await cut)[0] });
big.close();

const again = once(here, "welcome");
here.emit("lose");
await again;
tell("lose", { connected: here.connected });

for (const socket of [here, there, refused, big]) socket.close();
done();
