// The page shows what the server knows and tells it what was done; it holds nothing that a reload would lose.
const $ = id => document.getElementById(id);
const NONE = 0, LOST = 102, GIVEN = 103; // and 1 to 101: sure by 0 to 100 percent
const HINTS = {
  box: "Drag a box around the object", points: "Click or scribble on the object; right button: beside it",
  polygon: "Click corners; Enter closes, Esc starts over", brush: "Paint the object", eraser: "Wipe away what is too much",
};
const SAID = ["#f2555a", "#35c46a"];  // beside the object, on it
const EXPORTS = $("exports").querySelector(".menu");

let state = null, read = null;  // of the server, and the serial of the last project that was read to its end
let rows = new Map();          // object id -> codes, one a frame
let frame = 0, shown = -1;     // wanted, and on the canvas
let chosen = 0;                // object id
let coming = null;             // of a new object that is only asked for, a promise; chosen is 0 meanwhile
let tool = "box", radius = 10;
let follows = true;            // whether the picture goes along while objects are followed
let prompt = null;             // box, points and scribble at this frame for this object, to be refined
let stroke = null;             // what is being drawn
let view = { scale: 1, x: 0, y: 0 };
let playing = 0, rate = [], toastTimer = 0;

const video = () => state?.project;
const object = () => video()?.objects.find(o => o.id === chosen);

// ---- the server ------------------------------------------------------------------------------------------
async function ask(path, options) {
  let answer, body;
  try {
    answer = await fetch(path, options);
    body = await answer.json();
  } catch { throw new Error("the studio does not answer: is stremn still running?"); }
  if (!answer.ok) throw new Error(body.error);
  return body;
}

let queue = Promise.resolve();
function act(verb, values = {}) {  // in the order in which it was done, however quick a hand is
  const turn = queue.then(async () => {
    try {
      const object_id = await values.object_id;  // JSON leaves it out where there is none
      const { answer } = await ask(`do/${verb}`, { method: "POST", body: JSON.stringify({ ...values, object_id }) });
      hush();
      await refresh();
      return answer;
    } catch (error) { complain(error.message); await refresh(); throw error; }
  });
  // What is done while these take their time is refused, not kept for later.
  if (verb !== "export" && verb !== "predict") queue = turn.catch(() => {});
  return turn;
}
const doing = (verb, values) => act(verb, values).catch(() => {});

function complain(text) {
  $("toast").textContent = text; $("toast").hidden = false;
  clearTimeout(toastTimer); toastTimer = setTimeout(hush, 8000);
}
const hush = () => { $("toast").hidden = true; };

let asking = null, again = false;
function refresh() {           // one question at a time, and one more if something happened meanwhile
  if (asking) { again = true; return asking; }
  asking = (async () => {
    do { again = false; take(await ask("state")); } while (again);
  })().catch(error => complain(error.message)).finally(() => { asking = null; });
  return asking;
}

function take(said) {
  const other = state?.serial !== said.serial;
  state = said;
  const p = video();
  document.body.classList.toggle("empty", !p || !p.count);
  if (said.error) complain(said.error);
  if (other) { frame = 0; shown = -1; prompt = null; rows = new Map(); chosen = 0; coming = null; view = { scale: 1, x: 0, y: 0 }; }
  if (!p || !p.count) { $("name").textContent = p ? `reading ${p.name} …` : ""; $("status").textContent = ""; return; }
  rows = new Map(p.objects.map(o => [o.id, Uint8Array.from(atob(o.timeline), c => c.charCodeAt(0))]));
  if (!coming && !rows.has(chosen)) chosen = p.objects[0]?.id ?? 0;
  const fresh = read !== said.serial;  // not "other": that comes while its frames are still being read
  read = said.serial;
  if (fresh && p.at >= 0) frame = p.at;
  frame = Math.min(frame, p.count - 1);
  const canvas = $("picture");
  if (canvas.width !== p.width || canvas.height !== p.height) { canvas.width = p.width; canvas.height = p.height; shown = -1; }
  if (fresh) { const side = Math.min(p.width, p.height); $("radius").max = Math.max(20, Math.round(side / 6)); setRadius(Math.max(2, Math.round(side / 50))); }
  document.documentElement.style.setProperty("--aspect", `${p.width}/${p.height}`);
  fit(); list(); say(); show(frame); remember();
}

