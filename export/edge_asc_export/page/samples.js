// Samples of one step, as every stream takes them.

const FULL_SCALE = 32768;

/** Return samples, in [-1, 1] or Int16Array, as Int16Array: rounded to the nearest, halves to even. */
export function toInt16(samples) {
  if (samples instanceof Int16Array) return samples;
  return Int16Array.from(samples, (x) => Math.min(FULL_SCALE - 1, Math.max(-FULL_SCALE, roundToEven(FULL_SCALE * x))));
}

/** Return the level of samples in [-1, 1], or Int16Array, dBFS. */
export function measureLevel(samples) {
  const energy = samples.reduce((sum, x) => sum + x * x, 0);
  return 10 * Math.log10(energy / samples.length / (samples instanceof Int16Array ? FULL_SCALE ** 2 : 1));
}

function roundToEven(x) {
  const rounded = Math.round(x);
  return x % 1 === 0.5 || x % 1 === -0.5 ? 2 * Math.round(x / 2) : rounded;
}
