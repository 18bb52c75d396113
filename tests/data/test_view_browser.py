"""The page of a corpus as a reader sees it: in a headless Chromium."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from browser import ABSENT, CHROMIUM, Browser
from corpus_examples import CARD
from view_examples import HOSTILE, rated, scenes, write_example, write_hostile

from sari_data.store import write_corpus
from sari_data.view import write_view

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
MANY = 2000
QUIET = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("view")
    write_view(write_example(folder / "a corpus #1", 6), folder / "p #1.html")
    return folder / "p #1.html"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand questions with chains on a few clips."""
    folder = tmp_path_factory.mktemp("many")
    few = scenes(10)
    found = (
        rated(few[n % len(few)], n % 9).replace(id=f"q{n:04d}", question=f"{few[n % len(few)].question} Number {n}")
        for n in range(MANY)
    )
    write_corpus(folder / "c", {"rl": found}, {"name": "many"}, card=CARD)
    write_view(folder / "c", folder / "p.html")
    return folder / "p.html"


def _choose(browser: Browser, name: str, words: str) -> None:
    """Take the option that begins with these words."""
    browser.run(
        f"""(() => {{
          const s = document.querySelector('select[aria-label={name}]');
          s.value = [...s.options].find((o) => o.text.startsWith({json.dumps(words)})).value;
          s.dispatchEvent(new Event('input', {{ bubbles: true }}));
        }})()"""
    )


def _search(browser: Browser, words: str) -> None:
    browser.run(f"search.value = {json.dumps(words)}; search.dispatchEvent(new Event('input', {{ bubbles: true }}))")


def _key(browser: Browser, key: str, code: str | None = None) -> None:
    text = {"text": key} if len(key) == 1 else {}
    browser.send("Input.dispatchKeyEvent", type="keyDown", key=key, code=code or key, **text)
    browser.send("Input.dispatchKeyEvent", type="keyUp", key=key, code=code or key)


def _found(browser: Browser) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = browser.run("found")
    return found


def _opened(browser: Browser) -> str:
    text: str = browser.run("document.querySelector('#detail h2')?.textContent ?? ''")
    return text


