"use strict";

function meter(share) {
  const bar = element("span", undefined, "meter"), fill = element("i");
  fill.style.width = `${(100 * share).toFixed(0)}%`;
  bar.append(fill);
  return bar;
}

const rows = [...document.querySelectorAll("script.rows")].flatMap((block) => JSON.parse(block.textContent));
document.querySelectorAll("script.rows").forEach((block) => block.remove());
const own = (row) => row.rates.filter((rate) => rate.audio === "own").at(-1);

// ---- The sound: a player, and a picture of what is heard ----

const MEL = (hertz) => 1127 * Math.log1p(hertz / 700), HERTZ = (mel) => 700 * Math.expm1(mel / 1127);
const SAMPLING = 16000, WINDOW = 512, RANGE = 75;
// From black over purple and orange to light yellow, as brightness that grows evenly.
const COLOURS = [[0, 0, 4], [40, 11, 84], [101, 21, 110], [159, 42, 99], [212, 72, 66], [245, 125, 21], [250, 193, 39], [252, 255, 164]];

function colour(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (COLOURS.length - 1), low = Math.floor(at), part = at - low;
  return COLOURS[low].map((value, i) => value + part * (COLOURS[low + 1][i] - value));
}

// The power spectrum of one window, by a transform that halves the problem again and again.
function powers(samples, start, hann, re, im) {
  const n = WINDOW;
  for (let i = 0, j = 0; i < n; i++) {
    re[j] = (samples[start + i] || 0) * hann[i];
    im[j] = 0;
    let bit = n >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let size = 2; size <= n; size <<= 1) {
    const half = size >> 1, turn = -2 * Math.PI / size;
    for (let k = 0; k < half; k++) {
      const c = Math.cos(turn * k), s = Math.sin(turn * k);
      for (let i = k; i < n; i += size) {
        const j = i + half, x = re[j] * c - im[j] * s, y = re[j] * s + im[j] * c;
        re[j] = re[i] - x; im[j] = im[i] - y;
        re[i] += x; im[i] += y;
      }
    }
  }
  const power = new Float32Array(n / 2);
  for (let i = 0; i < n / 2; i++) power[i] = re[i] * re[i] + im[i] * im[i];
  return power;
}

function drawSpectrum(canvas, samples) {
  const width = canvas.width, height = canvas.height, context = canvas.getContext("2d");
  const hann = Float32Array.from({ length: WINDOW }, (_, i) => 0.5 - 0.5 * Math.cos(2 * Math.PI * i / WINDOW));
  const re = new Float32Array(WINDOW), im = new Float32Array(WINDOW), top = MEL(SAMPLING / 2);
  const bins = Array.from({ length: height }, (_, y) => HERTZ(top * (1 - (y + 0.5) / height)) / SAMPLING * WINDOW);
  const levels = [];
  let most = -Infinity;
  for (let x = 0; x < width; x++) {
    const middle = Math.round((x + 0.5) / width * samples.length), power = powers(samples, middle - WINDOW / 2, hann, re, im);
    const column = bins.map((bin) => {
      const low = Math.min(WINDOW / 2 - 2, Math.floor(bin)), part = Math.min(1, bin - low);
      return 10 * Math.log10(power[low] * (1 - part) + power[low + 1] * part + 1e-9);
    });
    for (const level of column) if (level > most) most = level;
    levels.push(column);
  }
  const image = context.createImageData(width, height);
  levels.forEach((column, x) => column.forEach((level, y) => {
    const at = 4 * (y * width + x);
    [image.data[at], image.data[at + 1], image.data[at + 2]] = colour((level - most + RANGE) / RANGE);
    image.data[at + 3] = 255;
  }));
  context.putImageData(image, 0, 0);
}

let open = { url: null, player: null, token: 0 };

function closeSound() {
  open.token += 1;
  if (open.player) { open.player.pause(); open.player.removeAttribute("src"); }
  if (open.url) URL.revokeObjectURL(open.url);
  open = { url: null, player: null, token: open.token };
}

