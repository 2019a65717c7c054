// Keeps a connection with tokens that last a few seconds; then the app takes no new ones.
import { createHmac } from "node:crypto";
import { done, once, open, sleep, tell, url, args } from "./common.js";

const [key, life] = [args[0], Number(args[1])];
const encode = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
function token(user = "ada") {
  const now = Math.floor(Date.now() / 1000);
  const text = `${encode({ alg: "HS256", typ: "JWT" })}.${encode({ sub: user, iat: now, exp: now + life })}`;
  return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
}

let given = 0;
const client = open({ getToken: async () => { given += 1; return token(); } });
const states = [];
client.on("state", ({ state }) => states.push(state));
await once(client, "connected");
await sleep(life * 2500);
tell("kept", { given, states, user: client.user });
client.close();

// The second time there is none to be had, so the connection ends with its token.
let asked = 0;
const stale = open({ firstBackoffMs: 20, getToken: () => { if ((asked += 1) === 2) throw new Error("no token now"); return token(); } });
const seen = [];
stale.on("state", ({ state }) => seen.push(state));
const failures = [];
stale.on("token_failed", (error) => failures.push(error.message));
await once(stale, "connected");
await once(stale, "connected"); // with another token, after 4003
tell("came back", { seen, failures });
stale.close();

const bad = open({ getToken: () => "no token at all" });
const refused = await once(bad, "refused");
tell("refused", { ...refused, state: bad.state });
done();
