// The page: sound from the microphone or a file, through the artefact, to the screen. All text is set as text.
// For each step, the document gets an event "decision" whose detail is the decision of the stream.

const MINUTE = 60, ROWS = 100, QUIETEST = -80, MOST_WAITING = 16;  // steps that wait before some are left out
const byId = (id) => document.getElementById(id);
const readable = (label) => label.replaceAll("_", " ");
let stream, worklet, session = null, history = [], events = [], times = [];

function make(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text !== undefined) element.textContent = text;
  return element;
}

function setText(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

function setMeter(element, value, share, text) {
  element.setAttribute("aria-valuenow", String(value));
  element.setAttribute("aria-valuetext", text);
  element.firstElementChild.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
}

function formatTime(seconds) {
  const tenths = Math.floor(10 * seconds + 1e-6);
  return `${Math.floor(tenths / 600)}:${String(Math.floor(tenths / 10) % 60).padStart(2, "0")}.${tenths % 10}`;
}

function makeProbabilities(labels) {
  byId("probabilities").replaceChildren(...labels.map((label, i) => {
    const row = make("div", "figure"), name = make("span", "", readable(label)), meter = make("div", "meter");
    name.id = `p-${i}`;
    const limits = { role: "meter", "aria-labelledby": name.id, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 };
    for (const [key, value] of Object.entries(limits)) meter.setAttribute(key, String(value));
    meter.append(make("div"));
    row.append(name, meter, make("output", "", "–"));
    return row;
  }));
}

function drawNow(decision) {
  setText("label", readable(decision.answer));
  const level = Math.max(QUIETEST, decision.level);
  const levelText = decision.level === -Infinity ? "silence" : `${decision.level.toFixed(1)} dBFS`;
  setMeter(byId("level"), Math.round(level), 1 - level / QUIETEST, levelText);
  setText("level-text", levelText);
  const sorted = [...times].sort((a, b) => a - b), median = sorted[sorted.length >> 1];
  const step = 1000 * stream.seconds;
  setMeter(byId("latency"), Math.round(median), median / step, `${median.toFixed(1)} ms of ${step.toFixed(0)}`);
  setText("latency-text", `${median.toFixed(1)} ms`);
  [...byId("probabilities").children].forEach((row, i) => {
    const percent = Math.round(100 * decision.probabilities[i]);
    row.classList.toggle("answer", stream.contract.labels[i] === decision.answer);
    setMeter(row.children[1], percent, decision.probabilities[i], `${percent} %`);
    row.children[2].textContent = `${percent} %`;
  });
}

/** Draw the labels of the last minute, each on a row, as bars where they were reported. */
function drawStrip(now) {
  const rows = new Map();
  for (const { label, begin, end } of history) {
    if (!rows.has(label)) rows.set(label, []);
    rows.get(label).push([begin, end]);
  }
  byId("strip").replaceChildren(...[...rows].sort(([a], [b]) => a.localeCompare(b)).map(([label, spans]) => {
    const row = make("div", "row"), track = make("div", "row-track");
    let total = 0;
    for (const [begin, end] of spans) {
      const bar = make("span"), from = Math.max(begin, now - MINUTE);
      bar.style.right = `${100 * (now - end) / MINUTE}%`;
      bar.style.width = `${100 * (end - from) / MINUTE}%`;
      track.append(bar);
      total += end - from;
    }
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", `${readable(label)}: ${total.toFixed(1)} s of the last minute`);
    row.append(make("span", "row-name", readable(label)), track);
    return row;
  }));
  byId("axis").hidden = !rows.size;
  byId("none").hidden = rows.size > 0;
}

function remember(time, label) {
  const last = history.at(-1), begin = time - stream.seconds;
  if (last?.label === label) last.end = time;
  else history.push({ label, begin, end: time });
  history = history.filter(({ end }) => end > time - MINUTE);
}

function addEvents(changes) {
  for (const change of changes) {
    const index = events.findIndex(({ label, start, end }) => end === null && label === change.label && start === change.start);
    if (index >= 0) events[index] = change;
    else events.unshift(change);
  }
  if (changes.length === 0) return;
  events.length = Math.min(events.length, ROWS);
  byId("events").replaceChildren(...events.map(({ label, start, end, peak }) => {
    const row = make("tr"), length = end === null ? "goes on" : `${(end - start).toFixed(1)} s`;
    row.append(...[formatTime(start), readable(label), length, `${Math.round(100 * peak)} %`].map((text) => make("td", "", text)));
    return row;
  }));
}

async function push(samples) {
  const start = performance.now(), decision = await stream.push(samples);
  times = [...times.slice(-49), performance.now() - start];
  remember(decision.time, decision.answer);
  drawNow(decision);
  drawStrip(decision.time);
  addEvents(decision.events);
  document.dispatchEvent(new CustomEvent("decision", { detail: decision }));
}

/** Start anew; return the new session, which ends when another one begins. */
function begin(text) {
  stop();
  stream.reset();
  [history, events, times] = [[], [], []];
  byId("events").replaceChildren();
  byId("strip").replaceChildren();
  setText("notes", "");
  setText("connection", text);
  byId("stop").disabled = false;
  session = { ended: false, close: () => {} };
  return session;
}

function stop(text = "stopped") {
  if (!session) return;
  session.ended = true;
  session.close();
  session = null;
  addEvents(stream.finish());
  byId("stop").disabled = true;
  setText("connection", text);
}

function explain(error, advice) {
  stop("stopped");
  setText("notes", `${error.message}. ${advice}`);
}

async function listen() {
  const mine = begin("waiting for the microphone");
  const context = new AudioContext({ sampleRate: stream.contract.front_end.sample_rate });
  let waiting = 0, last = Promise.resolve();
  const close = () => context.state === "closed" || context.close();
  mine.close = close;
  try {
    const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const source = await navigator.mediaDevices.getUserMedia({ audio });
    mine.close = () => { close(); source.getTracks().forEach((track) => track.stop()); };
    if (mine.ended) return mine.close();
    await context.audioWorklet.addModule(worklet);
    const options = { processorOptions: { size: stream.size }, numberOfOutputs: 0 };
    const steps = new AudioWorkletNode(context, "steps", options);
    steps.port.onmessage = ({ data }) => {
      if (mine.ended) return;
      if (waiting > MOST_WAITING) return setText("notes", "This device is too slow: some sound was left out.");
      waiting++;
      last = last.then(() => mine.ended || push(data)).catch((error) => explain(error, "Reload the page.")).finally(() => waiting--);
    };
    context.createMediaStreamSource(source).connect(steps);
    setText("connection", "listening");
  } catch (error) {
    if (!mine.ended) explain(error, "Allow the microphone, or open a recording. Some browsers cannot convert the sound of a microphone to 16 kHz.");
  }
}

async function play(file) {
  const mine = begin(`reading ${file.name}`);
  try {
    const rate = stream.contract.front_end.sample_rate;
    const decoded = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await file.arrayBuffer());
    const channels = Array.from({ length: decoded.numberOfChannels }, (_, i) => decoded.getChannelData(i));
    for (let begin = 0; begin + stream.size <= decoded.length && !mine.ended; begin += stream.size) {
      const samples = new Float32Array(stream.size);
      for (const channel of channels) samples.forEach((sum, i) => { samples[i] = sum + channel[begin + i] / channels.length; });
      await push(samples);
      await new Promise((resolve) => setTimeout(resolve));  // the screen gets its turn
    }
    if (!mine.ended) stop(`finished: ${file.name}`);
  } catch (error) {
    if (!mine.ended) explain(error, `Is ${file.name} a recording that this browser plays?`);
  }
}

function connect() {
  byId("microphone").addEventListener("click", listen);
  byId("stop").addEventListener("click", () => stop());
  byId("file").addEventListener("change", ({ target }) => {
    if (target.files.length) play(target.files[0]);
    target.value = "";
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      document.body.classList.toggle("dropping", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) play(event.dataTransfer.files[0]);
    });
  }
  for (const id of ["microphone", "file"]) byId(id).disabled = false;
}

/**
 * Show the page with the stream that `open` returns, maybe later; `url` is that of worklet.js.
 *
 * A stream is {contract, size, seconds, reset, push, finish}: `push` takes a Float32Array of `size` samples and returns a
 * decision, maybe later; `finish` returns the events that last (stream.js, wasm.js).
 */
export async function start(open, url) {
  worklet = url;
  try {
    stream = await open();
    makeProbabilities(stream.contract.labels);
    byId("latency").setAttribute("aria-valuemax", String(Math.round(1000 * stream.seconds)));
    connect();
    setText("connection", "ready");
  } catch (error) {
    setText("connection", "no model");
    setText("notes", error.message);
  }
}
