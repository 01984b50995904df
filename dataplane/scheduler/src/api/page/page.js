// The page of a scheduler: it asks the API and shows what it says. Every text is put in as text, never
// as markup. The token lives in sessionStorage, which ends with the tab.
"use strict";

const MEDIA = "application/vnd.orrery+json";
const TOKEN = "orrery-token";
const REFRESH_MS = 10_000;
const PAUSE_MS = 200;

const main = document.getElementById("main");
const alertBox = document.getElementById("alert");

/** An element with attributes, listeners (functions under on…) and children. */
function el(tag, attributes = {}, ...children) {
  const isSvg = ["svg", "rect", "title"].includes(tag);
  const made = isSvg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== false));
  return made;
}

// ---- the API

/** Asks for the token; settles once it was given. One question at a time. */
let asking = null;
function askToken() {
  asking ??= new Promise((given) => {
    const dialog = document.getElementById("ask");
    const form = document.getElementById("ask-form");
    const stay = (event) => event.preventDefault();
    dialog.addEventListener("cancel", stay);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      sessionStorage.setItem(TOKEN, document.getElementById("token").value.trim());
      dialog.removeEventListener("cancel", stay);
      dialog.close();
      asking = null;
      given();
    }, { once: true });
    dialog.showModal();
  });
  return asking;
}

async function api(path, { method = "GET", body } = {}) {
  for (;;) {
    const token = sessionStorage.getItem(TOKEN);
    const headers = { Accept: MEDIA };
    if (token) headers.Authorization = `Bearer ${token}`;
    if (body !== undefined) headers["Content-Type"] = MEDIA;
    const answer = await fetch(`v1${path}`, { method, headers, body: body && JSON.stringify(body) });
    if (answer.status === 401) {
      if (sessionStorage.getItem(TOKEN) === token) sessionStorage.removeItem(TOKEN);
      await askToken();
      continue;
    }
    const isJson = (answer.headers.get("Content-Type") ?? "").includes("json");
    const said = isJson ? await answer.json() : await answer.text();
    if (!answer.ok) {
      const problem = new Error(said.detail ?? `${answer.status}`);
      problem.problem = said;
      throw problem;
    }
    return said;
  }
}

/** Runs an action and says so when it fails. */
async function attempt(action) {
  try {
    alertBox.textContent = "";
    return await action();
  } catch (error) {
    alertBox.textContent = error.message;
    return undefined;
  }
}

// ---- parts of pages

function time(text) {
  if (!text) return el("span", { class: "soft" }, "—");
  const at = new Date(text);
  const shown = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
  return el("time", { datetime: text, title: text }, shown);
}

function jobLink(name) {
  return name ? el("a", { href: `#/jobs/${encodeURIComponent(name)}` }, name) : "a job that is gone";
}

function result(word) {
  const kind = word === "Succeeded" ? "good" : word === "Running" ? "" : "bad";
  return el("span", { class: kind }, word ?? "—");
}

function table(caption, columns, rows, none) {
  // The roles stay where the style makes cards of rows.
  const row = (...cells) => el("tr", { role: "row" }, ...cells);
  const head = row(columns.map((name) => el("th", { scope: "col", role: "columnheader" }, name)));
  const named = (cell, index) => el("td", { role: "cell", "data-name": columns[index] || undefined }, cell);
  const body = rows.length > 0
    ? rows.map((cells) => row(cells.map(named)))
    : row(el("td", { role: "cell", colspan: columns.length, class: "soft" }, none));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    el("table", { role: "table" }, el("caption", {}, caption),
      el("thead", { role: "rowgroup" }, head), el("tbody", { role: "rowgroup" }, body)));
}

function figures(named) {
  const pairs = Object.entries(named).map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value)));
  return el("dl", { class: "figures" }, pairs);
}

function field(label, control, kind = "field") {
  return el("div", { class: kind }, el("label", { for: control.id }, label), control);
}