function listen() {
  const news = new EventSource("news");
  news.onmessage = event => heard(JSON.parse(event.data));
  news.onerror = () => { $("status").textContent = "not connected"; };
}

function heard(news) {
  if (news.refresh) return void refresh();
  const p = video();
  if (news.count !== undefined) return p ? (p.count = news.count, p.width ? say() : refresh()) : refresh();
  if (news.export) { $("status").textContent = `export ${news.export}: ${news.frame + 1} of ${p?.count}`; return; }
  if (news.prediction) { state.prediction = news.prediction; return foresee(); }
  if (!p || news.frame === undefined) return;
  for (const [id, code] of Object.entries(news.codes)) { const row = rows.get(+id); if (row) row[news.frame] = code; }
  p.revision = news.revision; p.at = news.frame;
  rate = [...rate.slice(-20), performance.now()];
  if (follows) frame = news.frame;
  if (follows || news.frame === frame) show(frame, true);
  say(); drawTimelines(); remember();
}

// ---- the picture -----------------------------------------------------------------------------------------
let showing = false, latest = 0, bitmaps = [];
async function bitmap(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error((await answer.json()).error);
  return createImageBitmap(await answer.blob());
}

async function show(wanted, anew = false) {
  frame = wanted;
  latest++;
  $("drawing").setAttribute("aria-busy", "true");
  if (showing) return;
  showing = true;
  try {
    for (let drawn = -1; drawn !== latest && video();) {
      drawn = latest;
      const f = frame, serial = state.serial;
      bitmaps = await Promise.all([bitmap(`frame/${f}?p=${serial}`), bitmap(`mask/${f}?p=${serial}&r=${video().revision}`)]);
      shown = f;
      paint(); sketch(); place();
    }
  } catch (error) { complain(error.message); } finally { showing = false; $("drawing").setAttribute("aria-busy", "false"); }
}

let veiled = false;
function paint() {
  const context = $("picture").getContext("2d");
  context.drawImage(bitmaps[0], 0, 0, $("picture").width, $("picture").height);
  if (!veiled) { context.imageSmoothingEnabled = false; context.drawImage(bitmaps[1], 0, 0); }
}

function fit() {               // as large as the stage allows
  const p = video(), stage = $("stage");
  const scale = Math.min((stage.clientWidth - 24) / p.width, (stage.clientHeight - 24) / p.height);
  $("sheet").style.width = `${p.width * scale}px`; $("sheet").style.height = `${p.height * scale}px`;
  $("sheet").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
}

function at(event) {           // pixels of the video
  const box = $("drawing").getBoundingClientRect(), p = video();
  return [(event.clientX - box.left) * p.width / box.width, (event.clientY - box.top) * p.height / box.height];
}

// ---- drawing ---------------------------------------------------------------------------------------------
const kept = () => prompt && prompt.frame === frame && prompt.object === chosen ? prompt : begun(null);
const begun = box => (prompt = { frame, object: chosen, box, points: [], scribble: [], tool: !box && !coming && rows.get(chosen)?.[frame] ? "mend" : "prompt" });

async function addObject() {   // what is drawn from now on is its own, before it is there
  chosen = 0;
  const mine = coming = act("add_object", { name: "" });
  const id = await mine.catch(() => video()?.objects[0]?.id ?? 0);
  if (coming !== mine) return;  // another one was chosen or asked for meanwhile
  coming = null; chosen = id;
  if (prompt) prompt.object = id;
  list(); sketch(); remember();
}

async function send(used, points, { box, scribble } = { box: null, scribble: [] }) {
  try {
    follows = true;
    if (used === "prompt" || used === "mend") $("status").textContent = "finding the object …";
    if (!object() && !coming) addObject();
    await act("draw", { frame: shown, object_id: coming ?? chosen, tool: used, points: [...points], radius, box, scribble: [...scribble] });
  } catch { prompt = null; }
  sketch();
}

