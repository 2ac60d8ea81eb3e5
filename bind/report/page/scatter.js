// The embeddings of a split as points, with controls beside them and the sample that is pointed at.

const NUM_MARKS = SHAPES.length * NUM_COLOURS;

// [shape, colour] of the n-th value of a colouring; what comes after the last pair is grey.
const lookOf = (n) => (n < NUM_MARKS ? [n % SHAPES.length, n % NUM_COLOURS] : [0, NUM_COLOURS]);

// How points may be coloured: by name, the value of each point, and all values, labels in the order of their classes,
// others the most frequent first.
function colourings(scatter) {
  const { modality, sample } = scatter.points;
  const of = (name, values, order) => {
    const counts = new Map();
    for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
    const others = [...counts.keys()].filter((value) => !order.includes(value));
    const sorted = [...order, ...others.sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1))];
    return { name, values, number: new Map(sorted.map((value, n) => [value, n])) };
  };
  const titles = scatter.modalities.map((m) => m.title);
  const field = (name, order) => {
    const values = sample.map((s) => scatter.samples[s][name] ?? "none"), there = new Set(values);
    return of(name, values, order.filter((value) => there.has(value)));
  };
  const found = [of("modality", modality.map((m) => titles[m]), titles), field("label", scatter.labels), field("source", [])];
  return found.filter((each, n) => n === 0 || each.number.size > 1);
}

function choice(legend, names, onchoose) {
  const inputs = names.map((name, n) => element("label", {}, element("input", {
    type: "radio", name: legend, value: name, checked: n === 0, onchange: () => onchoose(n) }), name));
  return element("fieldset", {}, element("legend", {}, legend), ...inputs);
}

// Checkboxes, one per value of a colouring, with its mark while points are coloured by it.
function filterBoxes(colouring, marked, hidden, onchange) {
  const boxes = [...colouring.number].map(([value, n]) => {
    const box = element("input", { type: "checkbox", checked: !hidden.has(value), value });
    box.addEventListener("change", () => { box.checked ? hidden.delete(value) : hidden.add(value); onchange(); });
    return element("label", {}, box, ...(marked ? [marker(...lookOf(n))] : []), value);
  });
  const all = element("button", { type: "button", class: "small", onclick: () => { hidden.clear(); redo(); } }, "all");
  const none = element("button", { type: "button", class: "small", onclick: () => {
    for (const value of colouring.number.keys()) hidden.add(value);
    redo();
  } }, "none");
  const redo = () => {
    for (const label of boxes) label.firstChild.checked = !hidden.has(label.firstChild.value);
    onchange();
  };
  return element("fieldset", { class: "key", "data-filter": colouring.name },
    element("legend", {}, colouring.name), ...(boxes.length > 4 ? [all, none] : []), ...boxes);
}

function sampleMedia(sample, modality, description) {
  return (sample.media[modality] || []).map((number) => mediaElement(page.media[number], description));
}

// What is known of a point: its own value first, then the rest of its sample.
function showPoint(detail, scatter, i, look) {
  const sample = scatter.samples[scatter.points.sample[i]];
  const modality = scatter.modalities[scatter.points.modality[i]];
  const words = sample.group || sample.label || sample.key;
  const own = modality.parts.length > 1
    ? modality.parts.flatMap((part) => sampleMedia(sample, part, words))
    : [mediaElement(page.media[sample.media[modality.name][scatter.points.value[i]]], `${modality.name}: ${words}`)];
  const others = Object.keys(sample.media).filter((name) => !modality.parts.includes(name));
  detail.dataset.key = sample.key;
  detail.dataset.modality = modality.name;
  detail.scrollTop = 0;
  detail.replaceChildren(
    element("p", { class: "what" }, marker(...look), ` ${modality.title}`),
    element("p", {}, words, ...(sample.label && sample.label !== words ? [element("br"), `label: ${sample.label}`] : [])),
    ...own,
    element("div", { class: "other" }, ...others.map((name) =>
      element("div", {}, element("h4", {}, name), ...sampleMedia(sample, name, `${name}: ${words}`)))),
    element("p", { class: "note" }, sample.key));
}

