
// ---- Questions: filters, the list, and the one that is open ----

const UNREAD = ["unparsed", "truncated", "refused"];
const letter = (i) => (i < 26 ? String.fromCharCode(65 + i) : String(i + 1));

class Questions {
  constructor(home, number) {
    this.data = JSON.parse(home.querySelector("script").textContent);
    this.number = number;
    this.all = this.data.questions;
    this.texts = new Map();
    this.raw = false;
    if (!this.all.length) return;
    const names = this.data.tags.join("|");
    this.tag = new RegExp(`<\\s*(/?)\\s*(${names})\\s*>`, "gi");
    const work = element("div", undefined, "work"), list = element("div", undefined, "list"), space = element("div", undefined, "space");
    this.tools = element("div", undefined, "controls");
    this.tools.setAttribute("role", "search");
    this.tools.setAttribute("aria-label", "Filter the questions");
    this.totals = element("p", undefined, "totals");
    this.totals.setAttribute("role", "status");
    list.tabIndex = 0;
    list.setAttribute("role", "listbox");
    list.setAttribute("aria-label", "Questions");
    list.append(space);
    this.detail = element("article", undefined, "detail");
    this.detail.tabIndex = -1;
    this.detail.setAttribute("aria-label", "The question that is open");
    work.append(list, this.detail);
    home.append(this.tools, this.totals, work);
    this.filters();
    this.list = new RowList(list, `${number}-row`, (row) => this.row(row), (row, i) => this.show(row, i));
    list.addEventListener("keydown", (event) => { if (event.key === "Enter") this.detail.focus(); });
    this.detail.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!move || event.target.closest("audio, input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      this.move(move);
    });
    home.addEventListener("focusin", () => { Questions.last = this; });
    home.addEventListener("pointerdown", () => { Questions.last = this; });
    this.opened = false; // the address names a question only after somebody chose one
    this.refresh();
    this.opened = true;
  }

  // ---- Filters ----

  filters() {
    const { data, all } = this, has = (row, outcomes) => row.answers.some((a) => outcomes.includes(a.outcomes[0]));
    const right = (row, run) => row.answers[run].outcomes[0] === "correct", runs = data.runs.map((_, i) => i);
    const states = [["every question", () => true]];
    const state = (name, test) => { const n = all.filter(test).length; if (n) states.push([`${name} (${count(n)})`, test]); };
    state("scorers disagree", (row) => row.split);
    state("scorers disagree on right", (row) => row.answers.some((a) => new Set(a.outcomes.map((o) => o === "correct")).size > 1));
    // With three scorers and more, one of them may disagree everywhere: what only two of them dispute is found here.
    const pairs = data.scorers.length < 3 ? [] : data.scorers.flatMap((a, i) => data.scorers.slice(i + 1).map((b, j) => [a, b, i, i + 1 + j]));
    for (const [a, b, i, j] of pairs) state(`${a} and ${b} disagree on right`, (row) => row.answers.some((x) => (x.outcomes[i] === "correct") !== (x.outcomes[j] === "correct")));
    if (runs.length > 1) state("runs disagree", (row) => new Set(runs.map((run) => right(row, run))).size > 1);
    state(runs.length > 1 ? "all right" : "right", (row) => runs.every((run) => right(row, run)));
    state(runs.length > 1 ? "all wrong" : "not right", (row) => runs.every((run) => !right(row, run)));
    state("unread", (row) => has(row, UNREAD));
    for (const name of [...UNREAD, "missing", "ungradable"]) state(name, (row) => has(row, [name]));
    if (data.checked) { state("in a training corpus", (row) => row.marked); state("in no training corpus", (row) => !row.marked); }
    state("with a player", (row) => row.sound.clip);
    this.tests = [];
    const add = (label, options) => {
      if (options.length < 2) return null;
      const select = element("select");
      select.setAttribute("aria-label", label);
      options.forEach(([text], i) => select.append(new Option(text, String(i))));
      this.tools.append(select);
      this.tests.push((row) => options[Number(select.value)][1](row));
      return select;
    };
    const selects = [add("Show", states)];
    if (runs.length > 1) {
      selects.push(add("Right", [["whoever is right", () => true], ...runs.map((run) => [`${data.runs[run]} right`, (row) => right(row, run)])]));
      selects.push(add("Wrong", [["whoever is wrong", () => true], ...runs.map((run) => [`${data.runs[run]} not right`, (row) => !right(row, run)])]));
    }
    for (const [label, every, key, order] of [["Task", "every task", "task", ["sound", "music", "speech"]], ["Category", "every category", "category", []],
      ["Skill", "every skill", "skill", []], ["Difficulty", "every difficulty", "difficulty", ["easy", "medium", "hard"]]]) {
      const tally = new Map();
      all.forEach((row) => { if (row[key]) tally.set(row[key], (tally.get(row[key]) || 0) + 1); });
      const place = (name) => (order.includes(name) ? order.indexOf(name) : order.length);
      const found = [...tally.keys()].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
      selects.push(add(label, [[every, () => true], ...found.map((name) => [`${name} (${count(tally.get(name))})`, (row) => row[key] === name])]));
    }
    this.search = element("input");
    this.search.type = "search";
    this.search.placeholder = "words in it  ( / )";
    this.search.setAttribute("aria-label", "Search");
    const reset = element("button", "Clear"), label = element("label", undefined, "check"), box = element("input");
    reset.type = "button";
    box.type = "checkbox";
    label.append(box, " as written");
    label.title = "Show responses as the models wrote them, tags included";
    box.addEventListener("input", (event) => { event.stopPropagation(); this.raw = box.checked; this.show(this.open, this.list.at); });
    this.tools.append(this.search, reset, label);
    this.clear = () => { selects.filter(Boolean).forEach((select) => { select.value = "0"; }); this.search.value = ""; };
    reset.addEventListener("click", () => { this.clear(); this.refresh(); });
    this.tools.addEventListener("input", () => this.refresh());
  }

  textOf(row) {
    if (!this.texts.has(row)) {
      const said = row.answers.map((a) => a.text);
      this.texts.set(row, [row.id, row.question, ...row.choices, row.skill, row.audio, ...said].filter(Boolean).join("\n").toLowerCase());
    }
    return this.texts.get(row);
  }

  refresh() {
    const wanted = this.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.all.filter((row) => this.tests.every((test) => test(row)) && wanted.every((word) => this.textOf(row).includes(word)));
    const shares = this.data.runs.map((name, run) => {
      // With several samples the share of them, as in the leaderboard, and not the first one's outcome.
      const right = found.reduce((sum, row) => {
        const { samples, outcomes } = row.answers[run];
        return sum + (samples ? samples[0] / samples[1] : Number(outcomes[0] === "correct"));
      }, 0);
      return `${name} ${found.length ? Math.round(100 * right / found.length) : 0} %`;
    });
    this.totals.replaceChildren(element("b", found.length === this.all.length ? `${count(found.length)} ${found.length === 1 ? "question" : "questions"}` : `${count(found.length)} of ${count(this.all.length)} questions`));
    this.totals.append(` · right among these: ${shares.join(", ")}`);
    this.list.fill(found);
  }

  find(id) {
    let at = this.list.found.findIndex((row) => row.id === id);
    if (at < 0 && this.all.some((row) => row.id === id)) {
      this.clear();
      this.refresh();
      at = this.list.found.findIndex((row) => row.id === id);
    }
    if (at < 0) return false;
    this.list.select(at);
    return true;
  }

  move(step) { this.list.select(this.list.at + step); }

  // ---- A row, and the question that is open ----

  row(row) {
    const node = element("div"), marks = element("div", undefined, "marks"), dots = element("span", undefined, "dots");
    row.answers.forEach((answer, run) => {
      const outcome = answer.outcomes[0], dot = element("i", OUTCOME_SIGNS[outcome] || "·", outcome === "correct" ? "yes" : outcome === "wrong" ? "no" : "none-read");
      dot.title = `${this.data.runs[run]}: ${outcome}`;
      dots.append(dot);
    });
    const spoken = row.answers.map((answer, run) => `${this.data.runs[run]} ${answer.outcomes[0]}`).join(", ");
    node.setAttribute("aria-label", `${row.question} ${spoken}`);
    marks.append(dots);
    if (row.split) { const sign = element("span", "scorers ≠", "apart"); sign.title = "scorers disagree"; marks.append(sign); }
    [...new Set([row.task, row.difficulty, row.skill || row.category])].filter(Boolean).forEach((text) => marks.append(element("span", text)));
    node.append(element("div", row.question, "asked"), marks);
    return node;
  }

  show(row, at) {
    const home = this.detail;
    home.querySelectorAll("audio").forEach((player) => player.pause());
    this.open = row;
    home.replaceChildren();
    home.scrollTop = 0;
    if (!row) return;
    if (this.opened) history.replaceState(null, "", `#${this.number ? `b=${this.number}&` : ""}q=${encodeURIComponent(row.id)}`);
    const bar = element("div", undefined, "bar-top"), moves = element("div"), back = element("button", "← Previous"), next = element("button", "Next →");
    back.type = next.type = "button";
    back.disabled = at === 0;
    next.disabled = at === this.list.found.length - 1;
    back.addEventListener("click", () => { this.move(-1); this.detail.querySelector(".bar-top button:not(:disabled)")?.focus(); });
    next.addEventListener("click", () => { this.move(1); [...this.detail.querySelectorAll(".bar-top button:not(:disabled)")].at(-1)?.focus(); });
    moves.append(back, " ", next);
    bar.append(element("span", `${count(at + 1)} of ${count(this.list.found.length)}`, "quiet"), moves);
    const chips = element("div", undefined, "chips");
    [...new Set([row.task, row.category, row.skill, row.difficulty, row.audio, row.id])].filter(Boolean).forEach((text) => chips.append(element("span", text)));
    if (row.split) chips.append(element("span", "scorers disagree", "bad"));
    if (row.marked) chips.append(element("span", `in a training corpus: ${row.marked}`, "bad"));
    if (row.shares) chips.append(element("span", `shared with a training corpus, no evidence: ${row.shares}`));
    home.append(bar, chips, element("h2", row.question), this.sound(row), this.options(row));
    const answers = element("div", undefined, "answers");
    row.answers.forEach((answer, run) => answers.append(this.answer(answer, run, row)));
    home.append(answers);
  }

  sound(row) {
    const box = element("div", undefined, "sound"), recordings = [row.sound, ...(row.sound.more || [])];
    recordings.forEach(({ clip, kind, none }, i) => {
      const which = recordings.length > 1 ? `Recording ${i + 1} of ${recordings.length}` : "";
      if (which) box.append(element("p", which, "quiet which"));
      if (clip === undefined) { box.append(element("p", none, "text quiet")); return; }
      const player = element("audio");
      player.controls = true;
      player.preload = "metadata";
      player.src = `data:${kind};base64,${byId(`clip-${clip}`).textContent}`;
      player.setAttribute("aria-label", which || "The question's audio");
      box.append(player);
    });
    return box;
  }

  options(row) {
    const list = element("ol", undefined, "options"), gold = row.choices.indexOf(row.answer);
    row.choices.forEach((choice, i) => {
      const item = element("li", undefined, choice === row.answer ? "gold" : ""), who = element("span", undefined, "who");
      row.answers.forEach((answer, run) => {
        const chosen = answer.choice ?? (answer.outcomes[0] === "correct" ? gold : null);
        if (chosen !== i) return;
        const flag = element("b", this.data.runs[run]);
        flag.style.setProperty("--key", `var(--c${run % 8})`);
        who.append(flag);
      });
      item.append(element("span", letter(i), "letter"), element("span", choice), who);
      list.append(item);
    });
    if (gold < 0) list.append(element("li", row.answer === null ? "The right answer is withheld." : `The published answer is not among the options: ${row.answer}`, "absent"));
    return list;
  }

  answer(answer, run, row) {
    const box = element("section", undefined, "answer"), head = element("h4"), verdicts = element("span", undefined, "verdicts");
    const name = element("span", this.data.runs[run], "run");
    name.style.setProperty("--key", `var(--c${run % 8})`);
    // Where all scorers say the same, it is said once.
    const said = answer.outcomes.map((outcome, i) => [outcome, answer.reasons?.[i] || ""]), same = new Set(answer.outcomes).size === 1;
    (same ? said.slice(0, 1) : said).forEach(([outcome, why], i) => {
      const verdict = element("span", same ? outcome : `${this.data.scorers[i]}: ${outcome}`, `outcome ${outcome}`);
      if (why) verdict.append(element("small", ` ${why}`));
      verdicts.append(verdict);
    });
    head.append(name, verdicts);
    box.append(head);
    if (answer.samples) box.append(element("p", `the first of ${answer.samples[1]} samples; ${answer.samples[0]} of them right`, "quiet why"));
    if (answer.left) box.append(element("p", "The page was bounded (--transcripts): the text is in the run folder's responses.jsonl.", "quiet"));
    else if (answer.text === null) box.append(element("p", "(no response)", "quiet"));
    else box.append(this.raw ? element("pre", answer.text) : this.sections(answer.text));
    return box;
  }

  // A response with its sections set apart; every character but the tags is shown, in order.
  sections(text) {
    const parts = [], open = [];
    let from = 0;
    const keep = (until) => {
      const piece = text.slice(from, until).trim();
      if (piece) parts.push([open.at(-1) || "", piece]);
    };
    for (const match of text.matchAll(this.tag)) {
      keep(match.index);
      from = match.index + match[0].length;
      const name = match[2].toLowerCase();
      if (!match[1]) { if (open.at(-1) !== name) open.push(name); } else if (open.includes(name)) open.length = open.lastIndexOf(name);
    }
    keep(text.length);
    if (!parts.length || (parts.length === 1 && !parts[0][0])) return element("p", parts.length ? parts[0][1] : "(empty)", "text free");
    const list = element("dl", undefined, "chain");
    for (const [name, piece] of parts) list.append(element("dt", name || "outside"), element("dd", piece, name === "answer" ? "text said" : "text"));
    return list;
  }
}

const OUTCOME_SIGNS = { correct: "✓", wrong: "✗", unparsed: "?", truncated: "…", refused: "∅", missing: "–", ungradable: "!" };