def test_it_opens_without_complaint_asks_nobody_and_shows_every_row(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.errors == []
    asked = [url for url in browser.requests if not url.startswith(("data:", "blob:"))]
    assert asked == [page.resolve().as_uri()]
    assert len(_found(browser)) == 18
    shown = browser.run("[...document.querySelectorAll('.row .asked')].map((n) => n.textContent)")
    assert len(shown) >= 10
    assert shown == [row["question"] for row in _found(browser)][: len(shown)]
    assert browser.run("document.getElementById('totals').textContent").startswith("18 questions · ")


def test_filters_and_search_leave_what_they_say(browser: Browser, page: Path) -> None:
    browser.open(page)
    everything = _found(browser)
    for name, key in (("Split", "split"), ("Source", "source"), ("Domain", "domain"), ("Difficulty", "difficulty")):
        for value in {row[key] for row in everything}:
            _choose(browser, name, f"{value} (")
            expected = [row["id"] for row in everything if row[key] == value]
            assert [row["id"] for row in _found(browser)] == expected
            label = browser.run(f"document.querySelector('select[aria-label={name}]').selectedOptions[0].text")
            assert label == f"{value} ({len(expected)})"
            total = browser.run("document.querySelector('#totals b').textContent")
            assert total == f"{len(expected)} of 18 questions"
            assert _opened(browser) in [row["question"] for row in _found(browser)]
        _choose(browser, name, "every")
    problems = sorted({problem for row in everything for problem in row["problems"]})
    assert {"flag: contaminated", "never passed", "set aside: never passed", "no structured chain", "no caption",
            "audio cannot be decoded"} <= set(problems)  # fmt: skip
    for problem in problems:
        _choose(browser, "Problem", f"{problem} (")
        assert [row["id"] for row in _found(browser)] == [r["id"] for r in everything if problem in r["problems"]]
    _choose(browser, "Problem", "any problem")
    some = len(_found(browser))
    _choose(browser, "Problem", "no problem")
    assert 0 < some < 18
    assert len(_found(browser)) == 18 - some
    _choose(browser, "Domain", "music")
    assert all(row["domain"] == "music" and not row["problems"] for row in _found(browser)), "filters add up"
    browser.run("document.querySelector('#bench button').click()")
    assert len(_found(browser)) == 18
    _search(browser, "FREE thought")
    assert [row["unstructured"] for row in _found(browser)] == ["only free thought"]
    _search(browser, "y0abcdefgh_")
    assert [row["video"]["id"] for row in _found(browser)] == ["Y0aBcDeFgH_"]
    _search(browser, "nothing has these words")
    assert browser.run("document.querySelector('.none').textContent") == "No question fits these filters."
    assert _opened(browser) == ""


def test_a_clip_is_decoded_drawn_and_played_when_its_question_is_opened(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.run("document.querySelectorAll('audio, canvas').length") == 2, "of the one that is open"
    seconds = browser.run(
        "new Promise((done, fail) => { select(3, false); const a = document.querySelector('audio');"
        "a.onloadedmetadata = () => done(a.duration); a.onerror = () => fail(new Error(a.error.message)); })"
    )
    drawn = browser.run(
        "new Promise((done) => { const look = () => { const c = document.querySelector('canvas');"
        "if (c.dataset.seconds) done(Number(c.dataset.seconds)); else setTimeout(look, 20); }; look(); })"
    )
    assert drawn == pytest.approx(seconds, abs=0.15)
    assert 0.5 < drawn < 4
    dark, light = browser.run(
        """(() => {
          const c = document.querySelector('canvas');
          const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data, light = [];
          for (let i = 0; i < d.length; i += 4) light.push(d[i] + d[i + 1] + d[i + 2]);
          light.sort((a, b) => a - b);
          return [light[Math.floor(light.length * 0.2)], light[Math.floor(light.length * 0.995)]];
        })()"""
    )
    assert light - dark > 200, "there is sound and there is silence in it"
    browser.run("document.querySelector('audio').onplaying = () => { window.played = true; }")
    browser.run("list.focus()")
    _key(browser, "p", "KeyP")
    for _ in range(100):
        if browser.run("window.played === true"):
            break
        time.sleep(0.05)
    assert browser.run("window.played === true")
    assert browser.errors == []


def test_a_tone_is_drawn_at_its_height(browser: Browser, page: Path) -> None:
    """The picture's scale and transform against a sine whose frequency is known."""
    browser.open(page)
    for hertz in (300, 1000, 3000):
        height = browser.run(
            f"""(() => {{
              const c = document.createElement('canvas');
              [c.width, c.height] = [40, 150];
              const sine = (_, i) => Math.sin(2 * Math.PI * {hertz} * i / 16000);
              drawSpectrum(c, Float32Array.from({{ length: 16000 }}, sine));
              const d = c.getContext('2d').getImageData(20, 0, 1, 150).data;
              const light = Array.from({{ length: 150 }}, (_, y) => d[4 * y] + d[4 * y + 1] + d[4 * y + 2]);
              return HERTZ(MEL(8000) * (1 - (light.indexOf(Math.max(...light)) + 0.5) / 150));
            }})()"""
        )
        assert height == pytest.approx(hertz, rel=0.06)


def test_a_question_shows_its_chain_its_gold_its_pass_rates_and_where_it_is_from(browser: Browser, page: Path) -> None:
    browser.open(page)
    _choose(browser, "Problem", "flag: passes without audio")
    row = _found(browser)[0]
    assert _opened(browser) == row["question"]
    assert browser.run("[...document.querySelectorAll('.options .gold')].map((n) => n.lastChild.textContent)") == [
        row["choices"][row["gold"]]
    ]
    sections = browser.run("[...document.querySelectorAll('.chain dd')].map((n) => n.textContent)")
    assert sections == [row["structured"][name] for name in ("planning", "caption", "reasoning", "summary")]
    table = browser.run("[...document.querySelectorAll('.rates tbody tr')].map((r) => r.innerText)")
    assert len(table) == 3
    assert "1 of 8" in table[0]
    assert "estimate 0.20" in table[0]
    assert "hard" in table[0]
    assert table[1].startswith("no audio")
    _choose(browser, "Problem", "problem or not")
    _search(browser, "Y0aBcDeFgH_")
    link = browser.run("document.querySelector('.made a').href")
    assert link == "https://www.youtube.com/watch?v=Y0aBcDeFgH_&t=30s"
    _search(browser, "")
    _choose(browser, "Problem", "audio cannot be decoded")
    assert "does not decode" in browser.run("document.querySelector('.sound').textContent")


def test_it_works_with_the_keyboard_alone(browser: Browser, page: Path) -> None:
    browser.open(page)
    questions = [row["question"] for row in _found(browser)]
    browser.run("list.focus()")
    moves = [("ArrowDown", 1), ("ArrowDown", 2), ("ArrowUp", 1), ("End", 17), ("Home", 0), ("PageDown", None)]
    for key, place in moves:
        _key(browser, key)
        at = browser.run("at")
        assert place is None or at == place
        assert _opened(browser) == questions[at]
        active = "document.getElementById(list.getAttribute('aria-activedescendant'))"
        assert browser.run(f"{active}.getAttribute('aria-selected')") == "true"
        top, bottom = browser.run(
            f"""(() => {{
              const row = {active}.getBoundingClientRect(), box = list.getBoundingClientRect();
              return [row.top - box.top, box.bottom - row.bottom];
            }})()"""
        )
        assert top >= -1
        assert bottom >= -1
    _key(browser, "Enter")
    assert browser.run("document.activeElement.id") == "detail"
    _key(browser, "j", "KeyJ")
    _key(browser, "k", "KeyK")
    _key(browser, "/", "Slash")
    assert browser.run("document.activeElement === search && search.value === ''")
    _key(browser, "j", "KeyJ")
    assert browser.run("search.value") == "j", "in a field a letter is a letter"
    _key(browser, "Escape")
    assert browser.run("document.activeElement.id") == "list"


def test_hostile_texts_run_nothing(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "p.html"
    write_view(write_hostile(tmp_path / "c"), page)
    browser.open(page)
    assert len(_found(browser)) == len(HOSTILE)
    for number, text in enumerate(HOSTILE):
        browser.run(f"select({number}, false)")
        browser.run("new Promise((done) => setTimeout(done, 150))")
        assert _opened(browser) == text
        assert browser.run("typeof window.harm") == "undefined"
        assert browser.run("document.querySelectorAll(':is(#detail, #list, .head) :is(script, img)').length") == 0
        assert browser.run("[...document.querySelectorAll('a')].every((a) => a.protocol === 'https:')")
        named = "[...document.querySelectorAll('*')].flatMap((n) => n.getAttributeNames())"
        assert not [name for name in browser.run(named) if name.startswith("on")]
    for words in HOSTILE:
        _search(browser, words)
    for number in range(browser.run("document.querySelector('select[aria-label=Source]').options.length")):
        browser.run(
            f"""(() => {{
              const s = document.querySelector('select[aria-label=Source]');
              s.selectedIndex = {number};
              s.dispatchEvent(new Event('input', {{ bubbles: true }}));
            }})()"""
        )
    assert browser.run("typeof window.harm") == "undefined"
    assert browser.run("document.title") == f"Corpus {HOSTILE[0]}"
    assert browser.errors == []
    browser.errors.clear()
    harm = browser.run(
        """(() => {
          const s = document.createElement('script');
          s.textContent = 'window.harm = 9';
          document.body.append(s);
          return typeof window.harm;
        })()"""
    )
    assert harm == "undefined", "the policy runs no other script, whoever puts it in"


def test_two_thousand_rows_stay_smooth(browser: Browser, many: Path) -> None:
    begin = time.perf_counter()
    browser.open(many)
    opened = time.perf_counter() - begin
    assert browser.errors == []
    ready = browser.run("performance.getEntriesByName('ready')[0].startTime")
    nodes = browser.run("document.querySelectorAll('*').length")
    assert len(_found(browser)) == MANY
    assert nodes < 500, f"{nodes} elements: rows out of sight are in the page"
    assert ready < 5000, f"{ready:.0f} ms until it can be used, {opened:.1f} s in all"
    longest = browser.run(
        """new Promise((done) => {
          let worst = 0, last = performance.now(), n = 0;
          const step = () => {
            const now = performance.now();
            worst = Math.max(worst, now - last);
            last = now;
            list.scrollTop += 1500;
            if (++n < 60) requestAnimationFrame(step); else done(worst);
          };
          requestAnimationFrame(step);
        })"""
    )
    assert longest < 500, f"{longest:.0f} ms between two pictures while scrolling"
    shown = browser.run("[...document.querySelectorAll('.row .asked')].map((n) => n.textContent)")
    assert shown
    assert all("Number 1" in text for text in shown), "the rows that are in sight now"
    assert browser.run("document.querySelectorAll('*').length") < 500
    begin = time.perf_counter()
    _search(browser, "number 1999")
    assert time.perf_counter() - begin < 2
    assert [row["id"] for row in _found(browser)] == ["q1999"]
    browser.run("location.hash = ''")


def test_an_address_with_an_id_opens_that_question(browser: Browser, page: Path, many: Path) -> None:
    browser.open(many)
    browser.run("select(1234, false)")
    assert browser.run("location.hash") == "#q1234"
    browser.open(page)  # elsewhere and back: the same page with another id would not be loaded again
    browser.open(many, fragment="q1234")
    assert browser.run("at") == 1234
    assert "Number 1234" in _opened(browser)


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read_in_light_and_dark(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    browser.run("select(7, false)")
    browser.run(QUIET)
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    assert browser.run("document.querySelector('.detail').scrollWidth <= document.querySelector('.detail').clientWidth")
    names = [".asked", ".marks span", ".quiet", ".totals", ".options li", ".options .letter", ".chain dt", ".chain dd"]
    names += [".chips span", ".rates th", ".made dt", ".heights", ".detail h2", ".row .bad"]
    contrast = browser.contrast(names)
    assert len(contrast) >= 12
    for name, ratio in contrast.items():
        assert ratio >= 4.5, f"{name} is hard to read: contrast {ratio:.1f} (WCAG 2.2, 1.4.3)"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(18, 21, 24)") is dark
