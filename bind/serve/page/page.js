// The first page: a query of words and files with its hits, or what they are in words. It asks the service that it came from and nobody else.

const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.hash.slice(1)).get("token");
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const NAMES = { image: /\.(png|jpe?g|webp|tiff?|bmp|gif|avif)$/i, audio: /\.(wav|flac|ogg|oga|opus|mp3|aiff?|m4a)$/i,
  video: /\.(mp4|m4v|mov|mkv|webm|avi)$/i };
const query = []; // of {file, modality}
let meta = null, latest = 0;

function say(text, isWrong = false) {
  $("state").textContent = text;
  $("state").className = isWrong ? "wrong" : "";
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error || `status ${response.status}`);
  return answer;
}

function modalityOf(name) {
  const files = meta.modalities.filter((modality) => modality !== "text");
  for (const [modality, pattern] of Object.entries(NAMES)) {
    if (pattern.test(name) && files.includes(modality)) return modality;
  }
  if (NAMES.video.test(name)) return files.find((m) => m === "image" || m === "audio");
  return files.find((modality) => !(modality in NAMES)) || files[0];
}

function addFile(file) {
  if (file.size > meta.limits.max_bytes) return say(`${file.name} is larger than ${meta.limits.max_bytes / 1e6} MB`, true);
  query.push({ file, modality: modalityOf(file.name) });
  showChosen();
}

function showChosen() {
  $("chosen").replaceChildren(...query.map((part, place) => {
    const select = element("select", { "aria-label": `modality of ${part.file.name}`,
      onchange: (event) => { part.modality = event.target.value; } },
      ...meta.modalities.filter((m) => m !== "text").map((m) => element("option", { value: m, selected: m === part.modality }, m)));
    const remove = element("button", { type: "button", class: "small", "aria-label": `remove ${part.file.name}`,
      onclick: () => { silence(); query.splice(place, 1); showChosen(); } }, "×");
    part.url ||= URL.createObjectURL(part.file);
    const shown = part.file.type.startsWith("image/") ? [element("img", { src: part.url, alt: part.file.name })]
      : part.file.type.startsWith("audio/") ? [soundButton({ src: part.url }), lengthOf(part)] : [];
    return element("li", {}, ...shown, part.file.name, select, remove);
  }));
}

// Players of browsers show whole seconds, so that a word would be 0:00 long.
function lengthOf(part) {
  const place = element("span", { class: "length" });
  const show = () => { place.textContent = Number.isFinite(part.seconds) ? `${part.seconds.toFixed(1)} s` : ""; };
  const sound = new Audio();
  sound.preload = "metadata";
  sound.addEventListener("loadedmetadata", () => { part.seconds = sound.duration; show(); });
  sound.addEventListener("error", () => { place.textContent = "can't be played here"; });
  show();
  if (part.seconds === undefined) sound.src = part.url;
  return place;
}

async function search() {
  const form = new FormData();
  const words = $("words").value.trim();
  if (words) form.append("text", words);
  for (const { file, modality } of query) {
    if (form.has(modality)) return say(`one ${modality} at a time: remove the other`, true);
    form.append(modality, file, file.name);
  }
  if (!words && !query.length) return say("Give words, a file or a sound to search with.", true);
  form.append("top", $("top").value || "12");
  form.append("comparable", $("comparable").checked);
  if ($("where").value.trim()) form.append("where", $("where").value.trim());
  const chosen = [...document.querySelectorAll("#modalities input:checked")].map((box) => box.value);
  if (chosen.length) form.append("in", JSON.stringify(chosen));
  const mine = ++latest;
  say("Searching …");
  $("go").disabled = true;
  silence();
  try {
    const answer = await ask("/search", { method: "POST", body: form });
    if (mine === latest) show(answer);
  } catch (error) {
    if (mine === latest) { say(error.message, true); $("hits").replaceChildren(); }
  } finally {
    $("go").disabled = false;
  }
}

// Captions of the words and files of the query, or the answer to the words about the files.
async function inWords(path) {
  const words = $("words").value.trim();
  const form = new FormData();
  if (words) form.append(path === "/ask" ? "question" : "text", words);
  query.forEach(({ file, modality }) => form.append(modality, file, file.name));
  if (path === "/ask" && !(words && query.length)) return say("Write a question into the words, and choose what it is about.", true);
  if (!words && !query.length) return say("Give words, a file or a sound to say something about.", true);
  const mine = ++latest;
  say("Writing …");
  $("said").replaceChildren();
  silence();
  try {
    const answer = await ask(path, { method: "POST", body: form });
    if (mine !== latest) return;
    const names = [...(words && path !== "/ask" ? [words] : []), ...query.map((part) => part.file.name)];
    const lines = path === "/ask" ? [`${words} ${answer.answer || "(nothing)"}`]
      : answer.items.map((item, place) => `${names[place]}: ${item.error || item.caption || "(nothing)"}`);
    say("");
    $("said").replaceChildren(...lines.map((line) => element("li", {}, line)));
  } catch (error) {
    if (mine === latest) say(error.message, true);
  }
}

function show({ hits, num_vectors }) {
  say(hits.length ? `The best ${hits.length} of ${num_vectors.toLocaleString("en")} vectors.` : "Nothing meets the condition.");
  $("hits").replaceChildren(...hits.map(hitCard));
}

