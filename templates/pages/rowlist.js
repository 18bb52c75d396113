
// ---- A list of which only the rows in sight are in the page ----

const ROW = 62, SPARE = 6;

class RowList {
  // `node(row, i)` makes the content of a row; `show(row, i)` is told which row is open, or null for none.
  constructor(list, prefix, node, show) {
    Object.assign(this, { list, prefix, node, show, found: [], at: -1, nodes: new Map() });
    this.space = list.querySelector(".space");
    list.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(list);
    list.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1), { at } = this;
      const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: this.found.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); this.select(to); }
    });
  }

  row(i) {
    const node = this.node(this.found[i], i);
    node.classList.add("row");
    node.id = `${this.prefix}-${i}`;
    node.setAttribute("role", "option");
    node.setAttribute("aria-posinset", i + 1);
    node.setAttribute("aria-setsize", this.found.length);
    node.style.top = `${i * ROW}px`;
    node.addEventListener("click", () => this.select(i));
    return node;
  }

  draw() {
    const { list, nodes } = this;
    const first = Math.max(0, Math.floor(list.scrollTop / ROW) - SPARE);
    const last = Math.min(this.found.length, Math.ceil((list.scrollTop + list.clientHeight) / ROW) + SPARE);
    for (const [i, node] of nodes) if (i < first || i >= last) { node.remove(); nodes.delete(i); }
    for (let i = first; i < last; i++) {
      if (!nodes.has(i)) { nodes.set(i, this.row(i)); this.space.append(nodes.get(i)); }
      nodes.get(i).setAttribute("aria-selected", String(i === this.at));
    }
  }

  select(i, focus = false) {
    const { list } = this;
    this.at = Math.min(this.found.length - 1, Math.max(0, i));
    if (!this.found.length) { this.at = -1; list.removeAttribute("aria-activedescendant"); this.show(null); return; }
    const top = this.at * ROW;
    if (top < list.scrollTop) list.scrollTop = top;
    else if (top + ROW > list.scrollTop + list.clientHeight) list.scrollTop = top + ROW - list.clientHeight;
    this.draw();
    list.setAttribute("aria-activedescendant", `${this.prefix}-${this.at}`);
    this.show(this.found[this.at], this.at);
    if (focus) list.focus({ preventScroll: true });
  }

  // Show other rows; the open one stays open where it is among them.
  fill(found) {
    const kept = this.at >= 0 ? this.found[this.at] : null;
    this.found = found;
    this.nodes.forEach((node) => node.remove());
    this.nodes = new Map();
    this.space.style.height = `${found.length * ROW}px`;
    this.space.querySelector(".none")?.remove();
    if (!found.length) this.space.append(element("p", "No question fits these filters.", "none"));
    this.list.scrollTop = 0;
    this.select(Math.max(0, kept ? found.indexOf(kept) : 0));
  }
}
