
// ---- Tables that sort, and the words that appear beside what is pointed at ----

const sortValue = (cell) => (cell.dataset.sort ?? cell.textContent).trim();

function sortRows(table, column, kind, descending) {
  const body = table.tBodies[0], fixed = [...body.rows].filter((row) => row.classList.contains("fixed"));
  const rows = [...body.rows].filter((row) => !row.classList.contains("fixed")).map((row) => {
    const text = sortValue(row.cells[column]), number = parseFloat(text.replaceAll(",", ""));
    return { row, text, number, empty: kind === "number" ? Number.isNaN(number) : text === "" };
  });
  rows.sort((a, b) => {
    if (a.empty || b.empty) return Number(a.empty) - Number(b.empty); // what has no figure stands last either way
    const order = kind === "number" ? a.number - b.number : a.text.localeCompare(b.text, "en");
    return descending ? -order : order;
  });
  body.append(...fixed, ...rows.map(({ row }) => row));
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.scope = "col";
    const kind = head.dataset.kind || "number";
    if (kind === "none") return;
    const button = element("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const descending = before ? before === "ascending" : kind === "number";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortRows(table, column, kind, descending);
    });
  });
}

document.querySelectorAll("table.sortable").forEach(makeSortable);

for (const ranking of document.querySelectorAll(".ranking")) {
  const rows = [...ranking.querySelectorAll("tr.published")];
  if (!rows.length) continue;
  const label = element("label", undefined, "check"), box = element("input");
  box.type = "checkbox";
  box.checked = true;
  label.append(box, ` ${count(rows.length)} published`);
  box.addEventListener("input", () => rows.forEach((row) => { row.hidden = !box.checked; }));
  const controls = element("div", undefined, "controls");
  controls.append(label);
  ranking.prepend(controls);
}

// One box for the whole page: whatever has data-tip shows it when pointed at or focused.
const tip = element("div", undefined, "tip");
tip.setAttribute("role", "tooltip");
tip.hidden = true;
document.body.append(tip);

function showTip(target) {
  const about = target instanceof Element ? target.closest("[data-tip]") : null;
  tip.hidden = !about;
  if (!about) return;
  tip.textContent = about.dataset.tip;
  const place = about.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.min(innerWidth - own.width - 8, Math.max(8, place.left + place.width / 2 - own.width / 2));
  const above = place.top - own.height - 8;
  tip.style.left = `${left}px`;
  tip.style.top = `${above < 4 ? place.bottom + 8 : above}px`;
}

document.addEventListener("pointerover", (event) => showTip(event.target));
document.addEventListener("focusin", (event) => showTip(event.target));
document.addEventListener("focusout", () => { tip.hidden = true; });
// What has the focus keeps its words beside it; what was only pointed at has moved away.
document.addEventListener("scroll", () => showTip(document.activeElement), { passive: true, capture: true });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });

// What can be scrolled can be reached by the Tab key, where nothing in it can.
function reachable() {
  for (const part of document.querySelectorAll(".scroll:not([role])")) {
    if (part.scrollWidth > part.clientWidth + 1 && !part.querySelector("[tabindex], button")) part.tabIndex = 0;
    else part.removeAttribute("tabindex");
  }
}

addEventListener("resize", reachable);
document.addEventListener("toggle", reachable, true);
reachable();

// Sections that are closed on the screen are open on paper.
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach((part) => { part.open = true; part.dataset.printed = ""; }));
addEventListener("afterprint", () => document.querySelectorAll("details[data-printed]").forEach((part) => { part.open = false; delete part.dataset.printed; }));

function chooser(controls, label, options, chosen = 0) {
  const wrap = element("label", `${label} `), select = element("select");
  options.forEach((text, i) => select.append(new Option(text, String(i), i === chosen, i === chosen)));
  select.setAttribute("aria-label", label);
  wrap.append(select);
  controls.append(wrap);
  return select;
}

// A name that may be broken after signs such as @ and -, where there is no room for all of it.
function breakable(node, name) {
  name.split(/(?<=[@/_-])/).forEach((part, i) => node.append(...(i ? [element("wbr")] : []), part));
  return node;
}

document.querySelectorAll(".leaderboard .title").forEach((title) => {
  const name = title.textContent;
  title.replaceChildren();
  breakable(title, name);
});

// As Python and the published programs round: of a value that lies exactly between two, the even one.
function digits(value, places = 1) {
  if (value === null || value === undefined) return "–";
  const between = Number.isInteger(value * 2 ** (places + 1)) && !Number.isInteger(value * 2 ** places);
  if (!between) return value.toFixed(places);
  const below = Math.floor(value * 10 ** places);
  return ((below + (below % 2 ? 1 : 0)) / 10 ** places).toFixed(places);
}

// A figure is [n, correct, accuracy, low, high] and where clips repeat the interval by clip: in words.
function inWords(figure) {
  if (!figure) return "no answers";
  const [n, correct, accuracy, low, high, clipLow, clipHigh] = figure;
  const clips = clipLow === undefined ? "" : `; by clip ${digits(clipLow)} to ${digits(clipHigh)}`;
  return `${digits(accuracy, 2)} % (${count(correct)} of ${count(n)}), 95 % interval ${digits(low)} to ${digits(high)}${clips}`;
}

const span = (figure) => (figure.length > 5 ? [figure[5], figure[6]] : [figure[3], figure[4]]);
