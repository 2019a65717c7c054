// Says how long the client waits before each attempt, where nobody listens, and what it refuses then.
import { done, open, tell, url } from "./common.js";

async function waits(random) {
  const client = open({ firstBackoffMs: 10, maxBackoffMs: 80, random });
  const found = [];
  await new Promise((resolve) => client.on("state", ({ state, retryInMs }) => {
    if (state === "waiting" && found.push(retryInMs) === 6) resolve();
  }));
  const room = client.room("r");
  const joining = room.join().catch((error) => error.code);
  const publishing = room.publish("x").catch((error) => [error.code, error.retry]);
  const refused = await publishing;
  client.close();
  return { found, refused, joining: await joining, afterwards: await room.join().catch((error) => error.code) };
}

tell("longest", await waits(() => 1));
tell("shortest", await waits(() => 0));
done();
