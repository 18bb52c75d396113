
// ---- The heat map ----

// Percent above which the ground of a cell is dark in the light theme, and light in the dark one; both scales cross there.
const DEEP = 60;
const PAIR = /^(.*) × (.*)$/;

function heatMap(home, data) {
  const controls = element("div", undefined, "controls"), scroll = element("div", undefined, "scroll");
  const first = Math.max(0, data.dimensions.findIndex((d) => d.key === "sub-category"));
  const dimension = chooser(controls, "Groups", data.dimensions.map((d) => `${d.title} (${d.groups.length})`), first);
  const scorer = data.scorers.length > 1 ? chooser(controls, "Scorer", data.scorers) : null;
  const key = element("div", undefined, "scale");
  key.append(element("span", "0 %"), element("i"), element("span", "100 %"), element("span", `dashed: fewer than ${data.small} answers`, "few-key"));
  controls.append(key);
  const note = element("p", undefined, "quiet small");
  home.append(controls, scroll, note);

  const cell = (line, run, name, figure, places) => {
    const node = line.insertCell();
    node.textContent = figure ? digits(figure[2], places) : "–";
    node.dataset.sort = figure ? figure[2] : "";
    node.dataset.tip = `${run}\n${name}: ${inWords(figure)}`;
    node.setAttribute("aria-label", node.dataset.tip.replace("\n", ", "));
    node.tabIndex = -1;
    node.className = figure ? `value${figure[2] > DEEP ? " deep" : ""}${figure[0] < data.small ? " few" : ""}` : "value none-here";
    if (figure) node.style.setProperty("--share", figure[2]);
  };
  const draw = () => {
    const by = data.dimensions[Number(dimension.value)], figures = data.figures[data.scorers[scorer ? Number(scorer.value) : 0]];
    const table = element("table", undefined, "heat sortable");
    table.setAttribute("aria-label", `Accuracy by ${by.title.toLowerCase()}`);
    const head = table.createTHead().insertRow();
    const title = element("th", by.title);
    title.dataset.kind = "text";
    const n = element("th", "n");
    head.append(title, n, ...data.runs.map((run) => breakable(element("th"), run)));
    const body = table.createTBody();
    // No more digits than the smallest group can bear.
    const places = figures[by.key].flat().every((figure) => figure && figure[0] >= 100) ? 1 : 0;
    const row = (name, cells, size, fixed) => {
      const line = body.insertRow(), label = element("th", name, "name");
      label.scope = "row";
      label.dataset.sort = name;
      const pair = PAIR.exec(name);
      if (pair) label.replaceChildren(element("span", `${pair[1]} × `, "quiet-part"), element("span", pair[2]));
      if (fixed) line.className = "fixed";
      line.append(label, element("td", count(size), "num size"));
      cells.forEach((figure, i) => cell(line, data.runs[i], name, figure, fixed ? 1 : places));
    };
    row("all questions", figures.all, data.questions.all, true);
    by.groups.forEach((name, g) => row(name, figures[by.key].map((groups) => groups[g]), data.questions[by.key][g], false));
    makeSortable(table);
    const start = table.querySelector("td.value");
    if (start) start.tabIndex = 0;
    // One stop for the Tab key; arrows go from cell to cell.
    table.addEventListener("keydown", (event) => {
      const at = event.target.closest("td.value"), move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!at || !move) return;
      event.preventDefault();
      const next = body.rows[at.parentNode.sectionRowIndex + move[0]]?.cells[at.cellIndex + move[1]];
      if (!next || !next.classList.contains("value")) return;
      at.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
    scroll.replaceChildren(table);
    note.textContent = by.note;
  };
  controls.addEventListener("input", draw);
  draw();
}



// ---- Plots: each is one SVG with its legend inside, so that it can be saved and shown alone ----

const MARKS = ["circle", "square", "diamond", "triangle", "cross", "ring", "down", "plus"];
const FONT = 12;
const pen = document.createElement("canvas").getContext("2d");

function wide(text) {
  pen.font = `${FONT}px system-ui, sans-serif`;
  return pen.measureText(text).width;
}

function cut(text, most) {
  if (wide(text) <= most) return text;
  let short = text;
  while (short.length > 1 && wide(`${short}…`) > most) short = short.slice(0, -1);
  return `${short.trimEnd()}…`;
}

function words(x, y, text, anchor = "start", name = "") {
  const node = drawn("text", { x: x.toFixed(1), y: y.toFixed(1), "text-anchor": anchor, ...(name ? { class: name } : {}) });
  node.textContent = text;
  return node;
}

function mark(run, x, y, tipText) {
  const kind = MARKS[run % MARKS.length], r = 4.5;
  const shapes = {
    circle: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
    ring: `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
    square: `M${x - 4} ${y - 4}h8v8h-8Z`,
    diamond: `M${x} ${y - 5.5}L${x + 5.5} ${y}L${x} ${y + 5.5}L${x - 5.5} ${y}Z`,
    triangle: `M${x} ${y - 5}L${x + 5} ${y + 4}H${x - 5}Z`,
    down: `M${x} ${y + 5}L${x + 5} ${y - 4}H${x - 5}Z`,
    cross: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x + 4} ${y - 4}L${x - 4} ${y + 4}`,
    plus: `M${x - 5} ${y}H${x + 5}M${x} ${y - 5}V${y + 5}`,
  };
  const open = ["ring", "cross", "plus"].includes(kind);
  const node = drawn("path", { d: shapes[kind], class: open ? "mark open" : "mark", style: `--key: var(--c${run % 8})` });
  if (tipText) node.dataset.tip = tipText;
  return node;
}

const line = (x1, y1, x2, y2, name, run) => drawn("line", {
  x1: x1.toFixed(1), y1: y1.toFixed(1), x2: x2.toFixed(1), y2: y2.toFixed(1), class: name,
  ...(run === undefined ? {} : { style: `--key: var(--c${run % 8})` }),
});

class Plot {
  // `paint(plot, width)` returns { nodes, height } below the legend, `rows()` the table { header, rows } of the same figures.
  constructor(title, board, paint, table, shown = () => board.chosen) {
    Object.assign(this, { title, board, paint, table, shown });
    this.node = element("figure", undefined, "plot");
    const head = element("figcaption"), save = element("button", "Save SVG", "save");
    save.type = "button";
    save.setAttribute("aria-label", `Save ${title} as SVG`);
    save.addEventListener("click", () => saveSvg(this.svg, title));
    head.append(element("span", title), save);
    this.tools = element("div", undefined, "controls");
    this.svg = drawn("svg", { role: "img", class: "drawing" });
    this.more = element("details");
    this.more.append(element("summary", "As a table"));
    this.more.addEventListener("toggle", () => this.tabulate());
    this.node.append(head, this.tools, this.svg, this.more);
  }

  draw() {
    const width = Math.max(260, this.node.clientWidth || 520), { runs } = this.board, chosen = this.shown();
    this.svg.setAttribute("aria-label", `${this.title}: ${chosen.map((run) => runs[run]).join(", ")}`);
    const nodes = [];
    let x = 2, y = 14;
    for (const run of chosen) {
      const name = cut(runs[run], width - 30), needs = 18 + wide(name) + 16;
      if (x > 2 && x + needs > width) { x = 2; y += 18; }
      nodes.push(mark(run, x + 6, y - 4), words(x + 16, y, name, "start", "legend"));
      x += needs;
    }
    const top = chosen.length ? y + 14 : 8, body = this.paint(width, top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${body.height}`);
    this.svg.style.height = `${body.height}px`;
    this.svg.replaceChildren(...nodes, ...body.nodes);
    this.tabulate();
  }

  tabulate() {
    this.more.querySelector(".scroll")?.remove();
    if (!this.more.open) return;
    const { header, rows } = this.table(), scroll = element("div", undefined, "scroll"), table = element("table", undefined, "plain");
    const head = table.createTHead().insertRow(), body = table.createTBody();
    header.forEach((name, i) => { const th = element("th", name); th.scope = "col"; if (!i) th.dataset.kind = "text"; head.append(th); });
    for (const row of rows) {
      const tr = body.insertRow();
      row.forEach((value, i) => tr.append(element("td", value, i ? "num" : "name")));
    }
    scroll.append(table);
    this.more.append(scroll);
  }
}

function saveSvg(svg, title) {
  const copy = svg.cloneNode(true), from = [svg, ...svg.querySelectorAll("*")], to = [copy, ...copy.querySelectorAll("*")];
  // The file has no style sheet, so what the page's says of each part is written into it.
  from.forEach((node, i) => {
    const style = getComputedStyle(node);
    for (const name of ["fill", "stroke", "stroke-width", "stroke-dasharray", "stroke-linejoin", "paint-order", "opacity", "fill-opacity", "font-size", "font-family", "font-weight"]) {
      to[i].style.setProperty(name, style.getPropertyValue(name));
    }
    to[i].style.removeProperty("--key");
    delete to[i].dataset.tip;
  });
  const box = svg.viewBox.baseVal, ground = drawn("rect", { width: box.width, height: box.height });
  ground.style.fill = getComputedStyle(svg.closest(".board")).backgroundColor;
  copy.prepend(ground);
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", box.width);
  copy.setAttribute("height", box.height);
  const url = URL.createObjectURL(new Blob([new XMLSerializer().serializeToString(copy)], { type: "image/svg+xml" }));
  const link = element("a");
  link.href = url;
  link.download = `${title.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}.svg`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

function plots(home, data) {
  const board = { runs: data.runs, chosen: data.runs.map((_, i) => i).slice(0, 4) }, made = [];
  const controls = element("div", undefined, "controls keys"), grid = element("div", undefined, "plots");
  const scorer = data.scorers.length > 1 ? chooser(controls, "Scorer", data.scorers) : null;
  const figures = () => data.figures[data.scorers[scorer ? Number(scorer.value) : 0]];
  const redraw = () => made.forEach((plot) => plot.draw());
  data.runs.forEach((name, run) => {
    const button = element("button", undefined, "key"), swatch = element("i");
    button.type = "button";
    swatch.style.setProperty("--key", `var(--c${run % 8})`);
    button.append(swatch, element("span", name));
    button.setAttribute("aria-pressed", String(board.chosen.includes(run)));
    button.addEventListener("click", () => {
      const on = board.chosen.includes(run);
      board.chosen = on ? board.chosen.filter((other) => other !== run) : [...board.chosen, run].sort((a, b) => a - b);
      button.setAttribute("aria-pressed", String(!on));
      redraw();
    });
    controls.append(button);
  });
  home.append(controls, grid);
  const left = element("div"), right = element("div");
  grid.append(left, right);
  const add = (column, plot) => { made.push(plot); column.append(plot.node); };
  const of = (dimension, run, g) => figures()[dimension.key][run][g];
  const tableOf = (dimension) => ({
    header: [dimension.title, ...board.chosen.map((run) => data.runs[run])],
    rows: dimension.groups.map((name, g) => [name, ...board.chosen.map((run) => {
      const figure = of(dimension, run, g);
      return figure ? `${digits(figure[2])} (${digits(span(figure)[0])}–${digits(span(figure)[1])})` : "–";
    })]),
  });
  if (data.dimensions.length) add(left, bars(data, board, of, tableOf));
  const axes = data.dimensions.filter((d) => d.groups.length >= 3 && d.groups.length <= 8 && d.key !== "difficulty");
  axes.sort((a, b) => Number(b.key === "task × category") - Number(a.key === "task × category"));
  if (axes.length) add(right, radar(data, board, axes, of, tableOf));
  const difficulty = data.dimensions.find((d) => d.key === "difficulty");
  if (difficulty && difficulty.groups.length > 1) add(right, curves(data, board, difficulty, of, tableOf));
  const { words: thoughts, tokens: responses } = data.lengths;
  if (thoughts.some(Boolean)) add(right, lengths(data, board, thoughts, "thought"));
  if (responses.some(Boolean)) add(right, lengths(data, board, responses, "response"));
  if (!right.children.length) right.remove();
  controls.addEventListener("input", redraw);
  let width = 0;
  new ResizeObserver(() => { if (home.clientWidth !== width) { width = home.clientWidth; redraw(); } }).observe(home);
}

const about = (data, run, name, figure) => `${data.runs[run]}\n${name}: ${inWords(figure)}`;

// Horizontal bars with whiskers, one for each chosen run in each group.
function bars(data, board, of, tableOf) {
  const first = Math.max(0, data.dimensions.findIndex((d) => d.key === "sub-category"));
  const by = () => data.dimensions[Number(groups.value)];
  const paint = (width, top) => {
    const dimension = by(), { chosen } = board, nodes = [], narrow = width < 460;
    const order = dimension.groups.map((name, g) => ({ name, g }));
    if (Number(sorting.value) === 1 && chosen.length) {
      const at = ({ g }) => of(dimension, chosen[0], g)?.[2] ?? -1;
      order.sort((a, b) => at(b) - at(a));
    }
    const label = narrow ? 0 : Math.min(width * 0.36, Math.max(...dimension.groups.map(wide)) + 12);
    const thick = chosen.length > 5 ? 7 : 9, band = chosen.length * (thick + 2) + (narrow ? 24 : 10), from = label + 2, room = width - from - 12;
    const x = (value) => from + room * value / 100, bottom = top + order.length * band;
    for (const value of [0, 25, 50, 75, 100]) {
      nodes.push(line(x(value), top, x(value), bottom, "grid"), words(x(value), bottom + 16, `${value}`, "middle"));
    }
    order.forEach(({ name, g }, row) => {
      let y = top + row * band + 4;
      if (narrow) { nodes.push(words(from, y + 11, cut(name, width - 14), "start", "label")); y += 16; }
      else nodes.push(words(label - 6, y + (band - 10) / 2 + 4, cut(name, label - 8), "end", "label"));
      for (const run of chosen) {
        const figure = of(dimension, run, g);
        if (figure) {
          const [low, high] = span(figure), middle = y + thick / 2;
          const bar = drawn("rect", { x: x(0), y, width: Math.max(1, x(figure[2]) - x(0)), height: thick, rx: 1.5, class: "bar-fill", style: `--key: var(--c${run % 8})` });
          bar.dataset.tip = about(data, run, name, figure);
          nodes.push(bar, line(x(low), middle, x(high), middle, "whisker"), line(x(low), y + 1, x(low), y + thick - 1, "whisker"), line(x(high), y + 1, x(high), y + thick - 1, "whisker"));
        }
        y += thick + 2;
      }
    });
    return { nodes, height: bottom + 24 };
  };
  const plot = new Plot("Accuracy by group", board, paint, () => tableOf(by()));
  const groups = chooser(plot.tools, "Groups", data.dimensions.map((d) => d.title), first);
  const sorting = chooser(plot.tools, "Order", ["by name", "by the first run"], 0);
  plot.tools.addEventListener("input", () => plot.draw());
  return plot;
}

function radar(data, board, axes, of, tableOf) {
  const by = () => axes[axes.length > 1 ? Number(groups.value) : 0];
  const paint = (width, top) => {
    const dimension = by(), n = dimension.groups.length, nodes = [];
    // A line for each word and part of a mix, so that long names leave room for the figure.
    const lines = dimension.groups.map((name) => name.split(/ × | |(?<=\+)/));
    const most = Math.max(...lines.flat().map(wide));
    const radius = Math.max(70, Math.min(150, (width / 2 - most - 12) / Math.cos(Math.PI / 2 / n))), height = top + 2 * radius + 60, cx = width / 2, cy = top + radius + 26;
    const spot = (g, value) => {
      const turn = 2 * Math.PI * g / n - Math.PI / 2, reach = radius * value / 100;
      return [cx + reach * Math.cos(turn), cy + reach * Math.sin(turn)];
    };
    const shape = (values) => `M${values.map((value, g) => spot(g, value).map((v) => v.toFixed(1)).join(" ")).join("L")}Z`;
    for (const value of [25, 50, 75, 100]) {
      nodes.push(drawn("path", { d: shape(dimension.groups.map(() => value)), class: "grid" }));
    }
    dimension.groups.forEach((name, g) => {
      const [x, y] = spot(g, 100), side = Math.abs(x - cx) < 8 ? "middle" : x > cx ? "start" : "end";
      const shift = side === "start" ? 7 : side === "end" ? -7 : 0, up = y < cy - radius * 0.9, down = y > cy + radius * 0.9;
      nodes.push(line(cx, cy, x, y, "grid"));
      if (side === "middle") nodes.push(words(x, up ? y - 8 : y + 17, cut(name, width - 8), side, "label"));
      else lines[g].forEach((text, i) => nodes.push(words(x + shift, y + 4 + (i - (down ? 0 : up ? lines[g].length - 1 : (lines[g].length - 1) / 2)) * 14, text, side, "label")));
    });
    for (const run of board.chosen) {
      const found = dimension.groups.map((_, g) => of(dimension, run, g));
      nodes.push(drawn("path", { d: shape(found.map((f) => (f ? f[2] : 0))), class: "web", style: `--key: var(--c${run % 8})` }));
    }
    for (const run of board.chosen) {
      dimension.groups.forEach((name, g) => {
        const figure = of(dimension, run, g);
        if (figure) nodes.push(mark(run, ...spot(g, figure[2]), about(data, run, name, figure)));
      });
    }
    for (const value of [25, 50, 75]) nodes.push(words(cx + 4, cy - radius * value / 100 + 4, `${value}`, "start", "scale-word"));
    return { nodes, height };
  };
  const plot = new Plot("Profile", board, paint, () => tableOf(by()));
  const groups = axes.length > 1 ? chooser(plot.tools, "Axes", axes.map((d) => d.title)) : null;
  plot.tools.addEventListener("input", () => plot.draw());
  return plot;
}

// The frame of a plot of accuracy over something: grid, scale, and where a value lies.
function frame(width, top, height) {
  const left = 34, right = 14, bottom = top + height, nodes = [];
  const y = (value) => bottom - height * value / 100;
  for (const value of [0, 25, 50, 75, 100]) {
    nodes.push(line(left, y(value), width - right, y(value), "grid"), words(left - 6, y(value) + 4, `${value}`, "end"));
  }
  return { left, room: width - left - right, bottom, y, nodes };
}

function series(nodes, data, run, points, y) {
  const found = points.filter(({ figure }) => figure);
  nodes.push(drawn("path", { class: "curve", style: `--key: var(--c${run % 8})`, d: `M${found.map(({ x, figure }) => `${x.toFixed(1)} ${y(figure[2]).toFixed(1)}`).join("L")}` }));
  for (const { x, name, figure } of found) {
    const [low, high] = span(figure);
    nodes.push(line(x, y(low), x, y(high), "bound", run), line(x - 3, y(low), x + 3, y(low), "bound", run), line(x - 3, y(high), x + 3, y(high), "bound", run));
    nodes.push(mark(run, x, y(figure[2]), about(data, run, name, figure)));
  }
}

function curves(data, board, dimension, of, tableOf) {
  const paint = (width, top) => {
    const { left, room, bottom, y, nodes } = frame(width, top, 190), n = dimension.groups.length, { chosen } = board;
    const middle = (g) => left + room * (g + 0.5) / n;
    dimension.groups.forEach((name, g) => nodes.push(words(middle(g), bottom + 18, name, "middle", "label")));
    // Side by side, so that the intervals of runs that are alike do not hide each other.
    chosen.forEach((run, i) => series(nodes, data, run, dimension.groups.map((name, g) => (
      { x: middle(g) + (i - (chosen.length - 1) / 2) * 10, name, figure: of(dimension, run, g) })), y));
    return { nodes, height: bottom + 28 };
  };
  return new Plot("Accuracy by difficulty", board, paint, () => tableOf(dimension));
}

// Of the thought in words, or of the whole response in tokens: found has the bins of each run, or null.
function lengths(data, board, found, of) {
  const having = () => board.chosen.filter((run) => found[run]), { unit } = found.find(Boolean);
  const name = (row, unit) => `${row.from === row.to ? row.from : `${row.from} to ${row.to}`} ${unit}`;
  const paint = (width, top) => {
    const { left, room, bottom, y, nodes } = frame(width, top, 190);
    const rows = having().flatMap((run) => found[run].rows);
    const most = Math.max(1, ...rows.map((row) => row.to)), least = Math.max(1, Math.min(...rows.map((row) => row.from)));
    const far = most / least > 20 ? (value) => Math.log(Math.max(value, least) / least) / Math.log(most / least) : (value) => value / most;
    const x = (value) => left + 8 + (room - 16) * far(value);
    const marks = most / least > 20 ? [1, 2, 5].flatMap((m) => [1, 10, 100, 1000, 10000].map((p) => m * p)).filter((v) => v >= least && v <= most)
      : ticks(0, most, 5).filter((value) => value <= most);
    let until = -Infinity;
    for (const value of marks.sort((a, b) => a - b)) {
      const text = count(value), half = wide(text) / 2;
      if (x(value) - half < until + 8) continue;
      nodes.push(words(x(value), bottom + 16, text, "middle"));
      until = x(value) + half;
    }
    nodes.push(words(left + room / 2, bottom + 34, `${unit} in the ${of}`, "middle", "label"));
    for (const run of having()) {
      series(nodes, data, run, found[run].rows.map((row) => ({ x: x((row.from + row.to) / 2), name: name(row, unit), figure: row.figures })), y);
    }
    return { nodes, height: bottom + 44 };
  };
  const table = () => ({
    header: ["Run and length", "n", "accuracy", "interval"],
    rows: having().flatMap((run) => found[run].rows.map((row) => [
      `${data.runs[run]}, ${name(row, unit)}`, count(row.figures[0]), digits(row.figures[2]), `${digits(row.figures[3])}–${digits(row.figures[4])}`])),
  });
  return new Plot(`Accuracy by length of the ${of}, in ${unit}`, board, paint, table, having);
}

for (const part of document.querySelectorAll(".figures")) {
  const data = JSON.parse(part.querySelector("script").textContent);
  if (data.dimensions.length) heatMap(part.querySelector(".heat-home"), data);
  plots(part.querySelector(".plot-home"), data);
}
