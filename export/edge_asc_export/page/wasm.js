// A stream through a C artefact as WebAssembly: the front end, the network and all rules are compiled into the file.

import { measureLevel, toInt16 } from "./samples.js";

const SECTION = "edge_asc_contract", EVENT_VALUES = 5;  // as edge-asc export writes them

/** Open a .wasm file of edge-asc export, a Uint8Array; return a new stream. */
export async function openWasm(bytes) {
  const module = await WebAssembly.compile(bytes);
  const [section] = WebAssembly.Module.customSections(module, SECTION);
  if (!section) throw new Error("no stream contract in the file; expected a .wasm file of edge-asc export");
  const { exports } = await WebAssembly.instantiate(module);
  return new WasmStream(JSON.parse(new TextDecoder().decode(section)), exports);
}

/** The interface of SampleStream, which live.js runs; a file holds one stream at a time. */
export class WasmStream {
  constructor(contract, classifier) {
    const [step] = contract.signatures, rate = contract.front_end.sample_rate, memory = classifier.memory.buffer;
    Object.assign(this, { contract, classifier, rate, size: step.samples, seconds: step.samples / rate });
    this.samples = new Int16Array(memory, classifier.samples(), this.size);
    this.logits = new Float32Array(memory, classifier.logits(), contract.labels.length);
    this.probabilities = new Float32Array(memory, classifier.probabilities(), contract.labels.length);
    this.reset();
  }

  /** Forget all audio. */
  reset() {
    this.classifier.reset();
  }

  /** Take the samples of one step, Int16Array or Float32Array in [-1, 1]; return the decision. */
  push(samples) {
    const { classifier, contract, rate } = this;
    if (samples.length !== this.size) throw new Error(`got ${samples.length} samples; expected ${this.size}`);
    this.samples.set(toInt16(samples));
    classifier.push(this.size);
    const probabilities = Array.from(this.probabilities), answer = classifier.answer();
    return {
      time: classifier.time() / rate, level: measureLevel(this.samples), events: this.readEvents(), probabilities,
      isUnknown: classifier.is_unknown() !== 0, logits: Array.from(this.logits), answer: contract.labels[answer],
      confidence: probabilities[answer], index: classifier.index(),
    };
  }

  /** Return the events that still last, which end with the stream. */
  finish() {
    this.classifier.finish();
    return this.readEvents();
  }

  readEvents() {
    const { classifier, contract, rate } = this;
    const values = new Float64Array(classifier.memory.buffer, classifier.events(), EVENT_VALUES * classifier.event_count());
    return Array.from({ length: classifier.event_count() }, (_, i) => {
      const [label, start, end, peak, mean] = values.subarray(EVENT_VALUES * i);
      return { label: contract.labels[label], start: start / rate, end: end === 0 ? null : end / rate, peak, mean };
    });
  }
}
