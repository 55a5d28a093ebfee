// node node.js PAGE MODULES ARTEFACT SAMPLES ROUNDS: prints the measurement of onnxruntime-node as JSON.
// PAGE is the folder of stream.js; MODULES is node_modules; SAMPLES is a file of little-endian float32.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { measure } from "./measure.js";

const [page, modules, artefact, samples, rounds] = process.argv.slice(2);
const load = (name) => import(pathToFileURL(join(page, name)));
const [{ SampleStream }, { openOnnx }] = await Promise.all([load("stream.js"), load("engines.js")]);
const ort = createRequire(resolve(modules, "..", "index.js"))("onnxruntime-node");
const bytes = new Uint8Array(readFileSync(artefact));
const audio = new Float32Array(new Uint8Array(readFileSync(samples)).buffer);
console.log(JSON.stringify(await measure(new SampleStream(await openOnnx(ort, bytes)), audio, Number(rounds))));
