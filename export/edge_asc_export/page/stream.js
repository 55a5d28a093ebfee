// A stream through an artefact that takes samples: its contract, states, decision rules, unknown sounds and events.
// docs/contract.md defines all of them. Nothing here depends on an engine.

import { measureLevel, toInt16 } from "./samples.js";

const QUIETEST = -85;  // dBFS; no event starts or lasts below it
const ROUNDING = 1e-9;  // s, of times that are sums of steps
const NUMBERS = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array };

/** Return the contract that an artefact's bytes hold. */
export function readContract(bytes) {
  const text = new TextDecoder("latin1").decode(bytes);  // one character a byte
  const begin = text.lastIndexOf('{"schema_version":');
  if (begin < 0) throw new Error("no stream contract in the file; expected an artefact of edge-asc export");
  let depth = 0, inString = false, end = begin;
  do {
    const sign = text[end++];
    if (inString) {
      if (sign === "\\") end++;
      else if (sign === '"') inString = false;
    } else if (sign === '"') inString = true;
    else if (sign === "{") depth++;
    else if (sign === "}") depth--;
  } while (depth > 0 && end < text.length);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(begin, end)));
}

/** Return the softmax of scores over a temperature. */
export function softmax(scores, temperature = 1) {
  const highest = Math.max(...scores);
  const powers = Array.from(scores, (score) => Math.exp((score - highest) / temperature));
  const sum = powers.reduce((total, power) => total + power, 0);
  return powers.map((power) => power / sum);
}

/** The probability of each label in one stream, by one decision rule, step after step. */
export class Belief {
  /** `rule` is {name, seconds, weight}; `step` is in seconds; `logOdds` is added to the logits over the temperature. */
  constructor(rule, classes, step, temperature = 1, logOdds = new Array(classes).fill(0)) {
    Object.assign(this, { rule, classes, temperature });
    this.shift = logOdds.map((odds) => temperature * odds);
    this.keep = { last: 0, mean: 1 }[rule.name] ?? Math.exp(-step / rule.seconds);
    this.reset();
  }

  reset() {
    this.total = new Array(this.classes).fill(0);
    this.weight = 0;
    this.probabilities = new Array(this.classes).fill(1 / this.classes);
  }

  /** Take the logits of a step; return the probabilities after it. */
  update(logits) {
    const x = Array.from(logits, (logit, i) => logit + this.shift[i]);
    if (this.rule.name === "sticky") {
      const expected = this.probabilities.map((p) => this.keep * p + (1 - this.keep) / this.classes);
      const weight = this.rule.weight / this.temperature;
      this.probabilities = softmax(x.map((logit, i) => Math.log(expected[i]) + logit * weight));
    } else {
      this.total = x.map((logit, i) => this.keep * this.total[i] + logit);
      this.weight = this.keep * this.weight + 1;
      this.probabilities = softmax(this.total.map((sum) => sum / this.weight), this.temperature);
    }
    return this.probabilities;
  }
}

/** Return the index of the label to report, and whether the sound is unknown, by the contract's rule. */
export function decide({ labels, unknown }, probabilities) {
  const rivals = [...probabilities];
  if (unknown) {
    const index = labels.indexOf(unknown.label);
    if (probabilities[index] >= unknown.threshold) return { answer: index, isUnknown: true };
    rivals[index] = -1;
  }
  return { answer: rivals.indexOf(Math.max(...rivals)), isUnknown: false };
}

/** Events of one stream: labels whose probability stays above its threshold. */
export class EventDetector {
  constructor(labels, rules, step) {
    Object.assign(this, { labels, rules, step });
    this.reset();
  }

  reset() {
    this.runs = new Map();
    this.time = 0;
  }

  /** Take the probabilities after a step that ends at `time`, s; return events that were confirmed or have ended. */
  update(time, probabilities, level = 0) {
    this.time = time;
    return this.labels.flatMap((label, i) => this.rules.ignored.includes(label) ? []
      : this.follow(label, time, level > QUIETEST ? probabilities[i] : 0));
  }

  /** Return the events that still last, which end with the stream. */
  finish() {
    return [...this.runs.keys()].flatMap((label) => this.end(label, this.time));
  }