$("drawing").addEventListener("pointerdown", event => {
  if (event.button === 1 || event.altKey) { stroke = { kind: "pan", from: [event.clientX - view.x, event.clientY - view.y] }; }
  else if (video().running) {    // what is seen is what is drawn on
    follows = false; frame = shown; doing("pause");
  } else if (frame !== shown) return;
  if (stroke?.kind === "pan") { /* nothing is drawn */ }
  else if (tool === "points") stroke = { kind: "points", positive: event.button !== 2 && !event.shiftKey ? 1 : 0, points: [at(event)] };
  else if (event.button !== 0) return;
  else if (tool === "polygon") {
    const corner = at(event), first = stroke?.points[0];
    const close = 8 * video().width / $("drawing").getBoundingClientRect().width;
    if (first && stroke.points.length > 2 && Math.hypot(corner[0] - first[0], corner[1] - first[1]) < close) return closePolygon();
    stroke = { kind: "polygon", points: [...(stroke?.points ?? []), corner] };
    return sketch();
  }
  else stroke = { kind: tool, points: [at(event)] };
  $("drawing").setPointerCapture(event.pointerId);
  sketch();
});
let pointer = null;
$("drawing").addEventListener("pointermove", event => {
  if (!video()) return;
  pointer = at(event);
  if (stroke?.kind === "pan") { view.x = event.clientX - stroke.from[0]; view.y = event.clientY - stroke.from[1]; fit(); }
  else if (stroke?.kind === "box") stroke.points[1] = pointer;
  else if (stroke && stroke.kind !== "polygon") for (const e of event.getCoalescedEvents?.() ?? [event]) stroke.points.push(at(e));
  sketch();
});
$("drawing").addEventListener("pointerup", () => {
  if (!stroke || stroke.kind === "polygon") return;
  const { kind, points, positive } = stroke;
  stroke = null;
  if (kind === "points") {      // a click, or a scribble, which may leave the picture
    const { width, height } = video(), [[a, b]] = points, pixel = width / $("drawing").getBoundingClientRect().width;
    const said = points.map(([x, y]) => [Math.min(width - .5, Math.max(0, x)), Math.min(height - .5, Math.max(0, y)), positive]);
    if (points.some(([x, y]) => Math.hypot(x - a, y - b) > 4 * pixel)) kept().scribble.push(said); else kept().points.push(said[0]);
    sketch();
    return void send(prompt.tool, prompt.points, prompt);
  }
  if (kind === "brush" || kind === "eraser") { prompt = null; return void send(kind, points); }
  if (kind !== "box" || !points[1]) return sketch();
  const [[a, b], [c, d]] = points;
  if (Math.abs(a - c) < 3 || Math.abs(b - d) < 3) return sketch();
  send("prompt", [], begun([Math.min(a, c), Math.min(b, d), Math.abs(a - c), Math.abs(b - d)]));
});
$("drawing").addEventListener("pointerleave", () => { pointer = null; sketch(); });
$("drawing").addEventListener("contextmenu", event => event.preventDefault());
$("stage").addEventListener("wheel", event => {
  if (!video()) return;
  event.preventDefault();
  const box = $("sheet").getBoundingClientRect(), before = view.scale;
  view.scale = Math.min(12, Math.max(1, before * Math.exp(-event.deltaY / 400)));
  const grown = view.scale / before - 1;
  view.x -= (event.clientX - box.left) * grown; view.y -= (event.clientY - box.top) * grown;
  if (view.scale === 1) view = { scale: 1, x: 0, y: 0 };
  fit();
}, { passive: false });

function closePolygon() {
  const points = stroke?.points ?? [];
  stroke = null; prompt = null;
  if (points.length > 2) send("polygon", points); else sketch();
}

