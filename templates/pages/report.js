"use strict";
// Model output is put in with textContent only: nothing in it becomes markup.

function element(tag, text, name) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (name) node.className = name;
  return node;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const kind = head.dataset.kind || "number";
    if (kind === "none") return;
    const button = element("button", head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : kind === "number";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => {
        const text = row.cells[column].textContent.trim();
        return kind === "number" ? (Number.isNaN(parseFloat(text)) ? -1 : parseFloat(text)) : text;
      };
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        const order = kind === "number" ? x - y : x.localeCompare(y);
        return descending ? -order : order;
      });
      body.append(...rows);
    });
  });
}

for (const browser of document.querySelectorAll(".browser")) {
  const data = JSON.parse(browser.querySelector("script").textContent);
  const controls = element("div", undefined, "controls");
  const view = element("div");
  const position = element("span", undefined, "quiet");
  const choose = (label, options) => {
    const select = element("select");
    select.setAttribute("aria-label", label);
    options.forEach((text, index) => select.append(new Option(text, String(index))));
    controls.append(select);
    return select;
  };
  const tasks = [...new Set(data.questions.map((q) => q.task))];
  const task = choose("Task", ["every task", ...tasks]);
  const tests = [["every question", () => true]];
  data.runs.forEach((name, index) => {
    tests.push([name + " not right", (q) => q.answers[index].outcome !== "correct"]);
    tests.push([name + " unread", (q) => ["unparsed", "truncated"].includes(q.answers[index].outcome)]);
  });
  if (data.runs.length > 1) {
    data.runs.forEach((worse, i) => data.runs.forEach((better, j) => {
      if (i !== j) tests.push([better + " right, " + worse + " not",
        (q) => q.answers[j].outcome === "correct" && q.answers[i].outcome !== "correct"]);
    }));
  }
  const filter = choose("Filter", tests.map((test) => test[0]));
  const search = element("input");
  search.type = "search";
  search.placeholder = "words in question or answers";
  search.setAttribute("aria-label", "Search");
  const back = element("button", "Back"), next = element("button", "Next");
  controls.append(search, back, next, position);
  browser.append(controls, view);

  let found = [], at = 0;
  const show = () => {
    view.replaceChildren();
    position.textContent = found.length ? `${at + 1} of ${found.length}` : "none";
    if (!found.length) return;
    const q = found[at];
    const labels = [q.task, q.category, q.sub_category, q.difficulty, q.audio].filter(Boolean).join(" · ");
    view.append(element("p", labels, "quiet"), element("strong", q.question));
    const list = element("ol", undefined, "choices");
    list.type = "A";
    q.choices.forEach((choice) => list.append(element("li", choice, choice === q.answer ? "gold" : "")));
    const answers = element("div", undefined, "answers");
    q.answers.forEach((answer, index) => {
      const box = element("div", undefined, "answer");
      const head = element("h4");
      head.append(element("span", data.runs[index]), element("span", answer.outcome, "outcome " + answer.outcome));
      const text = answer.text === null ? "(no response)" : answer.text.replaceAll("><", ">\n<");
      box.append(head, element("pre", text));
      answers.append(box);
    });
    view.append(list, answers);
  };
  const refresh = () => {
    const words = search.value.toLowerCase();
    found = data.questions.filter((q) =>
      (task.value === "0" || q.task === tasks[Number(task.value) - 1]) && tests[Number(filter.value)][1](q) &&
      (!words || [q.question, ...q.choices, ...q.answers.map((a) => a.text || "")].join("\n").toLowerCase().includes(words)));
    at = 0;
    show();
  };
  const move = (step) => { if (found.length) { at = (at + step + found.length) % found.length; show(); } };
  [task, filter, search].forEach((node) => node.addEventListener("input", refresh));
  back.addEventListener("click", () => move(-1));
  next.addEventListener("click", () => move(1));
  refresh();
}
