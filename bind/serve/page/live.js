"use strict";
// The page of live time lines: what this device senses goes to the service that the page came from, segments come back.

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const OWN_PHRASES = "";
const SHOWN_SECONDS = 60, SHOWN_SEGMENTS = 50, SENT_EVERY_MS = 500, SENT_SAMPLES = 20000, NUM_TIMED_EVENTS = 100, WAIT_MS = 5000;
const STANDARD_GRAVITY = 9.80665, TEXT_PIXELS = 18;
const scaled = (value, factor) => (value === null || value === undefined ? NaN : value * factor);
const acceleration = (axis) => (event) => scaled(event.accelerationIncludingGravity?.[axis], 1 / STANDARD_GRAVITY);
const rotation = (angle) => (event) => scaled(event.rotationRate?.[angle], Math.PI / 180);
// Channel → its unit, and its value. Browsers call turning around x alpha here, around y beta and around z gamma.
const MOTION = {
  acc_x: ["g", acceleration("x")], acc_y: ["g", acceleration("y")], acc_z: ["g", acceleration("z")],
  gyro_x: ["rad/s", rotation("alpha")], gyro_y: ["rad/s", rotation("beta")], gyro_z: ["rad/s", rotation("gamma")],
};
// Browsers without a sensor give an event without values.
const isMeasured = (channel, event) => !Number.isNaN(MOTION[channel][1](event));
// colours: label → its colour, as the service says it, the same as on the page of a time line.
let about = null, stop = null, drawn = { segments: [], colours: {}, finalSeconds: 0 };

function say(text, isWrong = false) {
  $("state").textContent = text;
  $("state").className = isWrong ? "wrong" : "";
}

// The last minute; what may still change is lower.
function draw() {
  const { segments, colours, finalSeconds } = drawn;
  const canvas = $("line"), pen = canvas.getContext("2d"), ratio = devicePixelRatio;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  if (!segments.length) return;
  const width = canvas.clientWidth, height = canvas.clientHeight - TEXT_PIXELS;
  const end = Math.max(segments.at(-1)[1], SHOWN_SECONDS), x = (t) => (1 - (end - t) / SHOWN_SECONDS) * width;
  pen.scale(ratio, ratio);
  const style = getComputedStyle(document.body);
  pen.font = `12px ${style.fontFamily}`;
  for (const [from, to, label] of segments) {
    if (to < end - SHOWN_SECONDS) continue;
    for (const [a, b, share] of [[from, Math.min(to, finalSeconds), 1], [Math.max(from, finalSeconds), to, 0.6]]) {
      if (b <= a) continue;
      pen.fillStyle = colours[label];
      pen.fillRect(x(a), height * (1 - share), x(b) - x(a), height * share);
    }
    if (pen.measureText(label).width + 10 < x(to) - Math.max(0, x(from))) {
      pen.fillStyle = style.color;
      pen.fillText(label, Math.max(0, x(from)) + 2, height + TEXT_PIXELS - 5);
    }
  }
}

function clock(seconds) {
  const minutes = Math.floor(seconds / 60);
  return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
}

function show(segments, colours, { final_seconds, breaks }) {
  drawn = { segments, colours, finalSeconds: final_seconds };
  const last = segments.at(-1);
  if ($("now").textContent !== (last?.[2] ?? "")) $("now").textContent = last?.[2] ?? "";
  $("segments").replaceChildren(...segments.slice(-SHOWN_SEGMENTS).reverse().map(([from, to, label, confidence]) => {
    const item = document.createElement("li"), mark = document.createElement("span");
    mark.className = "mark";
    mark.style.setProperty("background", colours[label]);
    const changes = from >= final_seconds ? ", may change" : "";
    item.append(mark, `${clock(from)} to ${clock(to)} ${label} (${confidence.toFixed(2)}${changes})`);
    return item;
  }));
  draw();
  if (breaks.length) say(`Without a label: ${breaks.at(-1)}`);
}

async function motionRate(channels) {
  if (window.DeviceMotionEvent?.requestPermission && await DeviceMotionEvent.requestPermission() !== "granted") {
    throw new Error("The motion sensor may not be read.");
  }
  say("Measuring the rate of the motion sensor …");
  return new Promise((resolve, reject) => {
    const times = [];
    const count = (event) => {
      if (!channels.some((channel) => isMeasured(channel, event))) return;
      times.push(event.timeStamp);
      if (times.length <= NUM_TIMED_EVENTS) return;
      removeEventListener("devicemotion", count);
      clearTimeout(timer);
      resolve(Math.round(1e4 * NUM_TIMED_EVENTS / (times.at(-1) - times[0])) / 10);
    };
    const timer = setTimeout(() => {
      removeEventListener("devicemotion", count);
      reject(new Error("No motion comes from this device. Open the page on a phone, by https or on localhost."));
    }, WAIT_MS);
    addEventListener("devicemotion", count);
  });
}

