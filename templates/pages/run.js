"use strict";

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  if (value === 0 || size >= 0.01) return String(Number(value.toPrecision(3)));
  return value.toExponential(1);
}

// An exponential mean without a pull towards 0 at the start; gaps stay gaps.
function smoothed(values, weight) {
  let mean = 0, share = 0;
  return values.map((value) => {
    if (value === null) return null;
    mean = weight * mean + (1 - weight) * value;
    share = weight * share + (1 - weight);
    return mean / share;
  });
}

function nearest(xs, step) {
  let low = 0, high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < step) low = middle + 1; else high = middle;
  }
  return low > 0 && step - xs[low - 1] <= xs[low] - step ? low - 1 : low;
}

class Panel {
  constructor(data, shared) {
    this.data = data;
    this.shared = shared;
    this.hidden = new Set();
    this.node = element("figure", undefined, "panel");
    this.node.append(element("h3", data.title));
    this.keys = element("div", undefined, "keys");
    this.svg = drawn("svg", { role: "img", tabindex: "0", "aria-label": `${data.title} over the steps` });
    this.values = data.series.map((series, at) => {
      const button = element("button");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.style.setProperty("--key", `var(--c${at % 8})`);
      const value = element("b");
      button.append(element("i"), element("span", series.label), value);
      button.addEventListener("click", () => {
        if (this.hidden.delete(at) === false) this.hidden.add(at);
        button.setAttribute("aria-pressed", String(!this.hidden.has(at)));
        this.draw();
      });
      this.keys.append(button);
      return value;
    });
    this.node.append(this.keys, this.svg);
    const point = (event) => {
      const at = event.clientX - this.svg.getBoundingClientRect().left;
      this.shared.point(Math.round(this.step(at)));
    };
    this.svg.addEventListener("pointermove", point);
    this.svg.addEventListener("pointerdown", point);
    this.svg.addEventListener("pointerleave", () => this.shared.point(null));
    this.svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move) return;
      event.preventDefault();
      this.shared.point((this.shared.at === null ? this.shared.last : this.shared.at) + move);
    });
  }

  // Values as they are drawn: smoothed, and for areas summed from the bottom; with each the lower edge.
  lines() {
    const below = new Map();
    return this.data.series.map((series, at) => {
      if (this.hidden.has(at)) return null;
      const weight = series.x.length > 10 ? this.shared.weight : 0;
      // On a logarithmic scale the mean is the geometric one: else a spike would linger.
      const smooth = !this.data.log ? smoothed(series.y, weight)
        : smoothed(series.y.map((v) => (v > 0 ? Math.log(v) : null)), weight).map((v) => (v === null ? null : Math.exp(v)));
      if (!this.data.stacked) return { series, at, smooth };
      const low = series.x.map((x) => below.get(x) || 0);
      const high = smooth.map((value, i) => low[i] + (value || 0));
      series.x.forEach((x, i) => below.set(x, high[i]));
      return { series, at, smooth: high, low };
    }).filter((line) => line !== null);
  }

  scale(lines) {
    const log = this.data.log;
    const use = (value) => value !== null && (!log || value > 0);
    const raw = this.data.stacked ? [] : lines.flatMap((line) => line.series.y);
    const all = [...raw, ...lines.flatMap((line) => line.smooth)].filter(use).map((v) => (log ? Math.log10(v) : v));
    let low = Infinity, high = -Infinity;
    for (const value of all) { low = Math.min(low, value); high = Math.max(high, value); }
    if (this.data.stacked) low = 0;
    if (!all.length) [low, high] = [0, 1];
    if (high - low < 1e-12 * Math.max(1, Math.abs(high))) {
      const pad = high === 0 ? 0.5 : Math.abs(high) * 0.1;
      low -= this.data.stacked ? 0 : pad;
      high += pad;
    }
    const pad = (high - low) * 0.05;
    return [this.data.stacked ? 0 : low - pad, high + pad];
  }

  x(step) { return this.left + (step - this.shared.first) / Math.max(1, this.shared.last - this.shared.first) * this.wide; }

  step(at) { return this.shared.first + (at - this.left) / this.wide * Math.max(1, this.shared.last - this.shared.first); }

  draw() {
    const width = Math.max(200, this.svg.clientWidth || 340), height = 170, top = 8, bottom = 22;
    this.left = 46;
    this.wide = width - this.left - 12;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const lines = this.lines();
    const [low, high] = this.scale(lines);
    const log = this.data.log;
    const y = (value) => {
      const v = log ? Math.log10(value) : value;
      return top + (high - v) / (high - low) * (height - top - bottom);
    };
    const parts = [];
    const decades = log && high - low > 1.2;
    const marks = !log ? ticks(low, high, 4)
      : decades ? ticks(low, high, Math.min(4, Math.ceil(high - low))).filter(Number.isInteger).map((v) => 10 ** v)
        : ticks(10 ** low, 10 ** high, 4).filter((v) => v > 0);
    for (const value of marks) {
      const at = y(value);
      parts.push(drawn("line", { class: "grid", x1: this.left, x2: this.left + this.wide, y1: at, y2: at }));
      const text = drawn("text", { x: this.left - 6, y: at + 4, "text-anchor": "end" });
      text.textContent = short(value);
      parts.push(text);
    }
    const { first, last } = this.shared;
    const steps = last > first ? ticks(first, last, Math.max(2, Math.floor(this.wide / 70))).filter(Number.isInteger) : [first];
    for (const step of steps) {
      const text = drawn("text", { x: this.x(step), y: height - 6, "text-anchor": "middle" });
      text.textContent = String(step);
      parts.push(text);
    }
    for (const line of lines) parts.push(...(this.data.stacked ? [this.area(line, y)] : this.curve(line, y)));
    for (const step of this.shared.troubles) {
      const at = this.x(step);
      parts.push(drawn("line", { class: "alarm", x1: at, x2: at, y1: top, y2: height - bottom }));
    }
    this.cursor = drawn("line", { class: "cursor", y1: top, y2: height - bottom, visibility: "hidden" });
    parts.push(this.cursor);
    this.svg.replaceChildren(...parts);
    this.point();
  }

  curve(line, y) {
    const use = (value) => value !== null && (!this.data.log || value > 0);
    const path = (values) => {
      let text = "", pen = false;
      values.forEach((value, i) => {
        if (use(value)) {
          text += `${pen ? "L" : "M"}${this.x(line.series.x[i]).toFixed(1)} ${y(value).toFixed(1)}`;
          pen = true;
        } else pen = false;
      });
      return text;
    };
    const stroke = `stroke: var(--c${line.at % 8})`;
    const parts = [
      drawn("path", { class: "raw", d: path(line.series.y), style: stroke }),
      drawn("path", { class: "smooth", d: path(line.smooth), style: stroke }),
    ];
    if (line.series.x.length <= 30) {
      line.series.y.forEach((value, i) => {
        if (!use(value)) return;
        parts.push(drawn("circle", { cx: this.x(line.series.x[i]), cy: y(value), r: 2.5, style: `fill: var(--c${line.at % 8})` }));
      });
    }
    return parts;
  }

  area(line, y) {
    const spot = (x, value) => `${this.x(x).toFixed(1)} ${y(value).toFixed(1)}`;
    const up = line.series.x.map((x, i) => spot(x, line.smooth[i]));
    const down = line.series.x.map((x, i) => spot(x, line.low[i])).reverse();
    return drawn("path", { class: "area", d: `M${[...up, ...down].join("L")}Z`, style: `fill: var(--c${line.at % 8})` });
  }

  // Show the values at the step that is pointed at, else the latest.
  point() {
    const step = this.shared.at;
    this.data.series.forEach((series, i) => {
      const at = step === null ? series.x.length - 1 : nearest(series.x, step);
      this.values[i].textContent = short(series.y[at]);
    });
    if (!this.cursor) return;
    this.cursor.setAttribute("visibility", step === null ? "hidden" : "visible");
    if (step !== null) {
      this.cursor.setAttribute("x1", this.x(step));
      this.cursor.setAttribute("x2", this.x(step));
    }
  }
}

