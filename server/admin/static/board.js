// Owns the board: asks for its data about once a second and shows them. What a client has sent is
// shown as text and never becomes HTML. Knows no other page.

const PERIOD_MS = 1000;
const TIMEOUT_MS = 5000;
const STALE_MS = 3000;
const HISTORY_MS = 60000;
const KEY = "switchboard.key";

const $ = (id) => document.getElementById(id);
const history = []; // of the last minute, for rates
let last = null; // the newest data
let lastAt = 0;
let asksKey = "acts";
let timer = 0;
let asking = null; // the request under way
let round = 0; // of requests; what an older one brings is not shown
let drain = null; // {most}: the most connections seen since it began
let isGone = false;
let isProblemShown = false; // that data were refused

// -- asking -------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function ask(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { cache: "no-store", ...options, headers });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error || `HTTP ${response.status}`);
  return answer;
}

function act(path, body) {
  const headers = { "Content-Type": "application/json", "X-Switchboard-Board": "1" };
  const signal = AbortSignal.timeout(10000);
  return ask(path, { method: "POST", headers, body: JSON.stringify(body), signal });
}

async function refresh() {
  clearTimeout(timer);
  asking?.abort();
  const mine = ++round;
  const began = performance.now();
  asking = new AbortController();
  const late = setTimeout(() => asking.abort(), TIMEOUT_MS);
  try {
    const query = new URLSearchParams({ field: $("field").value, search: $("search").value });
    const data = await ask(`/board/data?${query}`, { signal: asking.signal });
    if (mine !== round) return;
    lastAt = performance.now();
    isGone = false;
    $("search-problem").textContent = "";
    if (data.asks_key === "all") hideKeyForm();
    if (isProblemShown) say("", false);
    show(data);
  } catch (error) {
    if (mine !== round) return;
    onProblem(error);
  } finally {
    clearTimeout(late);
    if (mine === round) {
      showFreshness();
      // A look that takes long is taken less often: it costs the server a tenth of a core at most.
      const took = performance.now() - began;
      timer = setTimeout(next, Math.max(PERIOD_MS, 10 * took * (isGone ? 0 : 1)));
    }
  }
}

function next() {
  const waits = asksKey === "all" && !$("key-form").hidden;
  if (document.hidden || waits) timer = setTimeout(next, PERIOD_MS);
  else refresh();
}

function onProblem(error) {
  if (error instanceof Refused && error.status === 400) {
    $("search-problem").textContent = error.message;
    lastAt = performance.now();
  } else if (error instanceof Refused && error.status === 401) {
    asksKey = "all";
    askForKey(sessionStorage.getItem(KEY) ? error.message : "");
  } else if (error instanceof Refused) {
    say(error.message, true);
    isProblemShown = true;
  } else {
    isGone = error.name !== "AbortError";
  }
}

// -- the key ------------------------------------------------------------------------------------

function askForKey(problem) {
  $("key-form").hidden = false;
  if (problem) sessionStorage.removeItem(KEY);
  setText($("key-problem"), problem || $("key-problem").textContent);
}

function hideKeyForm() {
  $("key-form").hidden = true;
  setText($("key-problem"), "");
}

$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = $("key").value.trim();
  if (!/^[!-~]+$/.test(key)) {
    setText($("key-problem"), "A key has ASCII characters and no spaces.");
    return;
  }
  sessionStorage.setItem(KEY, key);
  $("key").value = "";
  hideKeyForm();
  if (asksKey === "acts") say("The key is used for the next act.", false);
  refresh();
});

// -- small things -------------------------------------------------------------------------------

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  node.className = className;
  return node;
}