async function motionSource(channels) {
  const unknown = channels.filter((channel) => !(channel in MOTION));
  if (unknown.length) throw new Error(`Browsers measure no ${unknown.join(", ")}: stream to /live/stream by a program.`);
  const rate = await motionRate(channels);
  return { rate, channels, units: channels.map((channel) => MOTION[channel][0]), start(take, fail) {
    const read = (event) => {
      const missing = channels.filter((channel) => !isMeasured(channel, event));
      if (missing.length === channels.length) return;
      if (missing.length) return fail(`This device measures no ${missing.join(", ")}.`);
      take(channels.map((channel) => MOTION[channel][1](event)));
    };
    addEventListener("devicemotion", read);
    return () => removeEventListener("devicemotion", read);
  } };
}

async function soundSource() {
  if (!navigator.mediaDevices) throw new Error("The microphone can only be used by https or on localhost.");
  const context = new AudioContext();
  const stream = await navigator.mediaDevices.getUserMedia(
    { audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
  await context.audioWorklet.addModule("/microphone.js");
  return { rate: context.sampleRate, channels: null, units: null, start(take) {
    const node = new AudioWorkletNode(context, "microphone");
    node.port.onmessage = (event) => take(event.data);
    context.createMediaStreamSource(stream).connect(node).connect(context.destination);
    return () => { stream.getTracks().forEach((track) => track.stop()); context.close(); };
  } };
}

async function start() {
  const modality = $("modality").value, set = $("labels").value;
  const phrases = $("phrases").value.split("\n").map((line) => line.trim()).filter(Boolean);
  const source = await (modality === "audio" ? soundSource() : motionSource(about.modalities[modality].channels));
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live/stream`);
  show([], {}, { final_seconds: 0, breaks: [] });
  $("line").hidden = true; // until there is something to be seen
  let held = [], segments = [], colours = {}, numChannels = 1, stopSource = () => {}, hasEnded = false;
  const endSource = () => { stopSource(); stopSource = () => {}; };
  const flush = () => {
    if (!held.length) return;
    const size = SENT_SAMPLES * numChannels; // of a message; more are held where this device was busy
    for (let at = 0; at < held.length; at += size) socket.send(new Float32Array(held.slice(at, at + size)));
    held = [];
  };
  const fail = (message) => { hasEnded = true; say(message, true); socket.close(); };
  socket.onopen = () => socket.send(JSON.stringify({ modality, labels: set === OWN_PHRASES ? phrases : set,
    none: $("none").checked, sample_rate_hz: source.rate, channels: source.channels, units: source.units, token }));
  let timer = null;
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.error) return fail(message.error);
    if ("look_ahead_seconds" in message) {
      ({ num_channels: numChannels, colours } = message);
      say(`Listening at ${source.rate} Hz. A label may change for ${message.look_ahead_seconds.toFixed(0)} s.`);
      stopSource = source.start((values) => held.push(...values), fail);
      timer = setInterval(flush, SENT_EVERY_MS);
      return;
    }
    segments = [...segments.slice(0, message.from), ...message.segments];
    $("line").hidden = !segments.length;
    show(segments, colours, message);
    if (message.is_finished) { hasEnded = true; say("Ended."); }
  };
  socket.onclose = () => {
    clearInterval(timer);
    endSource();
    stop = null;
    $("go").textContent = "Start";
    if (!hasEnded) say("The service ended the stream.", true);
  };
  stop = () => {
    clearInterval(timer);
    endSource();
    if (socket.readyState !== WebSocket.OPEN) return socket.close();
    flush();
    socket.send("finish");
  };
  $("go").textContent = "Stop";
}

$("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (stop) return stop();
  $("go").disabled = true;
  try {
    await start();
  } catch (error) {
    say(error.message, true);
  } finally {
    $("go").disabled = false;
  }
});

function offerLabels() {
  const sets = Object.entries(about.label_sets).filter(([, set]) => set.modalities.includes($("modality").value));
  $("labels").replaceChildren(...sets.map(([name]) => new Option(name, name)), new Option("phrases of my own", OWN_PHRASES));
  $("own").hidden = $("labels").value !== OWN_PHRASES;
}

async function begin() {
  $("search").hash = location.hash;
  const response = await fetch("/live/about", { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  about = await response.json();
  if (!response.ok) return say(`${about.error}. Open the page with #token=TOKEN behind its address.`, true);
  const modalities = Object.keys(about.modalities);
  if (!modalities.length) return say("This binder embeds neither a sensor nor sound.", true);
  $("modality").replaceChildren(...modalities.map((name) => new Option(name, name)));
  offerLabels();
  $("modality").addEventListener("change", offerLabels);
  $("labels").addEventListener("change", () => { $("own").hidden = $("labels").value !== OWN_PHRASES; });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  $("go").disabled = false;
}

begin();
