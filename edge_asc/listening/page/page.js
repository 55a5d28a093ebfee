"use strict";

// All text is set as text: nothing that a label or a name holds becomes markup.
const HOUR = 3600e3, ROWS = 200, QUIETEST = -80, STALL = 10e3;
const byId = (id) => document.getElementById(id);
let events = [], offset = 0, lastState = 0, lastDrawn = "";

const serverNow = () => Date.now() + offset;
const readable = (label) => label.replaceAll("_", " ");
const startOf = (event) => Date.parse(event.time);
const endOf = (event) => event.end === null ? serverNow() : startOf(event) + 1000 * (event.end - event.start);

function formatLength(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds), pad = (x) => String(x).padStart(2, "0");
  return whole < 3600 ? `${Math.floor(whole / 60)}:${pad(whole % 60)} min`
    : `${Math.floor(whole / 3600)}:${pad(Math.floor(whole / 60) % 60)} h`;
}

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setMeter(id, value, share, text) {
  byId(id).setAttribute("aria-valuenow", String(value));
  byId(id).setAttribute("aria-valuetext", text);
  byId(id).firstElementChild.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  byId(`${id}-text`).textContent = text;
}

function showState(state) {
  lastState = Date.now();
  offset = Date.parse(state.now) - lastState;
  const label = readable(state.label);
  if (byId("label").textContent !== label) byId("label").textContent = label;
  const percent = Math.round(100 * state.probability);
  setMeter("probability", percent, state.probability, `${percent} %`);
  const level = state.level === null ? QUIETEST : Math.max(QUIETEST, state.level);
  setMeter("level", level, 1 - level / QUIETEST, state.level === null ? "silence" : `${state.level.toFixed(1)} dBFS`);
}

function addEvent(event) {
  const same = (e) => e.end === null && e.source === event.source && e.label === event.label && e.start === event.start;
  events = events.filter((e) => !same(e));
  events.push(event);
}

function drawStrip(now) {
  const rows = new Map();
  for (const event of events) {
    if (!rows.has(event.label)) rows.set(event.label, []);
    rows.get(event.label).push(event);
  }
  byId("strip").replaceChildren(...[...rows].sort(([a], [b]) => a.localeCompare(b)).map(([label, list]) => {
    const row = make("div", "row"), track = make("div", "row-track");
    let total = 0;
    for (const event of list) {
      const left = Math.max(0, 1 - (now - startOf(event)) / HOUR), right = Math.min(1, 1 - (now - endOf(event)) / HOUR);
      const bar = make("span");
      bar.style.right = `${100 * (1 - right)}%`;  // the shortest bar grows to the left, where it stays in sight
      bar.style.width = `${100 * Math.max(0, right - left)}%`;
      track.append(bar);
      total += (endOf(event) - startOf(event)) / 1000;
    }
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", `${readable(label)}: ${list.length} events, ${formatLength(total)} together`);
    row.append(make("span", "row-name", readable(label)), track);
    return row;
  }));
}

function drawList() {
  const newest = [...events].sort((a, b) => startOf(b) - startOf(a)).slice(0, ROWS);
  byId("events").replaceChildren(...newest.map((event) => {
    const row = make("tr");
    const length = event.end === null ? "goes on" : formatLength(event.end - event.start);
    const clock = new Date(startOf(event)).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    const cells = [clock, readable(event.label), length, `${Math.round(100 * event.peak)} %`];
    row.append(...cells.map((text) => make("td", "", text)));
    return row;
  }));
}

function draw() {
  const now = serverNow();
  events = events.filter((event) => endOf(event) > now - HOUR);
  byId("none").hidden = events.length > 0;
  byId("axis").hidden = events.length === 0;
  drawStrip(now);
  const drawn = JSON.stringify(events);
  if (drawn !== lastDrawn) drawList();
  lastDrawn = drawn;
}

function setConnection(text, isLost) {
  if (byId("connection").textContent !== text) byId("connection").textContent = text;
  byId("connection").classList.toggle("lost", isLost);
}

function checkAudio() {
  if (stream.readyState !== EventSource.OPEN) setConnection("connection lost, trying again", true);
  else if (Date.now() - lastState > STALL) setConnection("no audio", true);
  else setConnection("live", false);
}

const stream = new EventSource("/stream");
stream.addEventListener("all", (message) => {
  const all = JSON.parse(message.data);
  byId("source").textContent = [all.source, all.model].filter(Boolean).join(" · ");
  document.title = `edge-asc ${all.source}`;
  offset = Date.parse(all.now) - Date.now();
  events = all.events;
  if (all.state) showState(all.state);
  draw();
  checkAudio();
});
stream.addEventListener("state", (message) => { showState(JSON.parse(message.data)); checkAudio(); });
stream.addEventListener("change", (message) => { addEvent(JSON.parse(message.data)); draw(); });
stream.addEventListener("note", (message) => {
  const note = JSON.parse(message.data);
  byId("notes").textContent = `${new Date(note.time).toLocaleTimeString()} ${note.source}: ${note.text}`;
});
setInterval(() => { draw(); checkAudio(); }, 1000);