function sketch() {            // what is not yet the server's
  const canvas = $("drawing"), c = canvas.getContext("2d"), p = video();
  if (!p) return;
  // In pixels of the screen, so that lines are sharp over a small video, but measured in those of the video.
  const wide = canvas.getBoundingClientRect().width || 1, pixel = p.width / wide, sharp = Math.min(4096, wide * devicePixelRatio) / p.width;
  if (canvas.width !== Math.round(p.width * sharp)) { canvas.width = Math.round(p.width * sharp); canvas.height = Math.round(p.height * sharp); }
  c.setTransform(sharp, 0, 0, sharp, 0, 0);
  c.clearRect(0, 0, p.width, p.height);
  const colour = object()?.colour ?? "#4f9cf9";
  c.lineWidth = 1.6 * pixel; c.strokeStyle = c.fillStyle = colour; c.lineCap = c.lineJoin = "round";
  const path = points => { c.beginPath(); points.forEach(([x, y]) => c.lineTo(x, y)); };
  const dot = ([x, y], fill, size = 4) => { c.beginPath(); c.arc(x, y, size * pixel, 0, 7); c.fillStyle = fill; c.fill(); c.strokeStyle = "#fff"; c.lineWidth = 1.2 * pixel; c.stroke(); };
  const said = (line, positive) => { c.lineWidth = 4 * pixel; c.strokeStyle = SAID[positive]; path(line); c.stroke(); };
  const dashed = (x, y, w, h) => { c.setLineDash([5 * pixel, 4 * pixel]); c.lineWidth = 1.6 * pixel; c.strokeStyle = "#fff"; c.strokeRect(x, y, w, h); c.setLineDash([]); };
  if (stroke?.kind === "brush" || stroke?.kind === "eraser") {
    c.lineWidth = 2 * radius; c.globalAlpha = .55; c.strokeStyle = stroke.kind === "brush" ? colour : "#fff";
    path(stroke.points.length > 1 ? stroke.points : [stroke.points[0], stroke.points[0]]); c.stroke(); c.globalAlpha = 1;
  } else if (stroke?.kind === "box" && stroke.points[1]) {
    const [[a, b], [x, y]] = stroke.points; dashed(a, b, x - a, y - b);
  } else if (stroke?.kind === "polygon") {
    path(pointer ? [...stroke.points, pointer] : stroke.points); c.stroke(); stroke.points.forEach(q => dot(q, colour, 3));
  }
  else if (stroke?.kind === "points") said(stroke.points, stroke.positive);
  if (prompt && prompt.frame === frame && prompt.object === chosen) {
    if (prompt.box) dashed(...prompt.box);
    prompt.scribble.forEach(line => said(line, line[0][2]));
    prompt.points.forEach(q => dot(q, SAID[q[2]], 5));
  }
  if (pointer && (tool === "brush" || tool === "eraser")) { c.beginPath(); c.arc(...pointer, radius, 0, 7); c.lineWidth = 1.2 * pixel; c.strokeStyle = "#fff"; c.stroke(); }
}

function choose(name) {
  tool = name; stroke = null;
  for (const b of $("tools").querySelectorAll("button")) b.setAttribute("aria-pressed", b.dataset.tool === tool);
  $("hint").textContent = HINTS[tool];
  sketch();
}
function setRadius(value) { radius = Math.min(+$("radius").max, Math.max(1, value)); $("radius").value = radius; $("size").value = radius; sketch(); }

// ---- going through the video -------------------------------------------------------------------------------
function go(to) {
  const p = video();
  if (!p) return;
  const f = Math.min(p.count - 1, Math.max(0, Math.round(to)));
  if (f === frame) return;
  follows = !p.running || f === p.at;
  stroke = null;
  show(f); drawTimelines(); place(); remember();
}
function track(direction) {
  if (video()?.running) return void doing("pause");
  stop(); follows = true; rate = []; stroke = null;
  doing("track", { frame, direction });
}
function stop() { clearInterval(playing); playing = 0; $("play").textContent = "Play"; }
function play() {
  if (playing) return stop();
  if (frame >= video().count - 1) go(0);
  $("play").textContent = "Stop";
  let began = performance.now(), from = frame;
  playing = setInterval(() => {
    const next = from + Math.floor((performance.now() - began) / 1000 * video().rate);
    if (next >= video().count) { go(video().count - 1); return stop(); }
    go(next);
  }, 1000 / Math.min(30, video().rate));
}

// ---- timelines ---------------------------------------------------------------------------------------------
function list() {
  const p = video(), box = $("timelines"), old = new Map([...box.querySelectorAll(".object")].map(r => [+r.dataset.id, r]));
  for (const o of p.objects) {
    const row = old.get(o.id) ?? box.appendChild(newRow(o.id));
    old.delete(o.id);
    row.classList.toggle("chosen", o.id === chosen);
    row.querySelector("b").style.background = o.colour;
    const name = row.querySelector("input");
    if (document.activeElement !== name) name.value = o.name;
  }
  for (const row of old.values()) row.remove();
  [...box.querySelectorAll(".object")].forEach((row, i) => { row.querySelector("kbd").textContent = i < 9 ? i + 1 : ""; });
  drawTimelines();
}