function showCurves() {
  const data = JSON.parse(document.getElementById("curve-data").textContent);
  const home = document.getElementById("curves");
  const slider = document.getElementById("smoothing"), amount = document.getElementById("amount");
  const where = document.getElementById("where"), hint = where.textContent;
  const xs = data.panels.flatMap((panel) => panel.series.flatMap((series) => [series.x[0], series.x[series.x.length - 1]]));
  const shared = { at: null, weight: 0, troubles: data.troubles, first: Math.min(...xs), last: Math.max(...xs) };
  const panels = [];
  shared.point = (step) => {
    shared.at = step === null ? null : Math.min(shared.last, Math.max(shared.first, step));
    where.textContent = step === null ? hint : `step ${shared.at}`;
    panels.forEach((panel) => panel.point());
  };
  const homes = new Map();
  for (const panel of data.panels) {
    if (!homes.has(panel.section)) {
      const board = element("section", undefined, "board"), grid = element("div", undefined, "panels");
      board.append(element("h2", panel.section), grid);
      home.append(board);
      homes.set(panel.section, grid);
    }
    const made = new Panel(panel, shared);
    homes.get(panel.section).append(made.node);
    panels.push(made);
  }
  const redraw = () => {
    shared.weight = Number(slider.value);
    amount.textContent = shared.weight.toFixed(2);
    panels.forEach((panel) => panel.draw());
  };
  slider.addEventListener("input", redraw);
  let width = 0;
  new ResizeObserver(() => {
    if (home.clientWidth !== width) { width = home.clientWidth; redraw(); }
  }).observe(home);
  redraw();
}

