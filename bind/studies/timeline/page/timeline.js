const data = JSON.parse(document.getElementById("page-data").textContent);
const canvas = document.getElementById("trace");
const here = document.getElementById("here");
const player = document.getElementById("player");
const rows = [...document.querySelectorAll("tbody tr")];
const TRACE_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const PANEL = 110, BAR = 56, GAP = 14, AXIS = 24, LEFT = 58;
const SHORTEST_SECONDS = 0.5;
const FAINT_SHARE = 0.2, LETTERS = 18;
const TICKS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200];
let from = data.start, to = data.end, cursor = null;

function clock(seconds) {
  if (data.isEpoch) return new Date(seconds * 1000).toISOString().slice(11, 21);
  const tenths = Math.round(seconds * 10), minutes = Math.floor(tenths / 600), hours = Math.floor(minutes / 60);
  const rest = ((tenths % 600) / 10).toFixed(1).padStart(4, "0");
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}

const width = () => canvas.clientWidth - LEFT;
const x = seconds => LEFT + (seconds - from) / (to - from) * width();
const at = pixel => from + (pixel - LEFT) / width() * (to - from);

function show(first, last) {
  const length = Math.min(Math.max(last - first, SHORTEST_SECONDS), data.end - data.start);
  from = Math.min(Math.max(first, data.start), data.end - length);
  to = from + length;
  draw();
}

function zoom(factor, middle) {
  show(middle - (middle - from) * factor, middle + (to - middle) * factor);
}

function segmentAt(seconds) {
  let low = 0, high = data.segments.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1, [start, end] = data.segments[middle];
    if (seconds < start) high = middle - 1;
    else if (seconds >= end) low = middle + 1;
    else return middle;
  }
  return -1;
}

function describe(seconds) {
  const place = segmentAt(seconds);
  if (place >= 0) {
    const [start, end, label, confidence] = data.segments[place];
    return `${clock(seconds)}: ${label} (${confidence.toFixed(2)}), ${clock(start)} to ${clock(end)}`;
  }
  const lost = data.breaks.find(([start, end]) => seconds >= start && seconds < end);
  return `${clock(seconds)}: ${lost ? lost[2] : "no label"}`;
}

function draw() {
  const ratio = devicePixelRatio || 1, height = data.trace.length * (PANEL + GAP) + BAR + AXIS;
  canvas.style.height = `${height}px`;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = height * ratio;
  const pen = canvas.getContext("2d"), look = getComputedStyle(document.body);
  const faint = look.getPropertyValue("--faint"), rule = look.getPropertyValue("--rule");
  pen.scale(ratio, ratio);
  pen.font = "12px system-ui, sans-serif";
  data.trace.forEach((panel, place) => drawPanel(pen, panel, place * (PANEL + GAP), faint, rule));
  const top = data.trace.length * (PANEL + GAP);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, width(), height);
  pen.clip();
  for (const [start, end, label, confidence] of data.segments) {
    if (end < from || start > to) continue;
    const wide = Math.max(x(end) - x(start) - 0.5, 0.75), high = BAR * confidence;
    pen.fillStyle = data.colours[label];
    pen.globalAlpha = FAINT_SHARE;
    pen.fillRect(x(start), top, wide, BAR);
    pen.globalAlpha = 1;
    pen.fillRect(x(start), top + BAR - high, wide, high);
    const room = Math.min(x(end), LEFT + width()) - Math.max(x(start), LEFT) - 5;
    const said = nameThatFits(pen, label, room);
    pen.fillStyle = high < LETTERS ? look.color : isDark(data.colours[label]) ? "#fff" : "#000";
    pen.fillText(said, Math.max(x(start), LEFT) + 3, top + BAR - 6);
  }
  if (cursor !== null) {
    pen.fillStyle = look.color;
    pen.fillRect(x(cursor) - 0.75, 0, 1.5, top + BAR);
  }
  pen.restore();
  pen.fillStyle = faint;
  const atLeast = (to - from) / Math.max(2, Math.floor(width() / 110));
  const step = TICKS.find(seconds => seconds >= atLeast) ?? Math.ceil(atLeast / 86400) * 86400;
  for (let place = Math.ceil(from / step); place * step < to; place++) {
    const tick = place * step, name = step < 1 ? clock(tick) : clock(tick).slice(0, -2); // tenths where they differ
    pen.fillRect(x(tick), top + BAR, 1, 5);
    if (x(tick) + pen.measureText(name).width < LEFT + width()) pen.fillText(name, x(tick), top + BAR + 18);
  }
}

