"""The report page as a reader sees it: in a headless Chromium."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench_pages import RUNS, draw, hostile, in_memory, scene_board, toy_boards
from bench_toys import make_questions
from browser import ABSENT, CHROMIUM, Browser

from sari_bench.benchmarks.base import from_questions
from sari_bench.pages import render_page
from sari_bench.reporting.leaderboard import Board, make_boards
from sari_data.types import AudioQuestion

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
TOY = "document.getElementById('b1')"  # boards are in the order of their names: scenes, toy


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Board:
    return toy_boards(tmp_path_factory.mktemp("toys"))[0]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, board: Board) -> Path:
    folder = tmp_path_factory.mktemp("report")
    path = folder / "a report #1.html"
    path.write_text(render_page([*scene_board(folder), board]), encoding="utf-8")
    return path


def _key(browser: Browser, key: str) -> None:
    text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
    browser.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
    browser.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)


def _choose(browser: Browser, part: str, name: str, words: str) -> None:
    """Take the option that begins with these words, in a part of the toy board."""
    browser.run(
        f"""(() => {{
          const s = {TOY}.querySelector('{part} select[aria-label={name}]');
          s.value = [...s.options].find((o) => o.text.startsWith({json.dumps(words)})).value;
          s.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }})()"""
    )


def _found(browser: Browser) -> list[str]:
    ids: list[str] = browser.run("browsers[1].list.found.map((row) => row.id)")
    return ids


def _opened(browser: Browser) -> str:
    text: str = browser.run(f"{TOY}.querySelector('.detail h2')?.textContent ?? ''")
    return text


def _right(board: Board) -> dict[str, set[str]]:
    return {e.run.name: {i.gold.id for i in e.score.items if i.outcome == "correct"} for e in board.entries}


def test_it_opens_without_complaint_and_asks_nobody(browser: Browser, page: Path) -> None:
    for width, dark in ((1280, False), (1280, True), (390, False)):
        browser.open(page, width=width, dark=dark)
        assert browser.errors == []
        asked = [url for url in browser.requests if not url.startswith("data:")]
        assert asked == [page.resolve().as_uri()]
        assert browser.run("document.title") == "sari-bench report", "what a model wrote did not run"
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the window"
        average = f"{TOY}.querySelector('.leaderboard').tBodies[0].rows[0].cells[1].getBoundingClientRect().right"
        assert browser.run(f"{average} <= innerWidth"), "who is best is seen without scrolling"
        beyond = "[...document.querySelectorAll('.scroll')].filter((n) => n.scrollWidth > n.clientWidth + 1)"
        assert browser.run(f"{beyond}.every((n) => n.tabIndex === 0 || n.querySelector('button'))"), (
            "keys can scroll it"
        )
        assert width > 390 or browser.run(f"{beyond}.length") > 0, "else this shows nothing"
        ground = browser.run("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(18, 21, 24)") is dark
        lines = browser.run("[...document.querySelectorAll('.drawing *')].map((n) => n.outerHTML).join('')")
        assert len(lines) > 1000
        assert "NaN" not in lines
        assert "Infinity" not in lines
    said = browser.run("[...document.querySelectorAll('.leaderboard .title')].map((n) => n.textContent)")
    assert {*RUNS, "Odd <b>"} <= set(said)
    shares = [c / n for n in (7, 8, 32, 160, 1000) for c in range(n + 1)]
    shown = browser.run(f"{[share * 100 for share in shares]}.map((x) => [digits(x), digits(x, 2)])")
    assert shown == [[f"{s * 100:.1f}", f"{s * 100:.2f}"] for s in shares], "the page rounds as the tables do"


def test_the_leaderboard_sorts_by_click_and_by_key(browser: Browser, page: Path) -> None:
    browser.open(page)
    table = f"{TOY}.querySelector('.leaderboard')"
    column = f"[...{table}.tHead.rows[0].cells].findIndex((c) => c.textContent === 'Unread')"
    values = f"[...{table}.tBodies[0].rows].map((r) => r.cells[{column}].textContent)"
    head = f"{table}.tHead.rows[0].cells[{column}]"
    averages = browser.run(f"[...{table}.tBodies[0].rows].map((r) => Number(r.cells[1].dataset.sort))")
    assert averages == sorted(averages, reverse=True)
    browser.run(f"{head}.querySelector('button').click()")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "descending"
    numbers = [int(text) for text in browser.run(values) if text != "–"]
    assert len(numbers) == 3
    assert numbers == sorted(numbers, reverse=True)
    assert browser.run(values)[-2:] == ["–", "–"], "published rows have no such figure"
    browser.run(f"{head}.querySelector('button').focus()")
    _key(browser, "Enter")
    assert browser.run(f"{head}.getAttribute('aria-sort')") == "ascending"
    assert browser.run(f"{table}.querySelectorAll('[aria-sort]').length") == 1
    assert [int(text) for text in browser.run(values)[:3]] == sorted(numbers)
    assert browser.run(values)[-2:] == ["–", "–"], "and stand last either way"
    browser.run(f"{TOY}.querySelector('.ranking input').click()")
    assert browser.run(f"[...{table}.tBodies[0].rows].filter((r) => !r.hidden).length") == 3


def test_the_heat_map_switches_and_says_intervals(browser: Browser, page: Path, board: Board) -> None:
    browser.open(page)
    rows = f"[...{TOY}.querySelector('.heat').tBodies[0].rows].map((r) => [...r.cells].map((c) => c.textContent))"
    for name, words in (("task", "Task ("), ("difficulty", "Difficulty ("), ("sub-category", "Sub-category (")):
        _choose(browser, ".heat-home", "Groups", words)
        found = {row[0]: row[2:] for row in browser.run(rows)}
        assert next(iter(found)) == "all questions"
        for group in board.entries[0].score.by[name]:
            accuracies = [entry.score.by[name][group].accuracy for entry in board.entries]
            assert [float(text) for text in found[group]] == pytest.approx([100 * a for a in accuracies], abs=0.51)
    _choose(browser, ".heat-home", "Groups", "Category ×")
    assert len(browser.run(rows)) == 1 + 6
    _choose(browser, ".heat-home", "Scorer", "official")
    official = [entry.scores["official"].overall.accuracy for entry in board.entries]
    assert [float(text) for text in browser.run(rows)[0][2:]] == pytest.approx([100 * a for a in official], abs=0.51)
    assert official != [entry.score.overall.accuracy for entry in board.entries]
    browser.run(f"{TOY}.querySelector('.heat td.value').focus()")
    tip = "document.querySelector('.tip:not([hidden])')?.textContent ?? ''"
    low, high = board.entries[0].scores["official"].overall.interval
    assert f"95 % interval {100 * low:.1f} to {100 * high:.1f}" in browser.run(tip)
    _key(browser, "ArrowRight")
    assert browser.run("document.activeElement.cellIndex") == 3
    assert RUNS[1] in browser.run(tip) or RUNS[2] in browser.run(tip)
    assert browser.run(f"{TOY}.querySelectorAll('.heat td.few').length") > 0, "ten answers a group are few"


def test_every_figure_of_the_heat_map_can_be_read_on_its_ground(browser: Browser, page: Path) -> None:
    for dark in (False, True):
        browser.open(page, dark=dark)
        for share in range(0, 101, 4):
            browser.run(
                f"(() => {{ const c = {TOY}.querySelector('.heat td.value');"
                f"c.style.setProperty('--share', {share}); c.classList.toggle('deep', {share} > DEEP); }})()"
            )
            found = browser.contrast(["#b1 .heat td.value"])["#b1 .heat td.value"]
            assert found >= 4.4, f"{share} % is hard to read (WCAG 2.2, 1.4.3)"
        names = (".problem", ".badge", ".outcome.correct", ".outcome.wrong", ".totals", ".dots .yes", ".dots .no")
        found = browser.contrast([f"#b1 {name}" for name in names])
        assert len(found) >= 4
        assert {name: ratio for name, ratio in found.items() if ratio < 4.3} == {}


def test_plots_show_the_runs_that_are_chosen_and_their_figures_as_a_table(browser: Browser, page: Path) -> None:
    browser.open(page)
    titles = browser.run(f"[...{TOY}.querySelectorAll('.plot figcaption span')].map((n) => n.textContent)")
    assert titles == [
        "Accuracy by group",
        "Profile",
        "Accuracy by difficulty",
        "Accuracy by length of the thought, in words",
        "Accuracy by length of the response, in tokens",
    ]
    bars = f"{TOY}.querySelectorAll('.bar-fill').length"
    assert browser.run(bars) == 2 * 3
    browser.run(f"{TOY}.querySelector('.keys .key').click()")
    assert browser.run(bars) == 2 * 2
    assert browser.run(f"{TOY}.querySelector('.keys .key').getAttribute('aria-pressed')") == "false"
    browser.run(f"{TOY}.querySelectorAll('.plot details').forEach((d) => {{ d.open = true; }})")
    browser.run("new Promise((done) => setTimeout(done, 30))")
    header = browser.run(f"[...{TOY}.querySelector('.plot table').tHead.rows[0].cells].map((c) => c.textContent)")
    assert header[0] == "Sub-category"
    assert len(header) == 3
    saved = browser.run(
        "new Promise((done) => { const make = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { blob.text().then(done); return make.call(URL, blob); };"
        f"HTMLAnchorElement.prototype.click = () => {{}}; {TOY}.querySelector('.save').click(); }})"
    )
    assert saved.startswith("<svg")
    assert "var(--" not in saved, "colours are written out: the file has no style sheet"
    assert browser.errors == []


def test_filters_search_and_keys_find_questions(browser: Browser, page: Path, board: Board) -> None:
    browser.open(page)
    right, everything = _right(board), {gold.id for gold in board.entries[0].run.benchmark.golds}
    assert set(_found(browser)) == everything
    good, fair = RUNS[0], RUNS[1]
    _choose(browser, ".browser", "Right", f"{good} right")
    _choose(browser, ".browser", "Wrong", f"{fair} not right")
    assert set(_found(browser)) == right[good] - right[fair]
    browser.run(f"[...{TOY}.querySelectorAll('.browser button')].find((b) => b.textContent === 'Clear').click()")
    _choose(browser, ".browser", "Show", "all wrong")
    assert set(_found(browser)) == everything - set.union(*right.values())
    _choose(browser, ".browser", "Show", "runs disagree")
    assert set(_found(browser)) == {i for i in everything if 0 < sum(i in r for r in right.values()) < 3}
    _choose(browser, ".browser", "Show", "truncated")
    cut = {i.gold.id for e in board.entries for i in e.score.items if i.outcome == "truncated"}
    assert set(_found(browser)) == cut
    _choose(browser, ".browser", "Show", "every")
    _choose(browser, ".browser", "Difficulty", "hard")
    assert len(_found(browser)) == 20
    _choose(browser, ".browser", "Difficulty", "every")
    search = f"{TOY}.querySelector('input[type=search]')"
    browser.run(f"{search}.value = 'RECORDING 17'; {search}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
    assert _found(browser) == ["q017"]
    browser.run(f"{search}.value = ''; {search}.dispatchEvent(new Event('input', {{ bubbles: true }}))")
    browser.run("browsers[1].list.list.focus(); browsers[1].list.select(0)")
    order = browser.run("browsers[1].list.found.map((row) => row.question)")
    for key, at in (("ArrowDown", 1), ("End", 59), ("Home", 0), ("j", 1), ("k", 0)):
        _key(browser, key)
        assert _opened(browser) == order[at]
    browser.run("browsers[1].detail.focus()")
    _key(browser, "ArrowRight")
    assert _opened(browser) == order[1]
    assert browser.run(f"{TOY}.querySelectorAll('.row').length") < 40, "only rows in sight are in the page"


def test_what_two_of_three_scorers_dispute_can_be_picked_out(browser: Browser, tmp_path: Path) -> None:
    toy = from_questions("toy", make_questions(12))
    board = make_boards([in_memory(toy, hostile, "a@direct", tmp_path)], ("official", "answer", "letter"))[0]
    path = tmp_path / "three.html"
    path.write_text(render_page([board]), encoding="utf-8")
    browser.open(path)
    states = "[...document.querySelector('select[aria-label=Show]').options].map((o) => o.text)"
    official, answer = (board.entries[0].scores[name].items for name in ("official", "answer"))
    apart = sum((a.outcome == "correct") != (b.outcome == "correct") for a, b in zip(official, answer, strict=True))
    assert apart > 0
    assert f"official and answer disagree on right ({apart})" in browser.run(states)


def test_an_address_opens_its_question(browser: Browser, page: Path, tmp_path: Path) -> None:
    copy = shutil.copy(page, tmp_path / "copy.html")
    browser.open(copy, fragment="b=1&q=q023")
    assert _opened(browser) == "What is heard in recording 23?"
    browser.run("browsers[1].move(1)")
    address, second = browser.run("location.hash"), _opened(browser)
    browser.run("browsers[1].move(5)")
    assert _opened(browser) != second
    _follow(browser, address)
    assert _opened(browser) == second


def _follow(browser: Browser, address: str) -> None:
    browser.run(
        "new Promise((done) => { addEventListener('hashchange', () => setTimeout(done), { once: true });"
        f"location.hash = {json.dumps(address)}; }})"
    )


def test_sections_are_set_apart_and_hostile_text_stays_text(browser: Browser, page: Path, board: Board) -> None:
    identifier = next(i for i in sorted(_right(board)[RUNS[0]]) if board.entries[0].run.answers[i][0].text)
    browser.open(page)
    _follow(browser, f"#b=1&q={identifier}")
    parts = f"[...{TOY}.querySelector('.answer .chain').querySelectorAll('dt')].map((n) => n.textContent)"
    assert browser.run(parts) == ["planning", "caption", "reasoning", "summary", "answer"]
    flags = f"[...{TOY}.querySelectorAll('.options .gold .who b')].map((n) => n.textContent)"
    assert RUNS[0] in browser.run(flags)
    browser.run(f"{TOY}.querySelector('.browser .check input').click()")
    assert browser.run(f"{TOY}.querySelector('.answer pre').textContent").startswith("<think><planning>")
    speech = next(gold.id for gold in board.entries[0].run.benchmark.golds if gold.task == "speech")
    _follow(browser, f"#b=1&q={speech}")
    shown = browser.run(f"{TOY}.querySelector('.detail').textContent")
    assert "onerror=\"document.title='broken'\"" in shown
    assert browser.run(f"{TOY}.querySelectorAll('.detail img, .detail script').length") == 0
    assert browser.run("document.title") == "sari-bench report"
    assert "no recipe.json" in browser.run(f"{TOY}.querySelector('#b1-questions + p').textContent")
    assert browser.errors == []


def test_a_clip_can_be_played(browser: Browser, page: Path) -> None:
    browser.open(page)
    seconds = browser.run(
        "new Promise((done, fail) => { const a = document.querySelector('#b0 audio');"
        "a.onloadedmetadata = () => done(a.duration); a.onerror = () => fail(new Error(a.error.message));"
        "if (a.readyState) done(a.duration); else a.load(); })"
    )
    assert 0.5 < seconds < 30
    assert browser.errors == []


def test_a_thousand_questions_open_at_once(browser: Browser, tmp_path: Path) -> None:
    """The largest page that is usual: four runs with every transcript."""
    many = from_questions("many", make_questions(1000))

    def said(share: float) -> Callable[[AudioQuestion], str]:
        return lambda q: (
            f"<think>{'Something is heard. ' * 60}</think><answer>{q.choices[int(4 * draw(share, q.id))]}</answer>"
        )

    runs = [in_memory(many, said(share), f"run {share}@direct", tmp_path) for share in (0.1, 0.2, 0.3, 0.4)]
    path = tmp_path / "many.html"
    path.write_text(render_page(make_boards(runs), questions_shown=1000), encoding="utf-8")
    assert path.stat().st_size < 15e6
    browser.open(path)
    ready: Any = browser.run("performance.getEntriesByName('ready')[0].startTime")
    assert ready < 4000, "milliseconds; about 400 on a machine that has nothing else to do"
    assert browser.run("browsers[0].list.found.length") == 1000
    spent = browser.run(
        "(() => { const start = performance.now(); for (let i = 0; i < 50; i++) browsers[0].move(1);"
        "return performance.now() - start; })()"
    )
    assert spent < 5000, "milliseconds for 50 questions"
