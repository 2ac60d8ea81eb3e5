function galleryRow(row, gallery) {
  const results = sampleList(row.hits, gallery.pool, (cell, place) =>
    [`${place + 1}  ${cell.relevant ? "✓" : "✗"}  ${cell.score.toFixed(3)}`, cell.relevant ? "right" : "wrong"]);
  return element("div", { class: "asked" }, sampleCell(row.query, gallery.query, "query"), results);
}

function showGalleries(place) {
  for (const gallery of page.galleries) {
    place.append(element("h3", {}, `${gallery.query} → ${gallery.pool}`),
      ...(gallery.note ? [element("p", { class: "note" }, gallery.note)] : []),
      ...gallery.rows.map((row) => galleryRow(row, gallery)));
  }
}