  follow(label, time, p) {
    const threshold = this.rules.thresholds[label] ?? this.rules.threshold, changes = [];
    let run = this.runs.get(label);
    if (run && p < threshold * this.rules.release) return this.end(label, time - this.step);
    if (run && this.rules.maximum && time - run.start > this.rules.maximum) {
      changes.push(...this.end(label, time - this.step));
      run = undefined;
    }
    if (!run) {
      if (p < threshold) return changes;
      run = { start: time - this.step, peak: 0, reported: false };
      this.runs.set(label, run);
    }
    run.peak = Math.max(run.peak, p);
    if (!run.reported && time - run.start >= this.rules.minimum - ROUNDING) {
      run.reported = true;
      changes.push({ label, start: run.start, end: null, peak: run.peak });
    }
    return changes;
  }

  end(label, time) {
    const run = this.runs.get(label);
    this.runs.delete(label);
    return run.reported ? [{ label, start: run.start, end: time, peak: run.peak }] : [];
  }
}

/** Return the rules for events of a contract, with those for a model that has none of its own. */
export function eventRules({ events, labels, unknown }) {
  const background = ["other", "background", "background_noise", "noise", "silence", "unknown"];
  const odds = unknown ? (1 - unknown.threshold) / unknown.threshold : 1;
  return events ?? {
    threshold: 0.5, thresholds: {}, release: 0.6, minimum: 0.5, maximum: 0,
    ignored: labels.filter((label) => background.includes(label.toLowerCase()) || label === unknown?.label),
    decision: { name: "forgetting", seconds: 1.5, weight: 1 }, other_odds: Math.max(1, odds),
  };
}

/** Return what `Belief` adds for events: more evidence that a sound is known. */
export function eventLogOdds({ labels, unknown }, rules) {
  return labels.map((label) => label === unknown?.label ? Math.log(rules.other_odds) : 0);
}

/**
 * Exact streaming: one decision after each step of samples.
 *
 * `engine` is {contract, run}: `run` takes and returns typed arrays by name, maybe later (engines.js).
 */
export class SampleStream {
  constructor(engine) {
    const { contract } = engine;
    const [step] = contract.signatures;
    if (contract.form !== "causal" || !["samples", "int16"].includes(contract.input))
      throw new Error("the artefact takes features; export it with --input samples");
    Object.assign(this, { engine, contract, step, size: step.samples });
    this.seconds = step.samples / contract.front_end.sample_rate;
    const classes = contract.labels.length, rules = eventRules(contract);
    const live = contract.live ?? { name: "forgetting", seconds: 2, weight: 1 };
    this.belief = new Belief(live, classes, this.seconds, contract.temperature);
    this.eventBelief = new Belief(
      rules.decision, classes, this.seconds, contract.temperature, eventLogOdds(contract, rules));
    this.detector = new EventDetector(contract.labels, rules, this.seconds);
    this.reset();
  }

  /** Forget all audio. */
  reset() {
    this.inputs = {};
    for (const { name, shape, dtype, quantisation } of this.step.inputs) {
      const count = shape.reduce((product, length) => product * length, 1);
      this.inputs[name] = new NUMBERS[dtype](count).fill(quantisation?.zero_point ?? 0);
    }
    this.steps = 0;
    for (const part of [this.belief, this.eventBelief, this.detector]) part.reset();
  }

  /** Take the samples of one step, Float32Array in [-1, 1]; return the decision. */
  async push(samples) {
    const { contract, step } = this;
    if (samples.length !== this.size) throw new Error(`got ${samples.length} samples; expected ${this.size}`);
    const source = step.inputs.find(({ role }) => role === "samples");
    this.inputs[source.name] = contract.input === "samples" ? samples : toInt16(samples);
    const results = await this.engine.run(this.inputs);
    for (const { name, feeds } of step.outputs) if (feeds) this.inputs[feeds] = results[name];
    const logits = results[step.outputs.find(({ role }) => role === "logits").name];
    const time = ++this.steps * this.seconds, level = measureLevel(samples);
    const probabilities = this.belief.update(logits);
    const { answer, isUnknown } = decide(contract, probabilities);
    const events = this.detector.update(time, this.eventBelief.update(logits), level);
    return {
      time, level, events, probabilities, isUnknown, logits: Array.from(logits), answer: contract.labels[answer],
      confidence: probabilities[answer], index: probabilities.indexOf(Math.max(...probabilities)),
    };
  }

  /** Return the events that still last, which end with the stream. */
  finish() {
    return this.detector.finish();
  }
}