// A label where it fits, else its number in the legend, else nothing.
function nameThatFits(pen, label, room) {
  const number = String(data.names.indexOf(label) + 1);
  return [label, number].find(name => pen.measureText(name).width <= room) ?? "";
}

// Whether white letters are easier to read on a colour than black ones: by its luminance (WCAG 2.2).
function isDark(colour) {
  const [red, green, blue] = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16) / 255)
    .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179;
}

function drawPanel(pen, panel, top, faint, rule) {
  const count = panel.channels[0].low.length, perSecond = count / (data.end - data.start);
  const first = Math.max(0, Math.floor((from - data.start) * perSecond) - 1);
  const last = Math.min(count, Math.ceil((to - data.start) * perSecond) + 1);
  let low = Infinity, high = -Infinity;
  for (const channel of panel.channels) {
    for (let i = first; i < last; i++) {
      if (channel.low[i] === null) continue;
      low = Math.min(low, channel.low[i]);
      high = Math.max(high, channel.high[i]);
    }
  }
  pen.strokeStyle = rule;
  pen.strokeRect(LEFT, top + 0.5, width(), PANEL);
  if (high < low) return;
  const span = Math.max(high - low, 1e-9), y = value => top + PANEL - 4 - (value - low) / span * (PANEL - 8);
  pen.fillStyle = faint;
  pen.fillText(high.toPrecision(3), 2, top + 11);
  pen.fillText(low.toPrecision(3), 2, top + PANEL - 2);
  pen.fillText(panel.unit, 2, top + PANEL / 2 + 4);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, top, width(), PANEL);
  pen.clip();
  panel.channels.forEach((channel, place) => {
    pen.strokeStyle = pen.fillStyle = TRACE_COLOURS[place % TRACE_COLOURS.length];
    pen.globalAlpha = 0.8;
    pen.beginPath();
    for (let i = first; i < last; i++) {
      if (channel.low[i] === null) continue;
      const middle = x(data.start + (i + 0.5) / perSecond);
      if (i > first && channel.low[i - 1] !== null) pen.lineTo(middle, y(channel.low[i]));
      else pen.moveTo(middle, y(channel.low[i]));
      pen.lineTo(middle, y(channel.high[i]));
    }
    pen.stroke();
    pen.globalAlpha = 1;
    if (panel.channels.length > 1) pen.fillText(channel.name, LEFT + 6 + place * 70, top + 14);
  });
  pen.restore();
}

function go(seconds, seek = true) {
  cursor = Math.min(Math.max(seconds, data.start), data.end);
  here.textContent = describe(cursor);
  if (seek && player) player.currentTime = cursor - data.start;
  if (cursor < from || cursor > to) show(cursor - (to - from) / 5, cursor + (to - from) * 4 / 5);
  const now = segmentAt(cursor);
  rows.forEach((row, place) => row.classList.toggle("now", place === now));
  draw();
}

let drag = null;
canvas.addEventListener("pointerdown", event => { drag = { x: event.offsetX, from, to, moved: false }; });
canvas.addEventListener("pointermove", event => {
  if (!drag) { here.textContent = describe(at(event.offsetX)); return; }
  const shift = (drag.x - event.offsetX) / width() * (drag.to - drag.from);
  drag.moved ||= Math.abs(drag.x - event.offsetX) > 3;
  if (drag.moved) show(drag.from + shift, drag.to + shift);
});
canvas.addEventListener("pointerup", event => { if (drag && !drag.moved) go(at(event.offsetX)); drag = null; });
canvas.addEventListener("pointerleave", () => { drag = null; });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, at(event.offsetX));
}, { passive: false });
canvas.addEventListener("keydown", event => {
  const middle = cursor ?? (from + to) / 2, shift = (to - from) / 10;
  if (event.key === "+") zoom(0.8, middle);
  else if (event.key === "-") zoom(1.25, middle);
  else if (event.key === "ArrowLeft") show(from - shift, to - shift);
  else if (event.key === "ArrowRight") show(from + shift, to + shift);
});
document.querySelector("tbody").addEventListener("click", event => {
  if (event.target.dataset.at) go(Number(event.target.dataset.at));
});
if (player) {
  const follow = () => {
    go(data.start + player.currentTime, false);
    if (!player.paused) requestAnimationFrame(follow);
  };
  player.addEventListener("play", follow);
  player.addEventListener("seeked", () => {
    const sentTo = Math.min(cursor - data.start, player.duration); // it may end before the trace does
    if (Math.abs(player.currentTime - sentTo) > 0.001) follow();
  });
}
addEventListener("resize", draw);
draw();
