// Owns how the board's data look: numbers, tables and the rates of the last seconds. Asks for nothing,
// and acts on nothing. What a client has sent is shown as text and never becomes HTML.

const HISTORY_S = 60;
const history = []; // the data of the last minute, for rates

export const $ = (id) => document.getElementById(id);

// -- small things -------------------------------------------------------------------------------

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function make(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  node.className = className;
  return node;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
export const count = (n) => whole.format(n);
const rate = (n) => (n === null ? "–" : (n < 10 ? tenth : whole).format(n));
export const plural = (n, name) => `${count(n)} ${name}${n === 1 ? "" : "s"}`;

export function span(seconds) {
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

// -- rates ----------------------------------------------------------------------------------------

/** Take new data in; isAnother: of another server, whose counters begin anew. */
export function remember(data, isAnother) {
  if (isAnother) history.length = 0;
  history.push(data);
  while (data.now_s - history[0].now_s > HISTORY_S) history.shift();
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

export function showSums(data) {
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

export function showWorkers(rows) {
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

export function showRoutes(rows) {
  const sorted = [...rows].sort((a, b) => b.open - a.open || b.opened - a.opened);
  fill("routes", ROUTES, sorted, (row) => row.route, "the app has no WebSocket routes");
}

const ROOMS = [
  ["room", (row) => row.room],
  ["members", (row) => count(row.members), "n"],
  ["messages", (row) => count(row.messages), "n"],
  ["last", (row) => span(row.idle_s), "n"],
];

export function showRooms(rooms) {
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

export function showCloses(rows) {
  fill("closes", CLOSES, rows, (row) => String(row.code), "no connection has been closed yet");
}

const connectionColumns = (onDisconnect) => [
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
  ["end it", (row) => () => disconnectButton(row, onDisconnect)],
];

function disconnectButton(row, onDisconnect) {
  const button = make("button", "Disconnect");
  button.type = "button";
  button.setAttribute("aria-label", `Disconnect ${row.id}`);
  button.addEventListener("click", () => onDisconnect(row));
  return button;
}

export function showConnections(found, onDisconnect) {
  const shown = found.rows.length;
  const all = found.matched === found.total ? "" : ` of ${count(found.total)} found`;
  const rest = found.matched > shown ? `, the newest ${shown} shown, ${count(found.matched - shown)} more` : "";
  setText($("connections-count"), `${count(found.matched)}${all}${rest}`);
  const none = found.total ? "none is found" : "there are no connections";
  fill("connections", connectionColumns(onDisconnect), found.rows, (row) => row.id, none);
}