function sound(row) {
  const box = element("div", undefined, "sound");
  if (row.audio.clip === undefined) {
    box.append(element("p", row.audio.none, "text quiet"));
    return box;
  }
  const text = byId(`clip-${row.audio.clip}`).textContent, bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const player = element("audio"), token = open.token;
  player.controls = true;
  open.url = URL.createObjectURL(new Blob([bytes], { type: row.audio.kind }));
  player.src = open.url;
  open.player = player;
  const picture = element("div", undefined, "picture"), frame = element("div", undefined, "spectrum");
  const canvas = element("canvas"), now = element("div", undefined, "now"), times = element("div", undefined, "times");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "Spectrogram; click to listen from there");
  frame.append(canvas, now);
  picture.append(frame);
  for (const hertz of [200, 500, 1000, 2000, 4000]) {
    const label = element("span", hertz < 1000 ? `${hertz} Hz` : `${hertz / 1000} kHz`, "heights");
    label.style.top = `${100 * (1 - MEL(hertz) / MEL(SAMPLING / 2))}%`;
    picture.append(label);
  }
  box.append(player, picture, times);
  const follow = () => {
    if (token !== open.token) return;
    now.style.left = `${100 * player.currentTime / (player.duration || 1)}%`;
    if (!player.paused) requestAnimationFrame(follow);
  };
  for (const name of ["play", "seeked", "pause"]) player.addEventListener(name, follow);
  canvas.addEventListener("click", (event) => {
    const place = canvas.getBoundingClientRect();
    player.currentTime = (event.clientX - place.left) / place.width * player.duration;
    player.play();
  });
  // Whoever runs down the list with a key held should not wait for pictures.
  setTimeout(async () => {
    if (token !== open.token) return;
    try {
      const decoded = await new OfflineAudioContext(1, 1, SAMPLING).decodeAudioData(bytes.buffer.slice(0));
      if (token !== open.token) return;
      canvas.width = Math.max(200, Math.min(1200, Math.round(frame.clientWidth * (window.devicePixelRatio || 1))));
      canvas.height = 150;
      drawSpectrum(canvas, decoded.getChannelData(0));
      for (let i = 0; i <= 4; i++) times.append(element("span", `${(decoded.duration * i / 4).toFixed(decoded.duration < 2 ? 2 : 1)} s`));
      canvas.dataset.seconds = decoded.duration;
    } catch (error) {
      if (token === open.token) times.append(element("span", `This browser cannot decode the clip: ${error.message}`, "bad"));
    }
  }, 90);
  return box;
}

// ---- One question ----

function chips(row) {
  const box = element("div", undefined, "chips");
  const parts = [row.split, row.source, row.domain, ...row.category, row.difficulty].filter(Boolean);
  parts.forEach((text) => box.append(element("span", text)));
  row.problems.forEach((text) => box.append(element("span", text, "bad")));
  return box;
}

function options(row) {
  const list = element("ol", undefined, "options");
  row.choices.forEach((choice, i) => {
    const item = element("li", undefined, i === row.gold ? "gold" : "");
    item.append(element("span", i < 26 ? String.fromCharCode(65 + i) : String(i + 1), "letter"), element("span", choice));
    list.append(item);
  });
  return list;
}

function chain(sections) {
  const list = element("dl", undefined, "chain");
  for (const name of ["planning", "caption", "reasoning", "summary"]) list.append(element("dt", name), element("dd", sections[name], "text"));
  return list;
}

const HEARD = { own: "its own audio", none: "no audio", other: "another question's audio" };

function rates(row) {
  const table = element("table", undefined, "rates"), head = table.createTHead().insertRow(), body = table.createTBody();
  ["heard", "passed", "band", "responder", "mode", "seed"].forEach((text) => head.append(element("th", text)));
  row.rates.forEach((rate) => {
    const line = body.insertRow(), passed = element("td", `${rate.passes} of ${rate.samples}`);
    passed.append(meter(rate.passes / rate.samples));
    if (rate.estimate !== null) passed.append(element("span", ` estimate ${rate.estimate.toFixed(2)}`, "quiet"));
    line.append(element("td", HEARD[rate.audio] || rate.audio), passed);
    [rate.band || "–", rate.responder, rate.mode, String(rate.seed)].forEach((text) => line.append(element("td", text)));
  });
  return table;
}

