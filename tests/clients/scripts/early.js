// Asks before there is a connection: with a server, and where nobody listens.
import { done, open, tell, args } from "./common.js";

async function publish(client) {
  const answers = await Promise.allSettled([1, 2, 3].map((number) => client.room("early").publish(number)));
  client.close();
  return answers.map(({ value, reason }) => value?.offset ?? reason.code);
}

tell("there", { answers: await publish(open()) });
tell("nobody", { answers: await publish(open({ firstBackoffMs: 60_000 }, args[0])) });
const client = open();
const asked = client.room("early").publish(4).catch((error) => error.code);
client.close();
tell("closed", { answers: [await asked] });
done();
