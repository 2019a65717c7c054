// Has a worker that stands still: TCP is well, and the client finds out by its own ping.
import { done, once, open, order, tell } from "./common.js";

const client = open({ firstBackoffMs: 50 });
client.on("state", ({ state, reason }) => tell("state", { state, reason }));
await client.room("r").join();
tell("joined");
await order(); // the worker is stopped now
await once(client, "connected");
tell("back");
client.close();
done();
