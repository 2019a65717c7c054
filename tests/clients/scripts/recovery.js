// One publishes numbers until each is confirmed, one listens; the test kills workers meanwhile.
import { done, open, sleep, tell, url, args } from "./common.js";

const [room, count] = [args[0], Number(args[1])];
const heard = [];
const offsets = [];
const listener = open({ firstBackoffMs: 100 });
const ear = listener.room(room);
ear.on("message", ({ data, offset }) => { heard.push(data.number); offsets.push(offset); });
let returns = 0;
ear.on("joined", (joined) => { tell("joined", joined); if (joined.returning) returns += 1; });
await ear.join();
const speaker = open({ firstBackoffMs: 100 });
const mouth = speaker.room(room);
await mouth.join();
let last = 0;
for (let number = 0; number < count;) {
  try {
    last = (await mouth.publish({ number })).offset;
    tell("said", { number });
    number += 1;
    await sleep(5);
  } catch (error) {
    tell("failed", { code: error.code, retry: error.retry });
    await sleep(50);
  }
}
const until = Date.now() + 20_000;
while (((ear.offset ?? 0) < last || !returns) && Date.now() < until) await sleep(20);
tell("heard", { heard, offsets });
listener.close();
speaker.close();
done();
