// Artefacts in the engines of JavaScript. Each returns {contract, run}, where `run` takes and returns typed arrays by name.

import { readContract } from "./stream.js";

/** Open an ONNX artefact, a Uint8Array, with the module of onnxruntime-web or onnxruntime-node. */
export async function openOnnx(ort, bytes) {
  const contract = readContract(bytes);
  const [step] = contract.signatures;
  const session = await ort.InferenceSession.create(bytes, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const run = async (inputs) => {
    const feeds = {};
    for (const { name, dtype, shape } of step.inputs) feeds[name] = new ort.Tensor(dtype, inputs[name], shape);
    const results = await session.run(feeds);
    return Object.fromEntries(step.outputs.map(({ name }) => [name, results[name].data]));
  };
  return { contract, run };
}

/** Open a TFLite artefact, a Uint8Array, with the module @litertjs/core, whose loadLiteRt has been called. */
export async function openLiteRt(litert, bytes) {
  const contract = readContract(bytes);
  const [step] = contract.signatures;
  const model = await litert.loadAndCompile(bytes, { accelerator: "wasm" });
  const run = async (inputs) => {
    const feeds = {};
    for (const { name, shape } of step.inputs) feeds[name] = new litert.Tensor(inputs[name], shape);
    const results = await model.run("step", feeds), values = {};
    for (const { name } of step.outputs) {
      values[name] = (await results[name].data()).slice();
      results[name].delete();
    }
    for (const tensor of Object.values(feeds)) tensor.delete();
    return values;
  };
  return { contract, run };
}
