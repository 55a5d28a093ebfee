// Stream a WAV file through an ONNX artefact:  npm ci && node node.mjs FOLDER FILE.wav
// FOLDER holds an artefact that takes samples (edge-asc export --input samples); the file is mono, 16 bits, 16 kHz.
import { readFile } from "node:fs/promises";
import { InferenceSession, Tensor } from "onnxruntime-node";

const [folder, path] = process.argv.slice(2);
const { files } = JSON.parse(await readFile(`${folder}/manifest.json`, "utf8"));
const [file, { contract }] = Object.entries(files).find(([, entry]) => entry.format === "onnx");
const wav = await readFile(path), begin = wav.indexOf("data") + 8;
const pcm = Float32Array.from({ length: (wav.length - begin) >> 1 }, (_, i) => wav.readInt16LE(begin + 2 * i) / 32768);

const session = await InferenceSession.create(`${folder}/${file}`);
const [step] = contract.signatures, inputs = {};
for (const { name, dtype, shape, quantisation } of step.inputs) {
  const Numbers = { float32: Float32Array, int8: Int8Array, uint8: Uint8Array }[dtype];
  const size = shape.reduce((product, length) => product * length);
  inputs[name] = new Tensor(dtype, new Numbers(size).fill(quantisation?.zero_point ?? 0), shape);
}
const total = contract.labels.map(() => 0);
for (let n = 1; n * step.samples <= pcm.length; n++) {
  inputs.samples = new Tensor(pcm.subarray((n - 1) * step.samples, n * step.samples), [1, step.samples]);
  const results = await session.run(inputs);
  for (const { name, feeds } of step.outputs) if (feeds) inputs[feeds] = results[name];
  results.logits.data.forEach((logit, i) => { total[i] += logit; });  // the rule for a clip: the mean over all steps
  const highest = Math.max(...total), best = total.indexOf(highest);
  const powers = total.map((sum) => Math.exp((sum - highest) / n / contract.temperature));
  const probability = 1 / powers.reduce((sum, power) => sum + power);
  console.log(`${(n * step.samples / 16000).toFixed(3)} ${contract.labels[best]} ${probability.toFixed(6)}`);
}
