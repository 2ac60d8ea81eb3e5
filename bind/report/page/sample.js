// A sample as it stands in a gallery and beside an explanation: what it looks or sounds like, and what is known of it.

function sampleCell(cell, modality, heading, kind = "") {
  return element("div", { class: `cell ${kind}`, "data-key": cell.key },
    element("p", { class: "rank" }, heading),
    mediaElement(page.media[cell.media], `${modality}: ${cell.caption || cell.key}`),
    ...(cell.caption ? [element("p", { class: "caption" }, cell.caption)] : []),
    ...cell.facts.map((fact) => element("p", { class: "fact" }, fact)),
    ...(cell.why ? [why(cell.why)] : []));
}

// The words that query and result share, and what each adds to their cosine.
function why(concepts) {
  const words = concepts.map(([word, value]) => `${word} +${value.toFixed(2)}`);
  return element("p", { class: "fact why" }, `why: ${words.join(", ")}`);
}

// Results, best first; `name(cell, place)` gives the heading and the kind of each.
function sampleList(cells, modality, name) {
  const items = cells.map((cell, place) => element("li", {}, sampleCell(cell, modality, ...name(cell, place))));
  return element("ol", { class: "found", tabindex: "0", "aria-label": "results, best first" }, ...items);
}
