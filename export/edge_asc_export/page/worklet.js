// Collects the microphone's samples into steps.

class Steps extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.step = new Float32Array(processorOptions.size);
    this.filled = 0;
  }

  process([channels]) {
    if (!channels.length) return true;
    for (let i = 0; i < channels[0].length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.step[this.filled++] = sum / channels.length;
      if (this.filled === this.step.length) {
        this.port.postMessage(this.step.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("steps", Steps);
