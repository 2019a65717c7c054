// Owns a client of the realtime protocol (docs/protocol.md): it stays connected, comes back to its
// rooms with nothing missed, and says what happens. It knows no page, and no HTML.
//
//   import { connect } from "/switchboard.js";
//   const client = connect("wss://example.org/realtime");
//   const tea = client.room("tea");
//   tea.on("message", ({ data }) => console.log(data));
//   await tea.join();
//   await tea.publish({ text: "hello" });
//
// Under Node it needs `WebSocket` of the npm package `ws` as an option.

const SUBPROTOCOL = "switchboard.v1";
const FINAL_CODES = new Set([1003, 1009, 4501, 4502, 4503]);
const STABLE_MS = 10_000; // a connection that lasted so long was a good one

const DEFAULTS = {
  data: null, // sent to the app's `authorize`; a function is called before each connection
  getToken: null, // async () => token, called before each connection and before a token ends
  WebSocket: globalThis.WebSocket,
  firstBackoffMs: 1000,
  maxBackoffMs: 20_000,
  connectTimeoutMs: 10_000,
  requestTimeoutMs: 10_000,
  random: Math.random,
};

/** A request that failed: `code` is one of the protocol's, or not_connected, lost, timeout, closed. */
export class SwitchboardError extends Error {
  constructor(code, message, { retry = false, closeCode = 0 } = {}) {
    super(message);
    this.name = "SwitchboardError";
    this.code = code;
    this.retry = retry;
    this.closeCode = closeCode;
  }
}

/** Begin to connect; returns the client at once. */
export function connect(url, options = {}) {
  return new Client(url, options);
}

class Emitter {
  #listeners = new Map();

  /** Call `listener` on each event of a name; returns a function that ends it. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name).delete(listener);
  }

  emit(name, event) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(event);
      } catch (error) {
        reportError(error); // one listener's fault is none of the others'
      }
    }
  }
}

const reportError = globalThis.reportError?.bind(globalThis) ?? ((error) => console.error(error));

/** A frame, or null for what is none. */
function frameOf(data) {
  try {
    const frame = JSON.parse(data);
    return typeof frame?.type === "string" ? frame : null;
  } catch {
    return null;
  }
}

/**
 * A connection that comes back by itself.
 *
 * Events: `state` ({state, reason, retryInMs}), `connected`, `refused` (the app does not let us in),
 * `closed` (for good: {code, reason}), `broadcast` ({data}), `broadcasts_missed`, `token_failed`.
 */
export class Client extends Emitter {
  state = "connecting"; // connecting, open, waiting, offline, closed
  id = null; // of this connection
  user = null;
  limits = null;

  #url;
  #options;
  #socket = null;
  #rooms = new Map();
  #requests = new Map();
  #waiting = []; // requests that were made while we connect
  #lastId = 0;
  #attempts = 0;
  #openedAt = 0;
  #timers = {};
  #isHeard = true;
  #isOpened = false; // the handshake was accepted
  #refusal = null;