const PAGE = 25;

function isRight(sample) { return sample.correct === null || sample.correct === undefined ? null : sample.correct; }

// Everything about one question: what was heard, asked and answered.
function details(group, clips) {
  const inner = element("div", undefined, "inner");
  const clip = clips[group.audio];
  if (clip) {
    const player = element("audio");
    player.controls = true;
    player.preload = clip.data ? "metadata" : "none";
    player.src = clip.data || clip.link;
    inner.append(player);
  } else {
    inner.append(element("p", "The clip is not in the run's folder.", "quiet"));
  }
  const list = element("ol", undefined, "choices");
  list.type = "A";
  (group.choices || []).forEach((choice) => list.append(element("li", choice, choice === group.answer ? "gold" : "")));
  const prompt = element("details");
  prompt.append(element("summary", "Prompt"), element("pre", group.prompt));
  inner.append(element("strong", group.question), list, prompt);
  const answers = element("div", undefined, "answers");
  group.samples.forEach((sample, at) => {
    const box = element("div", undefined, "answer"), head = element("h4"), right = isRight(sample);
    const verdict = sample.finish_reason === "length" ? "cut" : right === null ? "" : right ? "right" : "wrong";
    head.append(element("span", `sample ${at + 1}`), element("span", verdict, "outcome" + (verdict === "right" ? " correct" : "")));
    const chips = element("div", undefined, "chips");
    for (const [name, value] of Object.entries(sample.rewards || {})) chips.append(element("span", `${name} ${short(value)}`));
    for (const name of ["reward", "advantage", "tokens"]) {
      if (sample[name] !== null && sample[name] !== undefined) chips.append(element("span", `${name} ${short(sample[name])}`));
    }
    box.append(head, chips, element("pre", String(sample.text).replaceAll("><", ">\n<")));
    answers.append(box);
  });
  inner.append(answers);
  return inner;
}