function origin(row) {
  const list = element("dl", undefined, "made"), add = (name, value) => list.append(element("dt", name), value);
  for (const [name, value] of Object.entries(row.provenance)) add(name, element("dd", value || "not stated"));
  if (row.video.id) {
    const link = element("a", row.video.id), from = row.video.from;
    link.href = `https://www.youtube.com/watch?v=${encodeURIComponent(row.video.id)}${from === null ? "" : `&t=${Math.floor(from)}s`}`;
    link.rel = "noopener noreferrer";
    link.target = "_blank";
    const cell = element("dd");
    cell.append(link, element("span", from === null ? "" : `, ${from} s to ${row.video.to === null ? "the end" : `${row.video.to} s`}`));
    add("video", cell);
  }
  add("question id", element("dd", row.id));
  for (const [name, how] of Object.entries(row.made)) add(`${name} by`, element("dd", how));
  return list;
}

function show(row, at, total) {
  closeSound();
  const home = byId("detail"), part = (title, node) => home.append(element("h3", title), node);
  home.replaceChildren();
  home.scrollTop = 0;
  if (!row) return;
  const bar = element("div", undefined, "bar-top"), moves = element("div");
  const back = element("button", "← Previous"), next = element("button", "Next →");
  back.disabled = at === 0;
  next.disabled = at === total - 1;
  back.addEventListener("click", () => select(at - 1, true));
  next.addEventListener("click", () => select(at + 1, true));
  moves.append(back, " ", next);
  bar.append(element("span", `${count(at + 1)} of ${count(total)}`, "quiet"), moves);
  home.append(bar, chips(row), element("h2", row.question), sound(row), options(row));
  if (row.caption) part("Caption", element("p", row.caption, "text"));
  if (row.structured) part("Structured chain", chain(row.structured));
  if (row.unstructured) part("Unstructured chain", element("p", row.unstructured, "text free"));
  if (row.rates.length) part("Pass rates", rates(row));
  part("Where it is from", origin(row));
}

// ---- The list ----

const list = byId("list");
let found = [], at = -1;

function rowNode(row) {
  const node = element("div"), marks = element("div", undefined, "marks"), rate = own(row);
  [row.split, row.domain, row.difficulty, row.source].filter(Boolean).forEach((text) => marks.append(element("span", text)));
  if (rate) marks.append(meter(rate.passes / rate.samples), element("span", `${rate.passes}/${rate.samples}`));
  const first = row.problems[0];
  if (first) marks.append(element("span", row.problems.length > 1 ? `${first} +${row.problems.length - 1}` : first, "bad"));
  node.append(element("div", row.question, "asked"), marks);
  return node;
}

const shown = new RowList(list, "row", rowNode, (row, i) => {
  at = row ? i : -1;
  show(row, at, found.length);
  if (row) history.replaceState(null, "", `#${encodeURIComponent(row.id)}`);
});
const select = (i, focusList) => shown.select(i, focusList);

// ---- Filters ----

const bench = byId("bench"), search = element("input");
const texts = new Map();
function textOf(row) {
  if (!texts.has(row)) {
    const chains = row.structured ? Object.values(row.structured) : [];
    const parts = [row.id, row.question, ...row.choices, row.caption, ...chains, row.unstructured, ...row.category];
    texts.set(row, [...parts, ...Object.values(row.provenance), row.video.id].filter(Boolean).join("\n").toLowerCase());
  }
  return texts.get(row);
}

