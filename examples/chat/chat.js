// Owns the page of the chat: rooms, messages, who is here, and what the connection is doing.
// Text of others goes into the page as text (`textContent`), never as HTML.
import { connect } from "/switchboard.js";

const PREFIX = "chat:";
const SHOWN = 300; // messages of a room that the page keeps
const AGE = 1e12; // more than a room ever has messages
const PRESENCE_MS = 30_000; // a killed worker's members are told of by nobody: ask from time to time
const $ = (id) => document.getElementById(id);
const STATES = {
  connecting: "connecting …",
  open: "connected",
  waiting: "connection lost, trying again …",
  offline: "offline, waiting for the network",
  closed: "disconnected",
};

let client = null;
let me = "";
let shown = ""; // the room on the page
const rooms = new Map(); // name -> Room

class Room {
  constructor(name) {
    this.name = name;
    this.messages = []; // {offset, user, text, at}
    this.notes = []; // {after: offset, text}
    this.members = new Map(); // client id -> user
    this.unread = 0;
    this.readTo = 0; // offset of the last message that was on the page
    this.epoch = null; // offsets mean nothing in another
    this.link = null;
  }

  async enter() {
    const link = (this.link = client.room(PREFIX + this.name));
    link.on("message", (message) => this.take(message));
    link.on("joined", (joined) => this.onJoined(joined));
    link.on("member_joined", ({ client: id, user }) => this.setMember(id, user));
    link.on("member_left", ({ client: id }) => this.setMember(id, null));
    link.on("presence_missed", () => this.askWhoIsHere());
    await link.join();
  }

  // After the first join, and each time we come back.
  async onJoined({ recovered, returning, epoch }) {
    if (!recovered) {
      if (returning && epoch !== this.epoch) this.beginAnew();
      const { messages } = await this.link.history({ limit: SHOWN });
      if (messages.length && this.last > 0 && messages[0].offset > this.last + 1) {
        this.notes.push({ after: messages[0].offset - 1, text: "Some of what was said before this is no longer kept." });
      }
      messages.forEach((message) => this.keep(message, message.published_at * 1000));
      if (!returning) this.readTo = this.last;
    }
    this.epoch = epoch;
    this.askWhoIsHere();
    if (this.name === shown) showRoom({ toEnd: !returning });
    showRooms();
  }

  // The server has started anew and counts from 1 again. What we have stays on the page, above that.
  beginAnew() {
    for (const message of this.messages) message.offset -= AGE;
    this.notes = [{ after: 0, text: "The server has started anew. What is above is on this page only." }];
    this.readTo = 0;
  }

  get last() {
    return this.messages.length ? this.messages[this.messages.length - 1].offset : 0;
  }

  take(message) {
    if (!this.keep(message, Date.now())) return;
    const isRead = this.name === shown && document.hasFocus();
    if (!isRead && message.data.user !== me) this.unread += 1;
    if (this.name === shown) {
      showMessages();
      if (isRead) this.readTo = message.offset;
    }
    showRooms();
  }

  keep({ offset, data }, at) {
    if (!data || typeof data.text !== "string" || this.messages.some((m) => m.offset === offset)) return false;
    this.messages.push({ offset, user: String(data.user ?? "?"), text: data.text, at });
    this.messages.sort((a, b) => a.offset - b.offset);
    if (this.messages.length > SHOWN) this.messages.splice(0, this.messages.length - SHOWN);
    return true;
  }

  setMember(id, user) {
    if (user === null) this.members.delete(id);
    else this.members.set(id, user);
    if (this.name === shown) showPeople();
  }

  async askWhoIsHere() {
    try {
      const { members } = await this.link.presence();
      this.members = new Map(members.map(({ client: id, user }) => [id, user]));
      if (this.name === shown) showPeople();
    } catch { /* not connected just now: asked again after the next join */ }
  }
}

// -- the page ------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

function messageElement({ user, text, at }) {
  const head = element("p", { className: "head" },
    element("span", { className: "who", textContent: user }), " ",
    element("time", { dateTime: new Date(at).toISOString(), textContent: clock.format(at) }));
  return element("article", { className: user === me ? "said own" : "said" },
    head, element("p", { textContent: text }));
}

function showMessages({ toEnd = false } = {}) {
  const room = rooms.get(shown), log = $("log");
  const isAtEnd = toEnd || log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  const parts = [];
  let hasDivider = room.unread === 0;
  for (const message of room.messages) {
    for (const note of room.notes.filter((one) => one.after === message.offset - 1)) {
      parts.push(element("p", { className: "note", textContent: note.text }));
    }
    if (!hasDivider && message.offset > room.readTo && message.user !== me) {
      parts.push(element("div", { className: "divider", role: "separator", textContent: "new" }));
      hasDivider = true;
    }
    parts.push(messageElement(message));
  }
  if (!room.messages.length) parts.push(element("p", { className: "note", textContent: "Nothing was said here yet." }));
  log.replaceChildren(...parts);
  if (isAtEnd) log.scrollTop = log.scrollHeight;
  $("newer").hidden = isAtEnd;
}