function showCompletions() {
  const home = document.getElementById("completions");
  if (!home) return;
  const { groups, clips } = JSON.parse(document.getElementById("completion-data").textContent);
  const controls = element("div", undefined, "controls"), position = element("span", undefined, "quiet");
  const choose = (name, options) => {
    const select = element("select");
    select.setAttribute("aria-label", name);
    options.forEach(([text], index) => select.append(new Option(text, String(index))));
    controls.append(select);
    return () => options[Number(select.value)][1];
  };
  const any = () => true;
  const one = (key, values, words) => values.map((value) => [words(value), (group) => group[key] === value]);
  const steps = [...new Set(groups.map((group) => group.step))];
  const domains = [...new Set(groups.map((group) => group.domain))].sort();
  const levels = [...new Set(groups.map((group) => group.difficulty))].filter(Boolean);
  const count = (group) => group.samples.filter(isRight).length;
  const tests = [
    choose("Step", [["every step", any], ...one("step", steps, (step) => `step ${step}`)]),
    choose("Outcome", [
      ["right and wrong", any],
      ["all right", (group) => count(group) === group.samples.length],
      ["some right", (group) => count(group) > 0 && count(group) < group.samples.length],
      ["none right", (group) => count(group) === 0],
      ["some cut", (group) => group.samples.some((sample) => sample.finish_reason === "length")],
    ]),
    choose("Domain", [["every domain", any], ...one("domain", domains, String)]),
    choose("Difficulty", [["every difficulty", any], ...one("difficulty", levels, String)]),
  ];
  const search = element("input");
  search.type = "search";
  search.placeholder = "words in it";
  search.setAttribute("aria-label", "Search");
  const back = element("button", "Back"), next = element("button", "Next");
  controls.append(search, back, next, position);
  const scroll = element("div", undefined, "scroll"), table = element("table", undefined, "list");
  const head = table.createTHead().insertRow();
  ["Step", "Domain", "Difficulty", "Question", "Right", "Reward", "Cut"].forEach((text) => head.append(element("th", text)));
  const body = table.createTBody();
  scroll.append(table);
  home.append(controls, scroll);

  let found = [], at = 0;
  const row = (group) => {
    const line = body.insertRow();
    line.className = "row";
    const rewards = group.samples.map((sample) => sample.reward).filter((value) => typeof value === "number");
    const mean = rewards.length ? rewards.reduce((a, b) => a + b, 0) / rewards.length : null;
    const cut = group.samples.filter((sample) => sample.finish_reason === "length").length;
    [String(group.step), group.domain || "", group.difficulty || ""].forEach((text) => line.append(element("td", text)));
    const name = element("td", undefined, "name"), open = element("button", group.question, "open");
    open.setAttribute("aria-expanded", "false");
    name.append(open);
    line.append(name);
    [`${count(group)} of ${group.samples.length}`, short(mean), cut ? String(cut) : ""].forEach((text) => line.append(element("td", text, "num")));
    line.addEventListener("click", () => {
      const shown = open.getAttribute("aria-expanded") === "true";
      open.setAttribute("aria-expanded", String(!shown));
      if (shown) { line.nextElementSibling.remove(); return; }
      const more = element("tr", undefined, "detail"), cell = element("td");
      cell.colSpan = 7;
      cell.append(details(group, clips));
      more.append(cell);
      line.after(more);
    });
  };
  const show = () => {
    body.replaceChildren();
    found.slice(at, at + PAGE).forEach(row);
    position.textContent = found.length ? `${at + 1} to ${Math.min(at + PAGE, found.length)} of ${found.length}` : "none";
    back.disabled = at === 0;
    next.disabled = at + PAGE >= found.length;
  };
  const text = (group) => [group.id, group.question, ...(group.choices || []), ...group.samples.map((s) => s.text)].join("\n");
  const refresh = () => {
    const words = search.value.toLowerCase(), active = tests.map((test) => test());
    found = groups.filter((group) => active.every((test) => test(group)) && (!words || text(group).toLowerCase().includes(words)));
    at = 0;
    show();
  };
  controls.addEventListener("input", refresh);
  back.addEventListener("click", () => { at = Math.max(0, at - PAGE); show(); });
  next.addEventListener("click", () => { at += PAGE; show(); });
  refresh();
}

showCurves();
showCompletions();