function bars(forecast) {
  const { launches, stepSeconds, from, to, most, mostAt } = forecast;
  const start = Date.parse(from);
  const said = most === 0
    ? "No launches in this time."
    : `${launches.reduce((sum, count) => sum + count, 0)} launches; the most, ${most} in ` +
      `${stepSeconds} s, at ${new Date(mostAt).toLocaleString()}.`;
  const drawn = launches.map((count, index) => {
    const height = most === 0 ? 0 : Math.max(count > 0 ? 1 : 0, (count / most) * 100);
    const at = new Date(start + index * stepSeconds * 1000).toLocaleString();
    return el("rect", { x: index, y: 100 - height, width: 0.85, height },
      el("title", {}, `${at}: ${count}`));
  });
  const box = `0 0 ${Math.max(launches.length, 1)} 100`;
  return el("figure", {},
    el("svg", { viewBox: box, preserveAspectRatio: "none", role: "img", "aria-label": said }, drawn),
    el("div", { class: "axis", "aria-hidden": "true" },
      el("span", {}, new Date(from).toLocaleString()), el("span", {}, new Date(to).toLocaleString())),
    el("figcaption", { class: "soft" }, said));
}

/** Calls an action when nothing was typed for a moment. */
function soon(action) {
  let timer;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(action, PAUSE_MS);
  };
}

// ---- pages

async function overview() {
  const [status, upcoming, failing, overdue, forecast] = await Promise.all([
    api("/status"), api("/upcoming?limit=10"), api("/jobs?state=failing&limit=10"),
    api("/jobs?state=overdue&limit=10"), api("/forecast?step=60"),
  ]);
  showState(status);
  const p99 = status.lateness.p99Milliseconds;
  return [
    el("h1", {}, "Overview"),
    figures({
      Jobs: status.jobs.toLocaleString(),
      Running: status.running.toLocaleString(),
      Waiting: status.waiting.toLocaleString(),
      "Late, 99 of 100": p99 === undefined ? "—" : `≤ ${p99} ms`,
      Succeeded: status.ended.Succeeded.toLocaleString(),
      Overdue: status.overdue.toLocaleString(),
    }),
    el("h2", {}, "Launches of the next hour"),
    bars(forecast),
    el("h2", {}, "Next runs"),
    table("Next runs", ["At", "Job", "Target"],
      upcoming.runs.map((run) => [time(run.at), jobLink(run.job), run.target]), "None."),
    el("h2", {}, "Jobs that fail"),
    table(`${failing.total.toLocaleString()} jobs whose last run failed`,
      ["Job", "Last run", "Of", "Failures in a row"],
      failing.jobs.map((job) => [
        jobLink(job.name), result(job.lastRun?.result), time(job.lastRun?.nominal),
        job.consecutiveFailures,
      ]), "None."),
    el("h2", {}, "Jobs that are overdue"),
    table(`${overdue.total.toLocaleString()} jobs with a run that should be over`,
      ["Job", "Last run", "Of"],
      overdue.jobs.map((job) => [
        jobLink(job.name), result(job.lastRun?.result), time(job.lastRun?.nominal),
      ]), "None."),
    el("h2", {}, "Targets"),
    table("Targets", ["Target", "Queued", "In flight", "Succeeded", "Failed", "99 of 100 within"],
      status.targets.map((target) => [
        target.name, target.queued, target.inFlight, target.succeeded,
        target.failed + target.refused + target.timedOut,
        target.latencyP99Milliseconds === undefined ? "—" : `${target.latencyP99Milliseconds} ms`,
      ]), "None was called yet."),
  ];
}

async function jobs() {
  const search = el("input", { id: "search", type: "search", autocomplete: "off" });
  const state = el("select", { id: "filter" },
    [["", "all"], ["failing", "failing"], ["overdue", "overdue"], ["paused", "paused"],
      ["running", "running"]].map(([value, name]) => el("option", { value }, name)));
  const list = el("div", { "aria-live": "polite" });
  let asked = 0;
  const show = async (after = "", from = []) => {
    const turn = ++asked;
    const query = new URLSearchParams({ limit: 50, after });
    if (search.value) query.set("search", search.value);
    if (state.value) query.set("state", state.value);
    const page = await attempt(() => api(`/jobs?${query}`));
    // An answer to what was typed before may come late.
    if (!page || turn !== asked) return;
    const rows = page.jobs.map((job) => [
      jobLink(job.name), summary(job.spec.when), time(job.nextTimes[0]),
      result(job.lastRun?.result), job.paused ? `paused (${job.paused})` : job.declared ? "declared" : "",
    ]);
    list.replaceChildren(
      table(`${page.total.toLocaleString()} jobs`, ["Job", "When", "Next", "Last run", "State"], rows, "None."),
      el("div", { class: "actions" },
        from.length > 0 && el("button", {
          type: "button", onclick: () => show(from.at(-1), from.slice(0, -1)) }, "Back"),
        page.next && el("button", {
          type: "button", onclick: () => show(page.next, [...from, after]) }, "Further")));
  };
  search.addEventListener("input", soon(() => show()));
  state.addEventListener("change", () => show());
  await show();
  return [
    el("h1", {}, "Jobs"),
    el("form", { role: "search", onsubmit: (event) => event.preventDefault() },
      field("Names with", search, "wide"), field("Which", state)),
    list,
  ];
}