function newRow(id) {
  const row = document.createElement("div");
  row.className = "row object"; row.dataset.id = id;
  row.innerHTML = '<div class="label"><kbd></kbd><b></b><input maxlength="60" aria-label="Name"><button title="Remove the object">✕</button></div><canvas></canvas>';
  row.addEventListener("pointerdown", () => pick(id));
  const name = row.querySelector("input");
  name.addEventListener("change", () => doing("rename_object", { object_id: id, name: name.value }));
  name.addEventListener("keydown", event => { if (event.key === "Enter") name.blur(); event.stopPropagation(); });
  row.querySelector("button").addEventListener("click", () => doing("remove_object", { object_id: id }));
  scrubs(row.querySelector("canvas"));
  return row;
}

function pick(id) { if (chosen === id) return; chosen = id; coming = null; prompt = null; list(); sketch(); remember(); }

function scrubs(canvas) {
  const move = event => { const box = canvas.getBoundingClientRect(); go((event.clientX - box.left) / box.width * video().count - .5); };
  canvas.addEventListener("pointerdown", event => { stop(); canvas.setPointerCapture(event.pointerId); move(event); });
  canvas.addEventListener("pointermove", event => { if (canvas.hasPointerCapture(event.pointerId)) move(event); });
}

let waiting = 0;
function drawTimelines() { waiting ||= requestAnimationFrame(() => { waiting = 0; drawRuler(); document.querySelectorAll(".row.object").forEach(drawRow); }); }

function prepared(canvas) {
  const ratio = devicePixelRatio, w = Math.round(canvas.clientWidth * ratio), h = Math.round(canvas.clientHeight * ratio);
  if (canvas.width !== w || canvas.height !== h) { canvas.width = w; canvas.height = h; }
  const c = canvas.getContext("2d");
  c.clearRect(0, 0, w, h);
  return [c, w, h, ratio];
}

function drawRow(row) {
  const id = +row.dataset.id, codes = rows.get(id), p = video(), o = p?.objects.find(o => o.id === id);
  const [c, w, h, ratio] = prepared(row.querySelector("canvas"));
  c.fillStyle = "#23272e"; c.fillRect(0, 0, w, h);
  if (!codes || !o) return;
  const n = p.count, marks = [];
  for (let x = 0; x < w; x++) {  // the worst of the frames in a column counts
    let worst = NONE;
    for (let f = Math.floor(x * n / w); f === Math.floor(x * n / w) || f < (x + 1) * n / w - .5; f++) {
      const code = codes[f];
      if (code === GIVEN) { if (marks.at(-1)?.f !== f) marks.push({ f }); if (worst === NONE) worst = 101; }
      else if (code === LOST) worst = LOST;
      else if (code && worst !== LOST) worst = worst ? Math.min(worst, code) : code;
    }
    if (worst === LOST) { c.fillStyle = (x / ratio | 0) % 4 < 2 ? "#f2555a" : "#5a2a2d"; c.fillRect(x, 0, 1, h); }
    else if (worst) { const high = Math.max(.2, (worst - 1) / 100) * h * .8; c.fillStyle = o.colour; c.globalAlpha = .85; c.fillRect(x, h - high, 1, high); c.globalAlpha = 1; }
  }
  c.fillStyle = "#fff";
  for (const { f } of marks) { const x = (f + .5) * w / n; c.fillRect(x - 1.5 * ratio, 0, 3 * ratio, h); }
  playhead(c, w, h, ratio);
}

function drawRuler() {
  const p = video(), [c, w, h, ratio] = prepared($("ruler"));
  if (!p) return;
  c.fillStyle = "#969da8"; c.font = `${10 * ratio}px system-ui`;
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000].find(s => s * w / p.count > 60 * ratio) ?? 50000;
  for (let f = 0; f < p.count; f += step) { const x = (f + .5) * w / p.count; c.fillRect(x, h - 5 * ratio, ratio, 5 * ratio); c.fillText(f, x + 3 * ratio, h - 7 * ratio); }
  playhead(c, w, h, ratio);
}
function playhead(c, w, h, ratio) { c.fillStyle = "#4f9cf9"; c.fillRect((frame + .5) * w / video().count - ratio, 0, 2 * ratio, h); }

