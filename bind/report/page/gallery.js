function galleryCell(cell, modality, heading, kind) {
  return element("div", { class: `cell ${kind}`, "data-key": cell.key },
    element("p", { class: "rank" }, heading),
    mediaElement(page.media[cell.media], `${modality}: ${cell.caption}`),
    element("p", { class: "caption" }, cell.caption),
    ...cell.facts.map((fact) => element("p", { class: "fact" }, fact)),
    ...(cell.why ? [why(cell.why)] : []));
}

// The words that query and result share, and what each adds to their cosine.
function why(concepts) {
  const words = concepts.map(([word, value]) => `${word} +${value.toFixed(2)}`);
  return element("p", { class: "fact why" }, words.length ? `why: ${words.join(", ")}` : "why: no word says it");
}

function galleryRow(row, gallery) {
  const hits = row.hits.map((cell, index) => {
    const heading = `${index + 1}  ${cell.relevant ? "✓" : "✗"}  ${cell.score.toFixed(3)}`;
    const kind = cell.relevant ? "right" : "wrong";
    return element("li", {}, galleryCell(cell, gallery.pool, heading, kind));
  });
  const results = { class: "found", tabindex: "0", "aria-label": "results, best first" };
  return element("div", { class: "asked" },
    galleryCell(row.query, gallery.query, "query", ""), element("ol", results, ...hits));
}

function showGalleries(place) {
  for (const gallery of page.galleries) {
    place.append(element("h3", {}, `${gallery.query} → ${gallery.pool}`),
      ...gallery.rows.map((row) => galleryRow(row, gallery)));
  }
}