function hitCard(hit) {
  const score = hit.standard_score === undefined ? "" : `, ${hit.standard_score.toFixed(1)} above mean`;
  const place = element("div", { class: "media" }, "…");
  const facts = ["label", "caption", "split", "group", "owner", "file"].filter((name) => hit[name] !== undefined);
  loadMedia(place, hit);
  return element("li", { class: "hit" },
    element("p", {}, element("span", { class: "rank" }, `${hit.rank}. ${hit.modality}`), ` ${hit.score.toFixed(3)}${score}`),
    place,
    element("p", { class: "fact" }, `key ${hit.key}`),
    ...facts.map((name) => element("p", { class: "fact" }, `${name} ${hit[name]}`)));
}

async function loadMedia(place, hit) {
  const parameters = new URLSearchParams({ modality: hit.modality, key: hit.key, number: hit.number });
  try {
    const item = await ask(`/media?${parameters}`);
    place.replaceWith(mediaElement(item, `${hit.modality} ${hit.key}`));
  } catch (error) {
    place.textContent = error.message;
  }
}

// A recording becomes a WAV here: what browsers record by themselves differs from one to the next.
let recorder = null;

async function record() {
  if (recorder) return recorder.stop();
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    return say(`The microphone can't be used: ${error.message}`, true);
  }
  const pieces = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = (event) => pieces.push(event.data);
  recorder.onstop = async () => {
    recorder = null;
    stream.getTracks().forEach((track) => track.stop());
    $("record").textContent = "● Record a sound";
    $("record").classList.remove("on");
    try {
      const context = new AudioContext();
      const sound = await context.decodeAudioData(await new Blob(pieces).arrayBuffer());
      await context.close();
      addFile(new File([wavOf(sound)], "recording.wav", { type: "audio/wav" }));
      say("Recorded.");
    } catch (error) {
      say(`The recording can't be read: ${error.message}`, true);
    }
  };
  recorder.start();
  $("record").textContent = "■ Stop";
  $("record").classList.add("on");
  say("Recording …");
}

function wavOf(sound) {
  const samples = sound.getChannelData(0);
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, letters) => [...letters].forEach((letter, i) => view.setUint8(at + i, letter.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, sound.sampleRate, true); view.setUint32(28, 2 * sound.sampleRate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(Math.max(-1, Math.min(1, x)) * 32767), true));
  return view.buffer;
}

// What the service has neither an index nor a bridge for is not offered.
function offer() {
  const vectors = meta.index ? Object.entries(meta.index.vectors) : [];
  const remedy = "start it with index=INDEX for that";
  if (meta.index) {
    const counts = vectors.map(([modality, num]) => `${num.toLocaleString("en")} ${modality}`).join(", ");
    $("about").textContent = `${counts}; ask by ${meta.modalities.join(", ")}`;
  } else if (meta.bridge) {
    $("title").textContent = "Say what it is";
    $("about").textContent = `Choose a file, and read what it is in words or ask about it. There is nothing to search: ${remedy}.`;
    $("words").placeholder = "a question about the file, or words to be said otherwise";
  } else {
    $("title").textContent = "Vectors";
    $("about").textContent = "This service gives programs vectors of texts and files. There is nothing to search and no language "
      + `model: ${remedy}, or with bridge=BRIDGE to hear what things are in words.`;
  }
  document.title = `bind: ${$("title").textContent.toLowerCase()}`;
  $("ask").hidden = !meta.index && !meta.bridge;
  $("modalities").append(...vectors.map(([modality]) =>
    element("label", {}, element("input", { type: "checkbox", value: modality }), modality)));
  $("go").hidden = $("searched").hidden = !meta.index;
  $("caption").hidden = $("answer").hidden = !meta.bridge;
  if (!meta.index) $("caption").className = "go";
}

function submit(event) {
  event.preventDefault();
  if (meta.index) return search();
  return inWords($("words").value.trim() && query.length ? "/ask" : "/caption");
}

async function begin() {
  $("live").hash = $("docs").hash = location.hash;
  try {
    meta = await ask("/meta");
  } catch (error) {
    return say(`${error.message}. Open the page with #token=TOKEN behind its address.`, true);
  }
  offer();
  $("record").hidden = !(meta.modalities.includes("audio") && navigator.mediaDevices && window.MediaRecorder);
  const files = meta.modalities.some((modality) => modality !== "text");
  $("choose").hidden = !files;
  $("caption").addEventListener("click", () => inWords("/caption"));
  $("answer").addEventListener("click", () => inWords("/ask"));
  $("ask").addEventListener("submit", submit);
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => { [...$("file").files].forEach(addFile); $("file").value = ""; });
  $("record").addEventListener("click", record);
  $("ask").addEventListener("dragover", (event) => { event.preventDefault(); $("ask").classList.add("over"); });
  $("ask").addEventListener("dragleave", () => $("ask").classList.remove("over"));
  $("ask").addEventListener("drop", (event) => {
    event.preventDefault();
    $("ask").classList.remove("over");
    [...event.dataTransfer.files].forEach(addFile);
  });
  (meta.index ? $("words") : $("choose")).focus();
}

begin();