function place() {
  const p = video();
  $("place").textContent = p ? `frame ${frame} of ${p.count - 1} · ${(frame / p.rate).toFixed(2)} s` : "";
}

function say() {
  const p = video();
  $("name").textContent = `${p.name} · ${p.width}×${p.height} · ${p.count} frames`;
  const each = rate.length > 1 ? ` · ${(1000 * (rate.length - 1) / (rate.at(-1) - rate[0])).toFixed(1)} frames/s` : "";
  $("status").textContent = state.busy ? `${state.busy} …` : !p.complete ? `reading the video: ${p.count} frames`
    : p.running ? `tracking ${p.running > 0 ? "forward" : "back"} · frame ${p.at}${each}` : "";
  $("undo").disabled = !p.undo; $("undo").title = p.undo ? `Undo: ${p.undo} (Z)` : "Nothing to undo";
  $("track").querySelector("span").textContent = p.running ? "Pause" : "Track";
  $("track").querySelector("use").setAttribute("href", p.running ? "#i-pause" : "#i-forward");
  $("back").disabled = Boolean(p.running);
  EXPORTS.replaceChildren(...state.exports.map(([name, what]) => {
    const b = document.createElement("button"), small = document.createElement("small");
    b.textContent = name; small.textContent = what; b.append(small);
    b.addEventListener("click", () => { $("exports").open = false; save(name); });
    return b;
  }));
  place();
}

async function save(name) {
  try {
    const file = await act("export", { name });
    const link = document.createElement("a");
    link.href = `export/${encodeURIComponent(file)}`; link.download = file; link.click();
    $("status").textContent = `exported ${file}`;
  } catch { /* told already */ }
}

// ---- memory ------------------------------------------------------------------------------------------------
let remembering = 0, held = "";
function remember() { remembering ||= setTimeout(async () => { remembering = 0; try { draw(await ask(`slots/${frame}`)); } catch { /* the next one */ } }, 150); }

function draw({ names, slots }) {
  const mine = slots[chosen] ?? [], o = object(), before = new Set(JSON.parse(held || "[]")), serial = state.serial;
  $("nothing").hidden = mine.length > 0;
  $("of").textContent = o && mine.length ? `${o.name} after frame ${frame}` : o?.name ?? "";
  const now = JSON.stringify(mine);
  if (now === held && $("slots").dataset.of === `${chosen}`) return;
  held = now; $("slots").dataset.of = chosen;
  $("slots").replaceChildren(...mine.map((f, i) => {
    if (f < 0) { const v = document.createElement("div"); v.className = "vacant"; v.textContent = `${names[i]}: empty`; return v; }
    const b = document.createElement("button"), picture = new Image(), line = document.createElement("span");
    picture.src = `thumbnail/${f}/${chosen}?p=${serial}&r=${names[i] === "latest" ? video().revision : rows.get(chosen)?.[f]}`;
    picture.alt = ""; b.title = `Frame ${f}, ${names[i]} slot`;
    const kind = document.createElement("i"), number = document.createElement("em");
    kind.textContent = names[i]; number.textContent = f; line.append(kind, number);
    b.append(picture, line); b.classList.toggle("new", before.size > 0 && !before.has(f));
    b.addEventListener("click", () => go(f));
    return b;
  }));
}

// ---- prediction --------------------------------------------------------------------------------------------
function tab(predicts) {
  $("tab-segment").setAttribute("aria-selected", !predicts); $("tab-predict").setAttribute("aria-selected", predicts);
  document.body.classList.toggle("predicting", predicts); $("prediction").hidden = !predicts;
  if (predicts) foresee(); else fit();
}
function foresee() {
  const made = state?.prediction;
  $("ahead").hidden = !made;
  if (!made) { $("truth").src = `frame/${frame}?p=${state.serial}`; $("foreseen").removeAttribute("src"); return; }
  $("ahead").max = made.count;
  const k = Math.min(+$("ahead").value, made.count), there = made.frame + k < video().count;
  $("foreseen").src = `predicted/${k}?f=${made.frame}&p=${state.serial}`;
  if (there) $("truth").src = `frame/${made.frame + k}?p=${state.serial}`; else $("truth").removeAttribute("src");
  $("predicted").textContent = `${k} of ${made.count} frames after frame ${made.frame}${there ? "" : ", where the video ends"}`;
}

