// Owns the live board: asks for the data once a second, shows it, and does what an operator says.
// All text of clients goes into the page as text, never as HTML.

const EVERY_MS = 1000;
const LATE_MS = 5000;
const $ = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
const last = { data: null, at: 0, cpu: new Map() };
let key = sessionStorage.getItem("key") ?? "";
let isAsking = false;

// -- to and from the server ------------------------------------------------------------------------

async function call(path, body) {
  const headers = { "X-Switchboard-Board": "1" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const options = { headers, cache: "no-store", signal: AbortSignal.timeout(LATE_MS) };
  if (body) {
    headers["Content-Type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  const answer = await fetch(`board/${path}`, options);
  const value = await answer.json();
  if (answer.ok) return value;
  throw Object.assign(new Error(value.error), { status: answer.status });
}

/** Do it, and once more with a key if that is asked for. */
async function callWithKey(path, body) {
  try {
    return await call(path, body);
  } catch (error) {
    if (error.status !== 401) throw error;
    if (key) forgetKey();
    if (!(await askForKey(error.message))) throw new Error("no key was given");
    return call(path, body);
  }
}

function forgetKey() {
  key = "";
  sessionStorage.removeItem("key");
}

async function askForKey(why) {
  const given = await ask({
    title: "Admin key", text: why, yes: "Use it",
    fields: [{ id: "key", label: "The server's SWITCHBOARD_ADMIN_KEY", type: "password", required: true }],
  });
  if (!given) return false;
  key = given.key.trim();
  sessionStorage.setItem("key", key);
  return true;
}

async function refresh() {
  try {
    const query = new URLSearchParams({ q: $("q").value.trim(), worker: $("worker").value });
    if (!$("worker").value) query.delete("worker");
    const data = await (isAsking ? call : callWithKey)(`data?${query}`);
    show(data);
    [last.data, last.at] = [data, performance.now()];
    showStale("");
  } catch (error) {
    const seconds = last.at ? Math.round((performance.now() - last.at) / 1000) : 0;
    const since = last.at ? `; what you see is ${seconds} s old` : "";
    const what = error.status ? error.message : "the server does not answer";
    showStale(`${what}${since}`);
  }
  setTimeout(refresh, EVERY_MS);
}

// -- show ------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const text = (value, className = "") => element("td", { textContent: value, className, title: className.includes("text") ? value : "" });
const figure = (value, className = "") => text(value, `n ${className}`);

function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

function size(bytes) {
  if (bytes === undefined) return "–";
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(0)} MiB` : `${(bytes / 2 ** 30).toFixed(1)} GiB`;
}

/** How much a count has grown, a second. */
function rate(now, before, seconds) {
  if (before === undefined || !seconds) return "–";
  const grown = Math.max(0, now - before) / seconds;
  return grown >= 100 ? number.format(Math.round(grown)) : grown.toFixed(1);
}

const sum = (counts) => Object.values(counts).reduce((a, b) => a + b, 0);

function codes(counts) {
  const parts = Object.entries(counts).sort(([a], [b]) => a.localeCompare(b)).map(([code, count]) =>
    element("span", { className: "code" }, element("b", { textContent: code }), ` ${number.format(count)}`));
  return element("td", {}, ...(parts.length ? parts : ["–"]));
}

function fill(id, rows, columns) {
  const body = $(id);
  // What has the focus is not taken away from under the operator's hands.
  if (body.contains(document.activeElement)) {
    const focused = document.activeElement.dataset.focus;
    body.replaceChildren(...rows);
    if (focused) [...body.querySelectorAll("[data-focus]")].find((one) => one.dataset.focus === focused)?.focus();
  } else {
    body.replaceChildren(...rows);
  }
  if (!rows.length) body.append(element("tr", {}, element("td", { colSpan: columns, className: "note", textContent: "none" })));
}

function show(data) {
  const seconds = last.data && last.data.server.epoch === data.server.epoch ? (performance.now() - last.at) / 1000 : 0;
  const before = seconds ? last.data : null;
  const { server } = data;
  $("app").textContent = `${server.app} at ${server.address}`;
  const isDraining = server.state !== "serving";
  $("state").textContent = isDraining
    ? `${server.state}: ${number.format(server.connections)} connections left`
    : `${server.status}, ${server.ready} of ${server.wanted} workers`;
  $("state").className = isDraining ? "warn" : { ready: "good", degraded: "warn" }[server.status] ?? "bad";
  $("drain").disabled = isDraining;
  showTiles(data, before, seconds);
  showWorkers(server.workers, seconds);
  showRoutes(data.routes, before, seconds);
  showRooms(data.rooms);
  showConnections(data.connections);
}

function showTiles({ server, routes, rooms }, before, seconds) {
  const total = (list, of) => list?.reduce((all, route) => all + of(route), 0);
  const opened = (list) => total(list, (route) => route.opened);
  const closed = (list) => total(list, (route) => sum(route.closed));
  const tiles = {
    "connections": number.format(server.connections),
    "opens a second": rate(opened(routes), opened(before?.routes), seconds),
    "closes a second": rate(closed(routes), closed(before?.routes), seconds),
    "published a second": rate(rooms.published, before?.rooms.published, seconds),
    "delivered a second": rate(rooms.delivered, before?.rooms.delivered, seconds),
    "rooms": number.format(rooms.total),
    "journal": `${((100 * rooms.journal_used_bytes) / rooms.journal_capacity_bytes).toFixed(0)} %`,
    "up": span(server.uptime_s),
  };
  $("tiles").replaceChildren(...Object.entries(tiles).map(([name, value]) =>
    element("div", { className: "tile" }, element("b", { textContent: value }), element("span", { textContent: name }))));
}

function showWorkers(workers, seconds) {
  fill("workers", workers.map((one) => {
    const before = last.cpu.get(one.pid);
    const cpu = seconds && before !== undefined && one.cpu_s !== undefined
      ? `${Math.round((100 * Math.max(0, one.cpu_s - before)) / seconds)} %` : "–";
    const isLate = one.heartbeat_age_s === null || one.heartbeat_age_s > 2;
    return element("tr", {},
      text(one.worker), text(one.state, { ready: "good", dead: "bad" }[one.state] ?? "warn"),
      figure(number.format(one.connections)), figure(number.format(one.memberships)), figure(cpu),
      figure(size(one.resident_bytes)),
      figure(one.open_files === undefined ? "–" : `${number.format(one.open_files)} / ${number.format(one.max_files)}`),
      figure(span(one.lag_s), one.lag_s > 0.1 ? "warn" : ""),
      figure(span(one.heartbeat_age_s), isLate ? "bad" : ""),
      figure(one.restarts, one.restarts ? "warn" : ""), figure(one.pid), figure(span(one.uptime_s)));
  }), 12);
  last.cpu = new Map(workers.map(({ pid, cpu_s: cpu }) => [pid, cpu]));
  const select = $("worker");
  const known = [...new Set(workers.map((one) => String(one.worker)))];
  if ([...select.options].slice(1).map((one) => one.value).join() !== known.join()) {
    const chosen = select.value;
    select.replaceChildren(new Option("all", ""), ...known.map((one) => new Option(one, one)));
    select.value = chosen;
  }
}

function showRoutes(routes, before, seconds) {
  const earlier = new Map(before?.routes.map((route) => [route.route, route]));
  fill("routes", routes.map((one) => {
    const was = earlier.get(one.route);
    return element("tr", {},
      text(one.route, "text"), figure(number.format(one.open)),
      figure(rate(one.opened, was?.opened, seconds)),
      figure(rate(sum(one.closed), was && sum(was.closed), seconds)),
      figure(number.format(one.opened)), codes(one.closed), codes(one.refused));
  }), 7);
}

function showRooms(rooms) {
  const rest = rooms.total - rooms.largest.length;
  $("rooms-note").textContent = rest > 0 ? `the largest ${rooms.largest.length} of ${number.format(rooms.total)}` : "";
  fill("rooms", rooms.largest.map((one) => element("tr", {},
    text(one.room, "text"), figure(number.format(one.members)),
    figure(`${span(Math.max(0, Date.now() / 1000 - one.last_ns / 1e9))} ago`))), 3);
}

function showConnections({ total, shown }) {
  const rest = total > shown.length ? `the newest ${shown.length} of ` : "";
  $("connections-note").textContent = `${rest}${number.format(total)}`;
  fill("connections", shown.map((one) => {
    const button = element("button", { type: "button", textContent: "Disconnect", disabled: one.is_closing });
    button.setAttribute("aria-label", `Disconnect ${one.id}${one.user ? ` of ${one.user}` : ""}`);
    button.dataset.focus = one.id;
    button.addEventListener("click", () => disconnect(one));
    return element("tr", {},
      text(one.id), text(one.user || "–", "text"), text(one.route, "text"), text(one.path, "text"), text(one.client),
      figure(one.worker), figure(span(one.age_s)), figure(span(one.idle_s)),
      figure(number.format(one.messages_received)), figure(number.format(one.messages_sent)),
      element("td", {}, button));
  }), 11);
}

function showStale(problem) {
  document.body.classList.toggle("stale", problem !== "");
  if ($("stale").textContent !== problem) $("stale").textContent = problem;
  $("stale").hidden = !problem;
}

// -- act -------------------------------------------------------------------------------------------

/** Ask something; resolves with the fields, or with null. `act` may fail, which is shown here. */
function ask({ title, text: about, yes, fields = [], act = async () => {} }) {
  isAsking = true;
  const dialog = $("ask");
  $("ask-title").textContent = title;
  $("ask-text").textContent = about;
  $("ask-yes").textContent = yes;
  $("ask-error").hidden = true;
  $("ask-fields").replaceChildren(...fields.flatMap(({ id, label, ...properties }) => [
    element("label", { htmlFor: `ask-${id}`, textContent: label }),
    element("input", { id: `ask-${id}`, autocomplete: "off", ...properties }),
  ]));
  dialog.showModal();
  return new Promise((resolve) => {
    const end = (value) => {
      isAsking = false;
      dialog.onclose = $("ask-no").onclick = dialog.querySelector("form").onsubmit = null;
      if (dialog.open) dialog.close();
      resolve(value);
    };
    dialog.onclose = () => end(null);
    $("ask-no").onclick = () => end(null);
    dialog.querySelector("form").onsubmit = async (event) => {
      event.preventDefault();
      const values = Object.fromEntries(fields.map(({ id }) => [id, $(`ask-${id}`).value]));
      $("ask-yes").disabled = true;
      try {
        await act(values);
        end(values);
      } catch (error) {
        $("ask-error").textContent = error.message;
        $("ask-error").hidden = false;
      } finally {
        $("ask-yes").disabled = false;
      }
    };
  });
}

/** Ask, with a field for the key if one is needed and there is none, and act. */
function act(question, path, body) {
  const attempt = async (values) => {
    if (values.key) {
      key = values.key.trim();
      sessionStorage.setItem("key", key);
    }
    try {
      await call(path, body(values));
    } catch (error) {
      if (error.status === 401) forgetKey();
      throw error;
    }
  };
  const fields = [...(question.fields ?? [])];
  if (last.data.needs_key && !key) fields.push({ id: "key", label: "Admin key", type: "password", required: true });
  return ask({ ...question, fields, act: attempt });
}

function disconnect(one) {
  const who = one.user ? ` of ${one.user}` : "";
  return act({
    title: `Disconnect ${one.id}${who}?`,
    text: `It is on ${one.route}, from ${one.client || "an unknown address"}. Its client may come back, if the code does not tell it otherwise.`,
    yes: "Disconnect",
    fields: [
      { id: "code", label: "Close code (1008: policy, 4503: logged out, and do not come back)", type: "number", value: 1008, required: true, min: 1000, max: 4999 },
      { id: "reason", label: "Reason, which the client sees", maxLength: 123 },
    ],
  }, "disconnect", ({ code, reason }) => ({ id: one.id, code: Number(code), reason }));
}

function drain() {
  const { server } = last.data;
  return act({
    title: "Drain this server?",
    text: `It takes no new connections, closes its ${number.format(server.connections)} connections with 1001, and then stops. This page goes with it.`,
    yes: "Drain and stop",
  }, "drain", () => ({ pid: server.pid }));
}

$("drain").addEventListener("click", drain);
$("search").addEventListener("submit", (event) => event.preventDefault());
refresh();