function choice(name, every, values, order) {
  const tally = new Map(), select = element("select");
  rows.forEach((row) => new Set(values(row)).forEach((value) => tally.set(value, (tally.get(value) || 0) + 1)));
  const names = [...tally.keys()].sort((a, b) => {
    const place = (value) => (order.includes(value) ? order.indexOf(value) : order.length);
    return place(a) - place(b) || (a < b ? -1 : 1);
  });
  select.setAttribute("aria-label", name);
  select.append(new Option(every, ""));
  const extra = name === "Problem" ? [["any problem", "\0any"], ["no problem", "\0none"]] : [];
  extra.forEach(([text, value]) => select.append(new Option(text, value)));
  names.forEach((value) => select.append(new Option(`${value} (${count(tally.get(value))})`, value)));
  bench.append(select);
  return { select, fits: (row) => {
    const has = values(row);
    if (select.value === "\0any") return has.length > 0;
    if (select.value === "\0none") return has.length === 0;
    return !select.value || has.includes(select.value);
  } };
}

const filters = [
  choice("Split", "every split", (row) => [row.split], ["sft", "rl", "dev"]),
  choice("Source", "every source", (row) => [row.source], []),
  choice("Domain", "every domain", (row) => [row.domain], ["sound", "music", "speech"]),
  choice("Difficulty", "every difficulty", (row) => [row.difficulty || "not stated"], ["easy", "medium", "hard"]),
  choice("Problem", "problem or not", (row) => row.problems, []),
];
search.type = "search";
search.placeholder = "words in it  ( / )";
search.setAttribute("aria-label", "Search");
const reset = element("button", "Clear");
bench.append(search, reset);

function totals() {
  const home = byId("totals"), parts = [];
  const tally = (value) => {
    const sums = new Map();
    found.forEach((row) => sums.set(value(row), (sums.get(value(row)) || 0) + 1));
    return [...sums].sort((a, b) => b[1] - a[1]).slice(0, 8).map(([name, n]) => `${name} ${count(n)}`).join(", ");
  };
  const mean = (audio) => {
    const levels = found.flatMap((row) => row.rates.filter((rate) => rate.audio === audio).slice(-1)).map((rate) => rate.passes / rate.samples);
    return levels.length ? `${(levels.reduce((a, b) => a + b, 0) / levels.length).toFixed(2)} (${count(levels.length)})` : null;
  };
  parts.push(tally((row) => row.domain), tally((row) => row.difficulty || "difficulty not stated"));
  parts.push(`${count(found.filter((row) => row.structured).length)} with a structured chain`);
  parts.push(`${count(found.filter((row) => row.problems.length).length)} with a problem`);
  for (const [audio, words] of [["own", "mean pass rate"], ["none", "without audio"], ["other", "with other audio"]]) {
    if (mean(audio)) parts.push(`${words} ${mean(audio)}`);
  }
  home.replaceChildren(element("b", found.length === rows.length ? `${count(rows.length)} questions` : `${count(found.length)} of ${count(rows.length)} questions`));
  home.append(` · ${parts.filter(Boolean).join(" · ")}`);
}

function refresh() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  found = rows.filter((row) => filters.every((filter) => filter.fits(row)) && words.every((word) => textOf(row).includes(word)));
  totals();
  shown.fill(found);
}

bench.addEventListener("input", refresh);
reset.addEventListener("click", () => {
  filters.forEach((filter) => { filter.select.value = ""; });
  search.value = "";
  refresh();
});
list.addEventListener("keydown", (event) => { if (event.key === "Enter") byId("detail").focus(); });
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target instanceof Element && event.target.closest("input, select, textarea");
  if (event.key === "Escape" && typing) { list.focus(); return; }
  if (typing) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  if (event.key === "j") select(at + 1, false);
  if (event.key === "k") select(at - 1, false);
  if (event.key === "p" && open.player) { if (open.player.paused) open.player.play(); else open.player.pause(); }
});

// A question's address: the page's own with the question's id.
const asked = location.hash.slice(1);
refresh();
const place = found.findIndex((row) => encodeURIComponent(row.id) === asked);
if (place > 0) select(place, false);
performance.mark("ready");
