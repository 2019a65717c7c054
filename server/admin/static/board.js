// Owns the board: asks for its data about once a second, says how old they are, asks for the key, and
// acts. What they look like is the matter of views.js.

import {
  $, count, plural, remember, setText, showCloses, showConnections, showRooms, showRoutes, showSums,
  showWorkers, span,
} from "./views.js";

const PERIOD_MS = 1000;
const TIMEOUT_MS = 5000;
const STALE_MS = 3000;
const KEY = "switchboard.key";

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

function say(text, isBad) {
  isProblemShown = false;
  setText($("notice"), text);
  $("notice").className = `notice ${isBad ? "bad" : ""}`;
  $("notice").hidden = !text;
}

// -- showing ------------------------------------------------------------------------------------

function show(data) {
  const server = data.server;
  const isAnother = last !== null && last.server.epoch !== server.epoch;
  if (isAnother) {
    drain = null;
    $("draining").hidden = true;
    say("", false);
  }
  remember(data, isAnother);
  last = data;
  asksKey = data.asks_key;
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
  showConnections(data.connections, askDisconnect);
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