function showRoom({ toEnd = false } = {}) {
  $("room-title").textContent = shown;
  document.title = `${shown} – Chat`;
  showMessages({ toEnd });
  showPeople();
}

function showPeople() {
  const names = [...new Set(rooms.get(shown).members.values())].sort((a, b) => a.localeCompare(b));
  $("people").replaceChildren(...names.map((name) =>
    element("li", { textContent: name === me ? `${name} (you)` : name })));
  $("people-count").textContent = names.length;
}

function showRooms() {
  let total = 0;
  $("rooms").replaceChildren(...[...rooms.values()].map((room) => {
    const button = element("button", { type: "button" }, room.name);
    button.dataset.room = room.name;
    if (room.name === shown) button.setAttribute("aria-current", "true");
    if (room.unread) {
      total += room.unread;
      button.append(element("span", { className: "badge", textContent: room.unread, ariaLabel: `${room.unread} unread` }));
    }
    button.addEventListener("click", () => choose(room.name));
    return element("li", {}, button);
  }));
  $("unread-total").hidden = !total;
  $("unread-total").textContent = total;
}

function choose(name) {
  const before = rooms.get(shown);
  if (before) [before.readTo, before.unread] = [before.last, 0];
  shown = name;
  openPane(null);
  showRoom({ toEnd: true });
  read();
  $("text").focus();
}

// What is on the page counts as read once the page has the focus; the mark stays until one leaves.
function read() {
  const room = rooms.get(shown);
  if (room && document.hasFocus()) room.unread = 0;
  showRooms();
}

async function enter(name) {
  if (!rooms.has(name)) {
    const room = new Room(name);
    rooms.set(name, room);
    localStorage.setItem("rooms", JSON.stringify([...rooms.keys()]));
    try {
      await room.enter();
    } catch (error) {
      rooms.delete(name);
      if (client.state !== "closed") say("send-error", `${name}: ${error.message}`);
      return;
    }
  }
  choose(name);
}

function openPane(id) {
  for (const [pane, toggle] of [["rooms-pane", "rooms-toggle"], ["people-pane", "people-toggle"]]) {
    const isOpen = pane === id && !$(pane).classList.contains("open");
    $(pane).classList.toggle("open", isOpen);
    $(toggle).setAttribute("aria-expanded", isOpen);
  }
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

function showState({ state, reason = "" }) {
  $("state").dataset.state = state;
  $("state-text").textContent = (STATES[state] ?? state) + (reason ? ` (${reason})` : "");
  $("text").disabled = $("send").disabled = state !== "open";
}

// -- begin ---------------------------------------------------------------------------------------

async function begin(name) {
  me = name;
  const url = new URL("realtime", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  client = connect(url.href, { data: { name } });
  client.on("state", showState);
  client.on("refused", ({ message }) => {
    localStorage.removeItem("name");
    say("name-error", message);
    $("welcome").showModal();
  });
  showState({ state: "connecting" });
  const asked = decodeURIComponent(location.hash.slice(1));
  const known = JSON.parse(localStorage.getItem("rooms") ?? '["lobby", "help"]');
  for (const room of new Set(["lobby", ...known])) await enter(room);
  if (client.state === "closed") return;
  await enter(asked || "lobby");
  setInterval(() => rooms.get(shown).askWhoIsHere(), PRESENCE_MS);
}

$("name-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("name").value.trim();
  if (!name) return;
  localStorage.setItem("name", name);
  $("welcome").close();
  begin(name);
});

$("send-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  try {
    await rooms.get(shown).link.publish({ user: me, text });
    say("send-error", "");
  } catch (error) {
    if (!$("text").value) $("text").value = text;
    say("send-error", `Not sent: ${error.message}`);
  }
});

$("room-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("room-name").value.trim();
  $("room-name").value = "";
  if (name) enter(name);
});

$("log").addEventListener("scroll", () => {
  const log = $("log");
  if (log.scrollHeight - log.scrollTop - log.clientHeight < 60) $("newer").hidden = true;
});
$("newer").addEventListener("click", () => { $("log").scrollTop = $("log").scrollHeight; });
$("rooms-toggle").addEventListener("click", () => openPane("rooms-pane"));
$("people-toggle").addEventListener("click", () => openPane("people-pane"));
addEventListener("focus", read);

const known = localStorage.getItem("name");
if (known) begin(known);
else $("welcome").showModal();
