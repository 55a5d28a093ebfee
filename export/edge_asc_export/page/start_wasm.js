// The page with a C artefact as WebAssembly: all is in the page, so that it opens from a folder, too.

import { start } from "./live.js";
import { openWasm } from "./wasm.js";

const readBlock = (id) => document.getElementById(id).textContent;

async function open() {
  try {
    return await openWasm(Uint8Array.from(atob(readBlock("model")), (sign) => sign.charCodeAt(0)));
  } catch (error) {
    throw new Error(`${error.message}. This page needs WebAssembly with vectors, as browsers have since 2023`);
  }
}

start(open, `data:text/javascript,${encodeURIComponent(readBlock("worklet"))}`);  // a blob has no origin in a folder
