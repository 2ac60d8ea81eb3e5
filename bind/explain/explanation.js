// The samples of an explanation, in the places of tables that say what they are; and a player beside a side that is a sound.

for (const place of document.querySelectorAll("[data-samples]")) {
  const { modality, cells } = page.samples[place.dataset.samples];
  place.replaceChildren(sampleList(cells, modality, (cell, rank) => [`${rank + 1}  ${cell.score.toFixed(3)}`]));
}
for (const place of document.querySelectorAll("[data-sound]")) {
  const item = page.media[page.sounds[place.dataset.sound]];
  place.replaceChildren(soundButton(item), item.note);
}
