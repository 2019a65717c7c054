// Owns what all scripts do: the client with `ws`, lines of JSON for the test, orders from it.
import { createInterface } from "node:readline";
import WebSocket from "ws";
import { connect } from "../../../server/static/switchboard.js";

export const [url, ...args] = process.argv.slice(2);
export const open = (more = {}, to = url) => connect(to, { WebSocket, ...more });
export const tell = (event, fields = {}) => console.log(JSON.stringify({ event, at: Date.now(), ...fields }));
export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
export const once = (emitter, name) => new Promise((resolve) => { const off = emitter.on(name, (event) => { off(); resolve(event); }); });

process.on("unhandledRejection", (error) => { tell("unhandled", { text: String(error) }); process.exit(3); });

/** Resolves when the test has written a line. */
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
export const order = async () => (await lines.next()).value;
export const done = () => process.stdin.destroy(); // nothing else may keep the process running
