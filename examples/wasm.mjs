// Stream a WAV file through a C artefact as WebAssembly:  node wasm.mjs FOLDER FILE.wav
// FOLDER is that of edge-asc export --format c --wasm FOLDER; the file is mono, 16 bits, 16 kHz.
import { readdir, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, path] = process.argv.slice(2);
const { openWasm } = await import(pathToFileURL(resolve(folder, "wasm.js")));
const file = (await readdir(folder)).find((name) => name.endsWith(".wasm"));
const wav = await readFile(path), begin = wav.indexOf("data") + 8;
const samples = Int16Array.from({ length: (wav.length - begin) >> 1 }, (_, i) => wav.readInt16LE(begin + 2 * i));

const stream = await openWasm(await readFile(resolve(folder, file)));
const report = ({ label, start, end }) => console.log(end === null ? `${label} starts ${start}` : `${label} ends ${end}`);
for (let n = 0; n + stream.size <= samples.length; n += stream.size) {
  const { time, answer, confidence, events } = stream.push(samples.subarray(n, n + stream.size));
  console.log(`${time.toFixed(3)} ${answer} ${confidence.toFixed(6)}`);
  events.forEach(report);
}
stream.finish().forEach(report);