async function runs() {
  const [failed, late] = await Promise.all([
    api("/runs?state=failed&limit=100"), api("/runs?state=late&limit=100"),
  ]);
  return [
    el("h1", {}, "Runs"),
    el("div", { class: "actions" },
      el("button", { type: "button", onclick: () => render() }, "Look again")),
    el("h2", {}, "Failed"),
    el("p", { class: "soft" }, "Since ", time(failed.since)),
    table("Failed runs", ["Ended", "Job", "Of", "Result", "Why"],
      failed.runs.map((run) => [
        time(run.at), jobLink(run.job), time(run.nominal), result(run.result), run.note ?? "",
      ]), "None."),
    el("h2", {}, "Late by more than a second"),
    el("p", { class: "soft" }, "Since ", time(late.since)),
    table("Late runs", ["Started", "Job", "Of", "Late"],
      late.runs.map((run) => [
        time(run.at), jobLink(run.job), time(run.nominal), `${run.lateMs} ms`,
      ]), "None."),
  ];
}

function summary(when) {
  const zone = when.timeZone && when.timeZone !== "Etc/UTC" ? ` ${when.timeZone}` : "";
  const text = when.cron ?? when.rrule ?? (when.every && `every ${when.every}`) ??
    (when.at && `at ${when.at}`) ?? (when.after && `after ${when.after.schedule}`) ?? "a calendar";
  return text + zone;
}

async function job(name) {
  const path = `/jobs/${encodeURIComponent(name)}`;
  const [job, runs] = await Promise.all([api(path), api(`${path}/runs?limit=50`)]);
  const act = (verb) => async () => {
    const done = await attempt(() => api(`${path}/${verb}`, { method: "POST", body: {} }));
    if (done !== undefined) await render();
  };
  const button = (text, onclick) => el("button", { type: "button", onclick }, text);
  const save = async () => {
    const text = await attempt(() => api(`${path}/calendar.ics`));
    if (text === undefined) return;
    const href = URL.createObjectURL(new Blob([text], { type: "text/calendar" }));
    el("a", { href, download: `${name}.ics` }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60_000);
  };
  const cancel = (key) => async () => {
    const runPath = `/runs/${encodeURIComponent(key)}/cancel`;
    const done = await attempt(() => api(runPath, { method: "POST", body: {} }));
    if (done !== undefined) await render();
  };
  const isPaused = job.paused !== undefined && job.paused !== "Suspended";
  return [
    el("h1", {}, job.name),
    el("p", { class: "soft" }, `Revision ${job.revision}`,
      job.declared ? ", declared by the Schedule of this name" : ", made by the API",
      job.paused ? `, paused (${job.paused})` : "", job.overdue ? ", overdue" : ""),
    el("div", { class: "actions" },
      button("Run now", act("run")),
      isPaused ? button("Resume", act("resume")) : button("Pause", act("pause")),
      button("Save as calendar", save)),
    job.note && el("p", { class: "bad" }, job.note),
    job.followers?.length > 0 &&
      table("Followed by", ["Job"], job.followers.map((name) => [jobLink(name)]), "None."),
    table("Next times", ["At", "UTC"], job.nextTimes.map((at) => [time(at), at]), "None."),
    el("h2", {}, "Runs"),
    table("Newest runs", ["Of", "Started", "Late", "Why", "Result", "Attempts", "Note", ""],
      runs.runs.map((run) => [
        time(run.nominal), time(run.started), `${run.lateMs} ms`, run.cause, result(run.result),
        run.attempts, run.note, run.result === "Running" ? button("Cancel", cancel(run.key)) : "",
      ]), "None yet."),
    el("h2", {}, "Spec"),
    el("pre", { tabindex: 0 }, JSON.stringify(job.spec, null, 2)),
  ].filter(Boolean);
}