function say(text, isBad) {
  isProblemShown = false;
  setText($("notice"), text);
  $("notice").className = `notice ${isBad ? "bad" : ""}`;
  $("notice").hidden = !text;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const count = (n) => whole.format(n);
const rate = (n) => (n === null ? "–" : (n < 10 ? tenth : whole).format(n));
const plural = (n, name) => `${count(n)} ${name}${n === 1 ? "" : "s"}`;

function span(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${String(s % 60).padStart(2, "0")}s`;
  if (s < 86400) return `${Math.floor(s / 3600)}h${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}m`;
  return `${Math.floor(s / 86400)}d${Math.floor((s % 86400) / 3600)}h`;
}

const mib = (bytes) => (bytes === null ? "–" : `${tenth.format(bytes / 1048576)} MiB`);

// -- tables -------------------------------------------------------------------------------------

/** Show rows in a table: those that stay keep their elements, and so the focus.
 * columns: [title, of a row its text or element, class]; keyOf: what a row is known by. */
function fill(id, columns, rows, keyOf, none) {
  const table = $(id);
  if (!table.tHead) {
    const head = table.createTHead().insertRow();
    for (const [title, , name = ""] of columns) {
      const cell = head.appendChild(make("th", title, name));
      cell.scope = "col";
    }
    table.rowsByKey = new Map();
    table.append(make("tbody"));
  }
  const body = table.tBodies[0];
  const before = table.rowsByKey;
  const isFirst = !table.wasFilled;
  table.wasFilled = true;
  const now = new Map();
  for (const row of rows) now.set(keyOf(row), row);
  for (const [key, element] of before) {
    if (!now.has(key)) {
      element.remove();
      before.delete(key);
    }
  }
  body.querySelector(".none")?.remove();
  let at = body.firstElementChild;
  for (const [key, row] of now) {
    let element = before.get(key);
    if (!element) {
      element = make("tr", "", isFirst ? "" : "new");
      for (const [, , name = ""] of columns) element.append(make("td", "", name));
      before.set(key, element);
    }
    columns.forEach(([, value], index) => showCell(element.cells[index], value(row)));
    if (element === at) at = at.nextElementSibling;
    else body.insertBefore(element, at);
  }
  if (!rows.length) {
    const cell = make("td", none);
    cell.colSpan = columns.length;
    const line = make("tr", "", "none");
    line.append(cell);
    body.append(line);
  }
}

function showCell(cell, value) {
  if (typeof value === "function") {
    if (!cell.firstElementChild) cell.append(value());
  } else if (Array.isArray(value)) {
    setText(cell, value[0]);
    cell.className = value[1];
  } else {
    setText(cell, value);
    if (value.length > 24) cell.title = value;
  }
}

// -- showing ------------------------------------------------------------------------------------

function show(data) {
  const server = data.server;
  if (last && last.server.epoch !== server.epoch) {
    history.length = 0; // another server: its counters begin anew
    drain = null;
    say("", false);
  }
  last = data;
  asksKey = data.asks_key;
  history.push(data);
  while (data.now_s - history[0].now_s > HISTORY_MS / 1000) history.shift();
  document.title = `${server.app} – Switchboard`;
  setText($("app"), `${server.app} at ${server.address}, pid ${server.pid}, up ${span(server.uptime_s)}`);
  const kind = { ready: "good", degraded: "warn", draining: "warn" }[server.status] || "bad";
  $("state").className = `badge ${kind}`;
  setText($("state"), `${server.status}, ${server.ready} of ${plural(server.wanted, "worker")}`);
  const isDraining = server.state === "draining" || server.state === "stopped";
  $("drain").disabled = isDraining;
  if (isDraining) showDrain(data.connections.total);
  showSums(data);
  showWorkers(server.workers);
  showRoutes(data.routes);
  showRooms(data.rooms);
  showCloses(data.closes);
  showConnections(data.connections);
}

/** Return how fast a number has grown over the last seconds; null if that is not known yet. */
function perSecond(valueOf, seconds = 3) {
  const now = history.at(-1);
  const then = history.findLast((data) => now.now_s - data.now_s >= seconds - 0.5) || history[0];
  const before = valueOf(then);
  if (then === now || before === undefined || before === null) return null;
  return Math.max(0, (valueOf(now) - before) / (now.now_s - then.now_s));
}

const sumOf = (data, name) => data.routes.reduce((sum, row) => sum + row[name], 0);

function showSums(data) {
  const memory = data.server.workers.reduce((sum, row) => sum + (row.memory_bytes || 0), 0);
  const sums = [
    ["Connections", count(data.connections.total)],
    ["Opened / s", rate(perSecond((d) => sumOf(d, "opened")))],
    ["Closed / s", rate(perSecond((d) => sumOf(d, "closed")))],
    ["Received / s", rate(perSecond((d) => sumOf(d, "messages_received")))],
    ["Sent / s", rate(perSecond((d) => sumOf(d, "messages_sent")))],
    ["Rooms", count(data.rooms.total)],
    ["Memory of workers", mib(memory)],
  ];
  const list = $("sums");
  if (!list.childElementCount) {
    for (const [title] of sums) {
      const box = make("div");
      box.append(make("dt", title), make("dd"));
      list.append(box);
    }
  }
  sums.forEach(([, value], index) => setText(list.children[index].lastElementChild, value));
}

function cpu(worker) {
  const of = (data) => data.server.workers.find((row) => row.pid === worker.pid)?.cpu_s;
  const share = perSecond(of);
  return share === null || worker.cpu_s === null ? "–" : `${Math.round(100 * share)} %`;
}

function heartbeat(worker) {
  const age = worker.heartbeat_age_s;
  if (age === null) return ["–", "n"];
  return [`${age.toFixed(1)}s`, age > 10 ? "n bad" : age > 3 ? "n warn" : "n"];
}

const WORKERS = [
  ["worker", (row) => String(row.worker)],
  ["pid", (row) => String(row.pid), "n"],
  ["state", (row) => [row.state, row.state === "ready" ? "good" : row.state === "dead" ? "bad" : "warn"]],
  ["up", (row) => span(row.uptime_s), "n"],
  ["connections", (row) => count(row.connections), "n"],
  ["heartbeat", heartbeat, "n"],
  ["lag", (row) => [`${(row.lag_s * 1000).toFixed(1)} ms`, row.lag_s > 0.1 ? "n warn" : "n"], "n"],
  ["restarts", (row) => [count(row.restarts), row.restarts ? "n warn" : "n"], "n"],
  ["CPU", cpu, "n"],
  ["memory", (row) => mib(row.memory_bytes), "n"],
];

function showWorkers(rows) {
  fill("workers", WORKERS, rows, (row) => row.generation, "no worker runs");
}

function routeRate(name) {
  return (row) => rate(perSecond((d) => d.routes.find((r) => r.route === row.route)?.[name]));
}

const ROUTES = [
  ["route", (row) => row.route],
  ["open", (row) => count(row.open), "n"],
  ["opened / s", routeRate("opened"), "n"],
  ["closed / s", routeRate("closed"), "n"],
  ["refused", (row) => count(row.refused), "n"],
  ["errors", (row) => [count(row.errors), row.errors ? "n bad" : "n"], "n"],
];

function showRoutes(rows) {
  const sorted = [...rows].sort((a, b) => b.open - a.open || b.opened - a.opened);
  fill("routes", ROUTES, sorted, (row) => row.route, "the app has no WebSocket routes");
}

const ROOMS = [
  ["room", (row) => row.room],
  ["members", (row) => count(row.members), "n"],
  ["messages", (row) => count(row.messages), "n"],
  ["last", (row) => span(row.idle_s), "n"],
];

function showRooms(rooms) {
  const more = rooms.total > rooms.rows.length ? `, the biggest ${rooms.rows.length} shown` : "";
  setText($("rooms-count"), `${count(rooms.total)}${more}`);
  fill("rooms", ROOMS, rooms.rows, (row) => row.room, "there are no rooms");
}

const total = (row) => row.client + row.server + row.crash;

function lastMinute(row) {
  const before = history[0].closes.find((r) => r.code === row.code);
  return count(Math.max(0, total(row) - (before ? total(before) : 0)));
}

const CLOSES = [
  ["code", (row) => String(row.code)],
  ["name", (row) => row.name],
  ["by client", (row) => count(row.client), "n"],
  ["by server", (row) => count(row.server), "n"],
  ["crash", (row) => [count(row.crash), row.crash ? "n bad" : "n"], "n"],
  ["last minute", lastMinute, "n"],
];

function showCloses(rows) {
  fill("closes", CLOSES, rows, (row) => String(row.code), "no connection has been closed yet");
}

const CONNECTIONS = [
  ["id", (row) => row.id],
  ["user", (row) => row.user || "–"],
  ["route", (row) => row.route],
  ["path", (row) => row.path],
  ["address", (row) => row.client],
  ["worker", (row) => String(row.worker), "n"],
  ["age", (row) => span(row.age_s), "n"],
  ["idle", (row) => span(row.idle_s), "n"],
  ["in", (row) => count(row.messages_received), "n"],
  ["out", (row) => count(row.messages_sent), "n"],
  ["end it", (row) => () => disconnectButton(row)],
];

function disconnectButton(row) {
  const button = make("button", "Disconnect");
  button.type = "button";
  button.setAttribute("aria-label", `Disconnect ${row.id}`);
  button.addEventListener("click", () => askDisconnect(row));
  return button;
}

function showConnections(found) {
  const shown = found.rows.length;
  const all = found.matched === found.total ? "" : ` of ${count(found.total)} found`;
  const rest = found.matched > shown ? `, the newest ${shown} shown, ${count(found.matched - shown)} more` : "";
  setText($("connections-count"), `${count(found.matched)}${all}${rest}`);
  const none = found.total ? "none is found" : "there are no connections";
  fill("connections", CONNECTIONS, found.rows, (row) => row.id, none);
}

function showFreshness() {
  const age = performance.now() - lastAt;
  const isEnd = drain && isGone;
  const isStale = !last || age > STALE_MS || isGone;
  document.body.classList.toggle("stale", isStale);
  let words = ["live", "good"];
  if (isEnd) words = ["the server is gone", "bad"];
  else if (!$("key-form").hidden && asksKey === "all") words = ["needs the key", "warn"];
  else if (isGone) words = ["no server answers", "bad"];
  else if (!last) words = ["no data yet", "warn"];
  else if (isStale) words = ["old data", "warn"];
  $("fresh").className = `badge ${words[1]}`;
  setText($("fresh"), words[0]);
  if (isGone) {
    $("drain").disabled = true;
    $("state").className = "badge";
    setText($("state"), isEnd ? "ended" : "not known");
  }
  if (isEnd) {
    $("draining-bar").value = 1;
    setText($("draining-text"), "The server has ended. All its connections are closed.");
  }
}
setInterval(showFreshness, 1000);

// -- acting -------------------------------------------------------------------------------------

let onYes = null;

function openDialog({ title, text, yes, hasFields, action }) {
  setText($("ask-title"), title);
  setText($("ask-text"), text);
  setText($("ask-yes"), yes);
  setText($("ask-problem"), "");
  $("ask-fields").hidden = !hasFields;
  onYes = action;
  $("ask").showModal();
  $("ask-no").focus();
}

$("ask-no").addEventListener("click", () => $("ask").close());
$("ask-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("ask-yes").disabled = true;
  try {
    await onYes();
    $("ask").close();
    refresh();
  } catch (error) {
    if (error.status === 401) {
      $("ask").close();
      askForKey(sessionStorage.getItem(KEY) ? error.message : "This needs the key; then try again.");
      $("key").focus();
    } else {
      const isRefused = error instanceof Refused;
      setText($("ask-problem"), isRefused ? error.message : "The server does not answer.");
    }
  } finally {
    $("ask-yes").disabled = false;
  }
});

function askDisconnect(row) {
  const whose = row.user ? ` of ${row.user}` : "";
  openDialog({
    title: `Disconnect ${row.id}?`,
    text: `The connection${whose} on ${row.path} from ${row.client} is closed with this code.`,
    yes: "Disconnect",
    hasFields: true,
    action: async () => {
      const code = Number($("code").value);
      const body = { id: row.id, code, reason: $("reason").value };
      const { asked } = await act("/board/disconnect", body);
      const end = asked ? `was asked to close with ${code}` : "had ended already";
      say(`Connection ${row.id} ${end}.`, false);
    },
  });
}

$("drain").addEventListener("click", () => {
  if (!last) return;
  const closes = plural(last.connections.total, "connection");
  openDialog({
    title: "Drain the server?",
    text:
      `It takes no new connections, closes the ${closes} by and by with 1001, and ends. It does` +
      " not start again by itself, unless something starts it.",
    yes: `Close ${closes} and end`,
    hasFields: false,
    action: async () => {
      const { connections } = await act("/board/drain", {});
      showDrain(connections);
    },
  });
});

function showDrain(left) {
  drain ||= { most: left };
  drain.most = Math.max(drain.most, left);
  $("draining").hidden = false;
  const closed = drain.most - left;
  $("draining-bar").value = drain.most ? closed / drain.most : 1;
  setText($("draining-text"), `${count(closed)} of ${plural(drain.most, "connection")} closed`);
  $("drain").disabled = true;
}

let typing = 0;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(refresh, 200);
});
$("field").addEventListener("change", refresh);
$("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  refresh();
});
document.addEventListener("visibilitychange", () => document.hidden || refresh());
refresh();
