const page = JSON.parse(document.getElementById("page-data").textContent);

// Elements from plain data. Text only ever becomes text: nothing here reads a string as HTML.

const SVG = "http://www.w3.org/2000/svg";
const NUM_COLOURS = 7;

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

function svg(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// One player for the page: a new sound ends the one before.
const player = new Audio();
let sounding = null;

function silence() {
  player.pause();
  if (sounding) sounding.textContent = "▶ play";
  sounding = null;
}

function play(button, source) {
  silence();
  sounding = button;
  button.textContent = "■ stop";
  player.src = source;
  // Browsers refuse sound before the first click on a page, and an earlier call where a later one comes at once.
  player.play().catch(() => { if (sounding === button) silence(); });
}

player.addEventListener("ended", silence);

function soundButton(item) {
  const button = element("button", { type: "button", class: "small sound" }, "▶ play");
  button.addEventListener("click", () => (sounding === button ? silence() : play(button, item.src)));
  return button;
}

function traceLine(encoded, order) {
  const bytes = atob(encoded);
  const steps = [];
  for (let i = 0; i < bytes.length; i++) {
    const [x, y] = [(i / Math.max(1, bytes.length - 1)) * 240, 61 - (bytes.charCodeAt(i) / 255) * 58];
    steps.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
  }
  return svg("path", { d: "M" + steps.join("L"), class: `s${order % NUM_COLOURS}` });
}

// "acc", and x, y, z, of acc_x, acc_y, acc_z: names that differ in their last part only.
function shortNames(names) {
  const cut = names[0].lastIndexOf("_") + 1;
  const common = names[0].slice(0, cut);
  if (names.length < 2 || !cut || !names.every((name) => name.startsWith(common))) return ["", names];
  return [common.slice(0, -1), names.map((name) => name.slice(cut))];
}

function tracePanel(panel) {
  const [common, names] = shortNames(panel.channels);
  const channels = names.map((name, order) =>
    element("span", { class: "channel" }, marker(0, order % NUM_COLOURS), name));
  const range = `${panel.low} to ${panel.high} ${panel.unit}`.trim().replaceAll("-", "−");
  return [
    svg("svg", { class: "trace", viewBox: "0 0 240 64", preserveAspectRatio: "none", role: "img",
      "aria-label": `trace of ${panel.channels.join(", ")}, ${range}` }, ...panel.lines.map(traceLine)),
    element("div", { class: "facts" }, common, ...channels, element("span", {}, range)),
  ];
}

function mediaElement(item, description) {
  if (item.kind === "text") return element("div", { class: "media" }, element("blockquote", {}, item.text));
  if (item.kind === "missing") return element("div", { class: "media" }, element("p", { class: "missing" }, item.text));
  const box = element("div", { class: "media" });
  const facts = item.note ? [element("span", {}, item.note)] : [];
  if (item.kind === "picture") {
    const size = { width: item.width, height: item.height, class: item.width < 100 ? "tiny" : "" };
    box.append(element("img", { src: item.src, alt: description, ...size }));
  } else if (item.kind === "sound") {
    box.append(element("img", { src: item.picture, alt: `spectrogram, ${description}`, class: "sound" }));
    facts.unshift(soundButton(item));
  } else {
    for (const panel of item.panels) box.append(...tracePanel(panel));
  }
  if (facts.length) box.append(element("div", { class: "facts" }, ...facts));
  return box;
}

// Marks differ in shape as well as in colour.
const SHAPES = [
  (r) => `M${r} 0A${r} ${r} 0 1 1 ${-r} 0A${r} ${r} 0 1 1 ${r} 0Z`,
  (r) => `M${-0.9 * r} ${-0.9 * r}H${0.9 * r}V${0.9 * r}H${-0.9 * r}Z`,
  (r) => `M0 ${-1.25 * r}L${1.15 * r} ${0.85 * r}H${-1.15 * r}Z`,
  (r) => `M0 ${-1.35 * r}L${1.1 * r} 0L0 ${1.35 * r}L${-1.1 * r} 0Z`,
  (r) => `M0 ${1.25 * r}L${1.15 * r} ${-0.85 * r}H${-1.15 * r}Z`,
  (r) => {
    const a = 0.8 * r;
    return `M${-a / 2} ${-1.5 * a}h${a}v${a}h${a}v${a}h${-a}v${a}h${-a}v${-a}h${-a}v${-a}h${a}Z`;
  },
];

function marker(shape, colour) {
  return svg("svg", { class: "dots", viewBox: "-8 -8 16 16", "aria-hidden": "true" },
    svg("path", { d: SHAPES[shape](5.6), class: `k${colour}` }));
}