async function forecast() {
  const span = el("select", { id: "span" },
    [["3600,60", "hour"], ["86400,900", "day"], ["604800,7200", "week"], ["2592000,21600", "30 days"]]
      .map(([value, name]) => el("option", { value }, name)));
  const target = el("input", { id: "target", autocomplete: "off" });
  const drawn = el("div", { "aria-live": "polite" });
  const show = async () => {
    const [seconds, step] = span.value.split(",").map(Number);
    const from = new Date();
    const to = new Date(from.getTime() + seconds * 1000);
    const query = new URLSearchParams({ from: from.toISOString(), to: to.toISOString(), step });
    if (target.value) query.set("target", target.value);
    const seen = await attempt(() => api(`/forecast?${query}`));
    if (seen) drawn.replaceChildren(bars(seen));
  };
  span.addEventListener("change", show);
  target.addEventListener("input", soon(show));
  await show();
  return [
    el("h1", {}, "Forecast"),
    el("form", { onsubmit: (event) => event.preventDefault() },
      field("The next", span), field("Of this target alone", target)),
    drawn,
  ];
}

async function explain() {
  const cron = el("input", { id: "cron", value: "0 7 * * MON-FRI", autocomplete: "off",
    spellcheck: "false", autocapitalize: "off" });
  const zone = el("input", { id: "zone", autocomplete: "off",
    value: Intl.DateTimeFormat().resolvedOptions().timeZone ?? "Etc/UTC" });
  const dialect = el("select", { id: "dialect" },
    ["Vixie", "Quartz", "Systemd"].map((name) => el("option", { value: name }, name)));
  const said = el("div", { "aria-live": "polite" });
  let asked = 0;
  const show = async () => {
    const turn = ++asked;
    const query = new URLSearchParams({ cron: cron.value, dialect: dialect.value, count: 10 });
    if (zone.value) query.set("tz", zone.value);
    let parts;
    try {
      const found = await api(`/explain?${query}`);
      parts = [
        el("p", {}, el("strong", {}, found.text)),
        table("Next times", ["There", "UTC"],
          found.nextTimes.map((moment) => [moment.local, moment.at]), "None."),
        found.notes.length > 0 && el("h2", {}, "When clocks change"),
        found.notes.length > 0 && el("ul", {}, found.notes.map((note) => el("li", {}, note))),
      ].filter(Boolean);
    } catch (error) {
      const at = error.problem?.position;
      parts = [
        at !== undefined && el("p", { class: "pointer", "aria-hidden": "true" },
          `${cron.value}\n${" ".repeat(at)}^`),
        el("p", { class: "bad" }, error.message),
      ].filter(Boolean);
    }
    if (turn === asked) said.replaceChildren(...parts);
  };
  for (const input of [cron, zone]) input.addEventListener("input", soon(show));
  dialect.addEventListener("change", show);
  await show();
  return [
    el("h1", {}, "Explain"),
    el("form", { onsubmit: (event) => event.preventDefault() },
      field("Expression", cron, "wide"), field("Time zone", zone), field("Dialect", dialect)),
    said,
  ];
}

// ---- which page

function showState(status) {
  const state = document.getElementById("state");
  document.getElementById("object").textContent = status.object === "." ? "" : status.object;
  state.className = status.ready && !status.reason ? "good" : "bad";
  state.textContent = status.ready && !status.reason ? "ready" : `${status.reason}: ${status.message}`;
}

let turns = 0;

async function render({ moves = false } = {}) {
  const turn = ++turns;
  const [, page = "", ...rest] = location.hash.split("/");
  const pages = { "": overview, jobs, runs, forecast, explain };
  const name = rest.length > 0 ? decodeURIComponent(rest.join("/")) : "";
  for (const link of document.querySelectorAll("nav a")) {
    const isHere = link.getAttribute("href") === `#/${page}`;
    if (isHere) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const shown = await attempt(() => (page === "jobs" && name ? job(name) : (pages[page] ?? overview)()));
  // Another page was asked for meanwhile.
  if (!shown || turn !== turns) return;
  main.replaceChildren(...shown);
  const title = main.querySelector("h1").textContent;
  document.title = `${title} – Orrery Scheduler`;
  if (moves) main.focus();
}

window.addEventListener("hashchange", () => render({ moves: true }));
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
setInterval(() => {
  const isOverview = location.hash === "" || location.hash === "#/";
  // Whoever is at something in the page is not disturbed.
  const isUsed = main.contains(document.activeElement) && document.activeElement !== main;
  if (isOverview && !isUsed && !document.hidden && asking === null) render();
}, REFRESH_MS);
attempt(async () => showState(await api("/status")));
render();
