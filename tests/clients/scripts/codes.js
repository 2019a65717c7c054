// Connects to a server that closes with each code in turn, and says whether the client comes back.
import { done, open, sleep, tell, url, args } from "./common.js";

for (const code of args.map(Number)) {
  const client = open({ firstBackoffMs: 20, maxBackoffMs: 40 }, `${url}/${code}`);
  let connections = 0;
  let closed = null;
  client.on("connected", () => (connections += 1));
  client.on("closed", (event) => (closed = event));
  const until = Date.now() + 10_000;
  while (!closed && connections < 2 && Date.now() < until) await sleep(5);
  const wasClosed = closed;
  client.close();
  tell("code", { code, comesBack: connections >= 2, closed: wasClosed });
}
done();