function showScatter(place, scatter) {
  const { points, samples } = scatter;
  const colours = colourings(scatter);
  const hidden = new Map(colours.map((colouring) => [colouring.name, new Set()]));
  const words = samples.map((sample) => [sample.key, sample.group, sample.label, sample.source,
    ...(sample.media.text || []).map((number) => page.media[number].text)].join("\n").toLowerCase());
  let [colouring, query, playOnHover] = [colours[0], [], false];
  const look = (i) => lookOf(colouring.number.get(colouring.values[i]));

  const canvas = element("canvas", { tabindex: "0", role: "application", "aria-label": "scatter of embeddings",
    "aria-describedby": "scatter-help" });
  const detail = element("div", { class: "detail", "aria-live": "polite" });
  const count = element("output", { class: "count" });
  const note = element("p", { class: "note" });
  const keys = element("div", { class: "controls" });
  const hint = () => {
    delete detail.dataset.key;
    detail.replaceChildren(element("p", { class: "note" },
      "Point at a mark, tap it, or reach it with the arrow keys: the sample behind it appears here."));
  };

  const plane = new Plane(canvas, look, (i, chosen) => {
    silence();
    plane.friends = i === null ? [] : [...points.sample.keys()].filter((j) => points.sample[j] === points.sample[i]);
    if (i === null) return hint();
    showPoint(detail, scatter, i, look(i));
    const button = detail.querySelector("button.sound");
    const isSound = scatter.modalities[points.modality[i]].parts.some((part) =>
      (samples[points.sample[i]].media[part] || []).some((number) => page.media[number].kind === "sound"));
    if (button && isSound && (chosen || playOnHover)) button.click();
  });

  const refresh = () => {
    const matches = words.map((text) => query.every((word) => text.includes(word)));
    plane.visible = points.sample.map((s, i) => matches[s] && colours.every((c) => !hidden.get(c.name).has(c.values[i])));
    if (plane.current !== null && !plane.visible[plane.current]) plane.point(null);
    count.textContent = `${plane.visible.filter(Boolean).length} of ${plane.visible.length} points`;
    plane.draw();
  };
  const recolour = (n) => {
    colouring = colours[n];
    keys.replaceChildren(...colours.map((each) => filterBoxes(each, each === colouring, hidden.get(each.name), refresh)));
    if (plane.current !== null) showPoint(detail, scatter, plane.current, look(plane.current));
    plane.draw();
  };
  const project = (n) => {
    const { x, y, note: about } = scatter.projections[n];
    note.textContent = `${scatter.projections[n].name}: ${about}.`;
    plane.show(x, y);
  };

  const search = element("input", { type: "search", placeholder: "words of key, caption, label",
    "aria-label": "filter by words" });
  search.addEventListener("input", () => {
    query = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    refresh();
  });
  const controls = [choice("projection", scatter.projections.map((p) => p.name), project)];
  if (colours.length > 1) controls.push(choice("colour", colours.map((each) => each.name), recolour));
  controls.push(element("label", {}, search), count);
  if (page.media.some((item) => item.kind === "sound")) {
    controls.push(element("label", {}, element("input", { type: "checkbox", class: "hover-sound",
      onchange: (event) => { playOnHover = event.target.checked; } }), "play sounds when pointed at"));
  }
  const button = (text, label, onclick) =>
    element("button", { type: "button", class: "small", "aria-label": label, onclick }, text);
  const zoom = element("div", { class: "zoom" }, button("+", "zoom in", () => plane.zoomBy(1.5)),
    button("−", "zoom out", () => plane.zoomBy(1 / 1.5)), button("reset", "show all", () => plane.reset()));

  place.append(
    element("div", { class: "controls" }, ...controls), keys,
    element("div", { class: "explorer" }, element("div", { class: "plot" }, canvas, zoom), detail), note,
    element("p", { class: "note", id: "scatter-help" },
      "Click or tap a mark to keep it, and hear it where it is a sound; lines lead to the other modalities of the same "
      + "sample. Zoom with the buttons, with two fingers, or after a click with the wheel; drag to move. Keys: arrows, "
      + "+, −, 0, Enter, Escape."));
  const height = () => { canvas.style.height = `${Math.round(Math.min(560, Math.max(320, canvas.clientWidth * 0.85)))}px`; };
  height();
  window.addEventListener("resize", height);
  hint();
  recolour(0);
  project(0);
  refresh();
}