  constructor(url, options = {}) {
    super();
    this.#url = url;
    this.#options = { ...DEFAULTS, ...options };
    if (!this.#options.WebSocket) throw new TypeError("there is no WebSocket here: give it as an option");
    globalThis.addEventListener?.("online", this.#onOnline);
    globalThis.addEventListener?.("offline", this.#onOffline);
    queueMicrotask(() => this.#connect()); // who made us may add listeners before
  }

  /** The room of that name; one object for each name. */
  room(name) {
    if (!this.#rooms.has(name)) this.#rooms.set(name, new Room(this, name));
    return this.#rooms.get(name);
  }

  /** End it for good. */
  close(code = 1000, reason = "") {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#end({ code, reason });
    socket?.close(code, reason);
  }

  // -- requests ----------------------------------------------------------------------------------

  /**
   * Send a request; resolves with its answer, rejects with a SwitchboardError. While we connect it
   * waits for that first.
   */
  request(type, fields = {}) {
    if (this.state === "connecting" && type !== "connect") {
      const settled = new Promise((resolve) => this.#waiting.push(resolve));
      return settled.then(() => this.request(type, fields));
    }
    if (this.state !== "open" && type !== "connect") {
      const isOver = this.state === "closed";
      const code = isOver ? "closed" : "not_connected";
      const text = isOver ? "the connection was closed" : "there is no connection just now";
      return Promise.reject(new SwitchboardError(code, text, { retry: !isOver }));
    }
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#requests.delete(id);
        reject(new SwitchboardError("timeout", `no answer to ${type} in time`, { retry: true }));
      }, this.#options.requestTimeoutMs);
      this.#requests.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  #answer(frame) {
    const request = this.#requests.get(frame.id);
    if (!request) return;
    this.#requests.delete(frame.id);
    clearTimeout(request.timer);
    if (frame.type === "error") {
      request.reject(new SwitchboardError(frame.code, frame.message, { retry: frame.retry }));
    } else {
      request.resolve(frame);
    }
  }

  // -- the life of a connection ------------------------------------------------------------------

  async #connect() {
    clearTimeout(this.#timers.retry);
    if (this.state === "closed" || this.#socket) return;
    if (globalThis.navigator?.onLine === false) {
      this.#become("offline");
      return;
    }
    this.#become("connecting");
    const socket = new this.#options.WebSocket(this.#url, [SUBPROTOCOL]);
    this.#socket = socket;
    this.#isOpened = false;
    this.#timers.connect = setTimeout(() => this.#drop(socket, "no connection in time"), this.#options.connectTimeoutMs);
    socket.onopen = () => this.#introduce(socket);
    // A browser does not tell its page why there is no connection; `ws` does.
    let problem = "the server is not there, or does not let us in";
    socket.onmessage = ({ data }) => {
      if (socket !== this.#socket) return;
      const frame = frameOf(data);
      if (frame) this.#take(frame);
      else this.#drop(socket, `what came is no frame of ${SUBPROTOCOL}`);
    };
    socket.onerror = ({ message }) => { if (message) problem = message; }; // `close` follows
    socket.onclose = ({ code, reason }) => {
      if (socket === this.#socket) this.#lose(code, reason || (this.#isOpened ? "" : problem));
    };
  }

  async #introduce(socket) {
    if (socket === this.#socket) this.#isOpened = true;
    try {
      const { data, getToken } = this.#options;
      const fields = { data: typeof data === "function" ? await data() : data };
      if (getToken) fields.token = await getToken();
      if (socket !== this.#socket) return;
      this.#onConnected(await this.request("connect", fields));
    } catch (error) {
      if (socket !== this.#socket) return;
      if (error.code === "unauthorized") {
        this.#refusal = error; // the close frame follows
      } else if (!(error instanceof SwitchboardError)) {
        this.emit("token_failed", error);
      }
      if (error.code !== "unauthorized") this.#drop(socket, error.message);
    }
  }

  #onConnected(frame) {
    clearTimeout(this.#timers.connect);
    this.#openedAt = Date.now();
    this.#isHeard = true;
    [this.id, this.user, this.limits] = [frame.client, frame.user ?? null, frame.limits];
    this.#timers.ping = setInterval(() => this.#beat(), frame.ping_interval_s * 1000);
    this.#planRefresh(frame.expires_in_s);
    this.#become("open");
    this.emit("connected", frame);
    for (const room of this.#rooms.values()) room._onConnected();
  }

  #take(frame) {
    this.#isHeard = true;
    const room = frame.room === undefined ? undefined : this.#rooms.get(frame.room);
    if (frame.id !== undefined && frame.id !== null) {
      if (frame.type === "joined") room?._onJoined(frame); // before any message that follows it
      this.#answer(frame);
    } else if (frame.type === "broadcast") {
      this.emit("broadcast", frame);
    } else if (frame.type === "missed" && frame.what === "broadcasts") {
      this.emit("broadcasts_missed", frame);
    } else {
      room?._take(frame);
    }
  }

  /** Ping, unless the last one had no answer: then the server is lost, whatever TCP thinks. */
  #beat() {
    if (!this.#isHeard) {
      this.#drop(this.#socket, "the server does not answer");
      return;
    }
    this.#isHeard = false;
    this.#socket.send('{"type":"ping"}');
  }

  #planRefresh(seconds) {
    clearTimeout(this.#timers.refresh);
    if (!this.#options.getToken || seconds === undefined || seconds === null) return;
    const early = Math.min(30, seconds / 2) * (0.5 + this.#options.random() / 2);
    // Not at once, also if the token that we get is the old one, or almost over.
    const wait = Math.min(Math.max(1000, (seconds - early) * 1000), 2 ** 31 - 1);
    this.#timers.refresh = setTimeout(() => this.#refresh(), wait);
  }

  async #refresh() {
    const socket = this.#socket;
    try {
      const token = await this.#options.getToken();
      if (socket !== this.#socket || this.state !== "open") return;
      const { expires_in_s: seconds } = await this.request("refresh", { token });
      this.#planRefresh(seconds);
    } catch (error) {
      this.emit("token_failed", error); // the one before counts on until it ends: then 4003
    }
  }

  /** End a connection that is of no use, without waiting for the other side. */
  #drop(socket, reason) {
    if (socket !== this.#socket) return;
    this.#lose(1006, reason);
    socket.close();
  }

  #lose(code, reason) {
    this.#forget(code, reason);
    if (FINAL_CODES.has(code) || this.#refusal) {
      this.#end({ code, reason: this.#refusal?.message ?? reason });
    } else if (globalThis.navigator?.onLine === false) {
      this.#become("offline", reason);
    } else {
      this.#retry(reason);
    }
  }

  #forget(code, reason) {
    if (this.#openedAt && Date.now() - this.#openedAt > STABLE_MS) this.#attempts = 0;
    this.#openedAt = 0;
    this.#socket = null;
    for (const timer of ["connect", "refresh", "retry"]) clearTimeout(this.#timers[timer]);
    clearInterval(this.#timers.ping);
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    for (const { reject, timer } of requests) {
      clearTimeout(timer);
      reject(new SwitchboardError("lost", reason || "the connection was lost", { retry: true, closeCode: code }));
    }
  }

  /** Wait before the next attempt: anything up to a limit that doubles, so that not all come at once. */
  #retry(reason) {
    const { firstBackoffMs, maxBackoffMs, random } = this.#options;
    const most = Math.min(maxBackoffMs, firstBackoffMs * 2 ** this.#attempts);
    this.#attempts += 1;
    const retryInMs = Math.round(most * random());
    this.#become("waiting", reason, retryInMs);
    this.#timers.retry = setTimeout(() => this.#connect(), retryInMs);
  }

  #end({ code, reason }) {
    this.#forget(code, reason);
    globalThis.removeEventListener?.("online", this.#onOnline);
    globalThis.removeEventListener?.("offline", this.#onOffline);
    this.#become("closed", reason);
    const error = this.#refusal ?? new SwitchboardError("closed", reason || "the connection was closed", { closeCode: code });
    for (const room of this.#rooms.values()) room._onEnd(error);
    if (this.#refusal) this.emit("refused", { code: this.#refusal.code, message: this.#refusal.message });
    this.emit("closed", { code, reason });
  }

  #onOnline = () => {
    this.#attempts = 0;
    if (!this.#socket && this.state !== "closed") this.#connect();
  };

  #onOffline = () => {
    if (this.state === "closed") return;
    if (this.#socket) this.#drop(this.#socket, "offline");
    else {
      clearTimeout(this.#timers.retry);
      this.#become("offline");
    }
  };

  #become(state, reason = "", retryInMs = 0) {
    this.state = state;
    if (state !== "connecting") for (const resolve of this.#waiting.splice(0)) resolve();
    this.emit("state", { state, reason, retryInMs });
  }
}

/**
 * A room. It is joined again after each loss, with all that was missed, until `leave`.
 *
 * Events: `message` ({offset, data}), `joined` ({offset, epoch, recovered, returning}): if we return
 * and it is not recovered, what is known of the room is out of date; `member_joined` and
 * `member_left` ({client, user}), `presence_missed`, `failed` (it could not be joined again: an error).
 */
export class Room extends Emitter {
  offset = null; // of the last message that we have had
  epoch = null;
  isJoined = false;

  #client;
  #isWanted = false;
  #waiters = [];
  #retryTimer;
  #failures = 0;

  constructor(client, name) {
    super();
    this.#client = client;
    this.name = name;
  }

  /** Be in the room from now on; resolves with the first `joined`. Give a place to be sent what came after it. */
  join({ since = null, epoch = null } = {}) {
    if (this.#client.state === "closed") {
      return Promise.reject(new SwitchboardError("closed", "the connection was closed"));
    }
    if (this.isJoined) {
      return Promise.resolve({ offset: this.offset, epoch: this.epoch, recovered: false, returning: true });
    }
    if (since !== null) [this.offset, this.epoch] = [since, epoch];
    const promise = new Promise((resolve, reject) => this.#waiters.push({ resolve, reject }));
    if (!this.#isWanted) {
      this.#isWanted = true;
      if (this.#client.state === "open") this.#enter();
    }
    return promise;
  }

  /** Be in it no longer. */
  async leave() {
    this.#isWanted = this.isJoined = false;
    clearTimeout(this.#retryTimer);
    this.#settle("reject", new SwitchboardError("left", "the room was left"));
    if (this.#client.state === "open") await this.#client.request("leave", { room: this.name });
  }

  /** Publish; resolves with {epoch, offset}. It is not kept for later: after `lost` or `timeout` it may or may not have been published. */
  async publish(data) {
    const { epoch, offset } = await this.#client.request("publish", { room: this.name, data });
    return { epoch, offset };
  }

  /** Who is here: {count, members: [{client, user}]}. */
  async presence() {
    const { count, members } = await this.#client.request("presence", { room: this.name });
    return { count, members };
  }

  /** What was said: {epoch, offset, messages: [{offset, data, published_at}]}. */
  async history({ since = 0, limit = 100 } = {}) {
    const fields = { room: this.name, since, limit };
    const { epoch, offset, messages } = await this.#client.request("history", fields);
    return { epoch, offset, messages };
  }

  // -- for the client ----------------------------------------------------------------------------

  _onConnected() {
    this.isJoined = false;
    if (this.#isWanted) this.#enter();
  }

  _onJoined({ epoch, offset, recovered }) {
    const returning = this.epoch !== null;
    // What came before `joined` has set the offset already; a room that began anew sets it back.
    if (!recovered || this.offset === null || offset > this.offset) this.offset = offset;
    this.epoch = epoch;
    this.isJoined = true;
    this.#failures = 0;
    const joined = { epoch, offset, recovered, returning };
    this.#settle("resolve", joined);
    this.emit("joined", joined);
  }

  _take(frame) {
    if (!this.#isWanted) return;
    if (frame.type === "message") {
      if (this.offset !== null && frame.offset <= this.offset) return; // we have had it
      this.offset = frame.offset;
      this.emit("message", frame);
    } else if (frame.type === "missed") {
      if (frame.what === "messages") this.#enter();
      else this.emit("presence_missed", frame);
    } else {
      this.emit(frame.type, frame);
    }
  }

  _onEnd(error) {
    this.#isWanted = this.isJoined = false;
    clearTimeout(this.#retryTimer);
    this.#settle("reject", error);
  }

  async #enter() {
    clearTimeout(this.#retryTimer);
    const place = this.epoch === null ? {} : { since: this.offset, epoch: this.epoch };
    try {
      await this.#client.request("join", { room: this.name, ...place });
    } catch (error) {
      if (error.code === "lost" || !this.#isWanted) return; // joined again when it is back
      if (error.retry) {
        const wait = Math.min(20_000, 1000 * 2 ** this.#failures++) * (0.5 + Math.random() / 2);
        this.#retryTimer = setTimeout(() => this.#client.state === "open" && this.#isWanted && this.#enter(), wait);
        return;
      }
      this.#isWanted = this.isJoined = false;
      if (this.#waiters.length) this.#settle("reject", error);
      else this.emit("failed", error);
    }
  }

  #settle(how, value) {
    for (const waiter of this.#waiters.splice(0)) waiter[how](value);
  }
}