// ---- what is dropped ---------------------------------------------------------------------------------------
function upload(file) {
  if (!file) return;
  const request = new XMLHttpRequest();
  request.open("POST", `upload?name=${encodeURIComponent(file.name)}`);
  request.responseType = "json";
  request.upload.onprogress = event => { $("status").textContent = $("name").textContent = `${file.name}: ${Math.round(100 * event.loaded / event.total)} %`; };
  request.onload = () => { if (request.status !== 200) complain(request.response?.error ?? "the upload failed"); refresh(); };
  request.onerror = () => { complain("the upload was cut off, or the file is too large"); refresh(); };
  request.send(file);
}
addEventListener("dragover", event => { event.preventDefault(); document.body.classList.add("over"); });
addEventListener("dragleave", event => { if (!event.relatedTarget) document.body.classList.remove("over"); });
addEventListener("drop", event => { event.preventDefault(); document.body.classList.remove("over"); upload(event.dataTransfer.files[0]); });
for (const input of [$("file"), $("file2")]) input.addEventListener("change", () => { upload(input.files[0]); input.value = ""; });

// ---- buttons and keys --------------------------------------------------------------------------------------
$("tools").addEventListener("click", event => { const b = event.target.closest("button"); if (b) choose(b.dataset.tool); });
$("radius").addEventListener("input", event => setRadius(+event.target.value));
$("track").addEventListener("click", () => track(1));
$("back").addEventListener("click", () => track(-1));
$("play").addEventListener("click", play);
$("undo").addEventListener("click", () => { prompt = null; doing("undo"); });
$("clear").addEventListener("click", () => { prompt = null; if (object() || coming) doing("clear", { frame, object_id: coming ?? chosen }); });
$("add").addEventListener("click", newObject);
$("toast").addEventListener("click", hush);
$("tab-segment").addEventListener("click", () => tab(false));
$("tab-predict").addEventListener("click", () => tab(true));
$("predict").addEventListener("click", () => { $("ahead").value = 1; doing("predict", { frame }).then(foresee); });
$("ahead").addEventListener("input", foresee);
scrubs($("ruler"));
// So that the space bar is the page's, and not of the button that was clicked last.
addEventListener("click", event => { if (event.detail) event.target.closest?.("button, summary")?.blur(); });
addEventListener("resize", () => { if (video()?.count) { fit(); drawTimelines(); } });
function newObject() { prompt = null; addObject(); sketch(); }

const TOOLS = { b: "brush", e: "eraser", p: "polygon", x: "box", c: "points" };
addEventListener("keydown", event => {
  if (!video()?.count || event.target.matches("input:not([type=range])")) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key, far = event.shiftKey ? 10 : 1;
  const keys = {
    " ": () => track(event.shiftKey ? -1 : 1), ArrowLeft: () => { stop(); go(frame - far); }, ArrowRight: () => { stop(); go(frame + far); },
    Home: () => go(0), End: () => go(video().count - 1), z: () => $("undo").click(), n: newObject, v: play,
    m: () => { veiled = !veiled; paint(); }, Delete: () => $("clear").click(), Backspace: () => $("clear").click(),
    "[": () => setRadius(radius - 2), "]": () => setRadius(radius + 2), Enter: closePolygon, Escape: () => { stroke = null; prompt = null; hush(); sketch(); },
  };
  const number = /^[1-9]$/.test(key) && video().objects[key - 1];
  if (number) pick(number.id);
  else if (TOOLS[key] && !event.ctrlKey && !event.metaKey) choose(TOOLS[key]);
  else if (keys[key] && (!(event.ctrlKey || event.metaKey) || key === "z")) keys[key]();
  else return;
  event.preventDefault();
});

choose("box"); setRadius(10); listen();
