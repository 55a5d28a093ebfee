// The page with an ONNX artefact: files of a server, and onnxruntime-web.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { openOnnx } from "./engines.js";
import { start } from "./live.js";
import { SampleStream } from "./stream.js";

ort.env.wasm.numThreads = 1;  // more threads need headers that plain servers do not send

async function open() {
  const name = document.querySelector("meta[name=model]").content;
  try {
    const reply = await fetch(name);
    if (!reply.ok) throw new Error(`${name}: the server answers ${reply.status}`);
    return new SampleStream(await openOnnx(ort, new Uint8Array(await reply.arrayBuffer())));
  } catch (error) {
    throw new Error(`${error.message}. Serve this folder, for example with: python -m http.server`);
  }
}

start(open, "worklet.js");
