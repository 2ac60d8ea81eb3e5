// Runs where a browser processes sound: hands on the first channel of what the microphone hears.
registerProcessor("microphone", class extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
});
