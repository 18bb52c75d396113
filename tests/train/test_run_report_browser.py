"""The page of a run as a reader sees it: in a headless Chromium."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browser import ABSENT, CHROMIUM, Browser
from run_toys import write_run

from sari_train.report import read_run
from sari_train.report_page import write_page

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason=ABSENT)
STEPS = 60


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("browser") / "toy run #1", steps=STEPS)


@pytest.fixture(scope="module")
def page(toy: Path) -> Path:
    return write_page(read_run(toy), toy / "report.html")


def _value(browser: Browser, panel: str, at: int = 0) -> str:
    """The number that a panel's key shows."""
    found: str = browser.run(
        f"[...document.querySelectorAll('.panel')].find((p) => p.querySelector('h3').textContent === {panel!r})"
        f".querySelectorAll('.keys b')[{at}].textContent"
    )
    return found


def _point(browser: Browser, panel: str, share: float) -> None:
    """Move the mouse over a panel's curve, at this share of its width, with real events."""
    box: Any = browser.run(
        "(() => { const p = [...document.querySelectorAll('.panel')].find((p) => p.querySelector('h3').textContent === "
        f"{panel!r}); p.scrollIntoView({{ block: 'center' }});"
        "const b = p.querySelector('svg').getBoundingClientRect();"
        "return [b.left, b.top, b.width, b.height]; })()"
    )
    left, top, width, height = box
    x = left + 46 + share * (width - 46 - 12)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=top + height / 2)


def test_it_opens_without_complaint_and_asks_nobody(browser: Browser, page: Path) -> None:
    browser.open(page)
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.resolve().as_uri()]
    titles = browser.run("[...document.querySelectorAll('.panel h3')].map((h) => h.textContent)")
    expected = ["Reward", "Loss", "Dev accuracy", "Right, by difficulty", "Right, by domain", "Groups without a lesson",
                "Words a thought", "Entropy", "KL to the reference", "Clip fractions", "Gradient norm", "Learning rate",
                "Seconds a step, by phase", "Tokens a second", "Memory, MiB"]  # fmt: skip
    assert set(expected) <= set(titles)
    lines = browser.run("[...document.querySelectorAll('.panel path')].map((p) => p.getAttribute('d'))")
    assert len(lines) > 40
    assert not [line for line in lines if "NaN" in line or "Infinity" in line or not line.startswith("M")]


def test_pointing_shows_the_recorded_values_everywhere(browser: Browser, page: Path, toy: Path) -> None:
    rows = {row["step"]: row for row in read_run(toy).metrics}
    browser.open(page)
    assert float(_value(browser, "Reward")) == pytest.approx(rows[STEPS]["reward"], rel=5e-3)
    _point(browser, "Reward", 19 / (STEPS - 1))
    assert browser.run("document.getElementById('where').textContent") == "step 20"
    for panel, name in (("Reward", "reward"), ("Entropy", "entropy"), ("Dev accuracy", "eval_accuracy")):
        assert float(_value(browser, panel)) == pytest.approx(rows[20][name], rel=6e-3)
    visible = "[...document.querySelectorAll('.cursor')].every((c) => c.getAttribute('visibility') === 'visible')"
    assert browser.run(visible)
    browser.run("document.querySelector('.panel svg').focus()")
    browser.send("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight", code="ArrowRight")
    assert float(_value(browser, "Entropy")) == pytest.approx(rows[21]["entropy"], rel=6e-3)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    assert float(_value(browser, "Reward")) == pytest.approx(rows[STEPS]["reward"], rel=5e-3)


def test_the_slider_smooths_and_a_key_hides_its_curve(browser: Browser, page: Path, toy: Path) -> None:
    browser.open(page)
    values = [row["loss"] for row in read_run(toy).metrics]
    weight, mean, share, smooth = 0.9, 0.0, 0.0, []
    for value in values:
        mean, share = weight * mean + (1 - weight) * value, weight * share + (1 - weight)
        smooth.append(mean / share)
    found = browser.run(f"smoothed({json.dumps(values)}, 0.9)")
    assert found == pytest.approx(smooth)
    line = "document.querySelectorAll('.panel')[1].querySelector('.smooth').getAttribute('d')"
    raw = "document.querySelectorAll('.panel')[1].querySelector('.raw').getAttribute('d')"
    before = browser.run(line)
    for amount, same in (("0", True), ("0.9", False)):
        browser.run(
            f"(() => {{ const s = document.getElementById('smoothing'); s.value = '{amount}'; "
            "s.dispatchEvent(new Event('input')); })()"
        )
        assert (browser.run(line) == browser.run(raw)) is same
    assert browser.run(line) != before
    count = "document.querySelectorAll('.panel')[4].querySelectorAll('.smooth').length"
    both = browser.run(count)
    browser.run("document.querySelectorAll('.panel')[4].querySelector('.keys button').click()")
    assert browser.run(count) == both - 1


def test_completions_are_filtered_and_read(browser: Browser, page: Path) -> None:
    browser.open(page)
    rows = "document.querySelectorAll('#completions .row').length"
    assert browser.run(rows) == 18

    def choose(name: str, words: str) -> None:
        browser.run(
            f"(() => {{ const s = document.querySelector('select[aria-label=\"{name}\"]');"
            f"s.value = [...s.options].find((o) => o.text === {words!r}).value;"
            "s.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )

    choose("Step", "step 40")
    assert browser.run(rows) == 6
    choose("Domain", "music")
    assert browser.run(rows) == 2
    choose("Step", "every step")
    choose("Domain", "every domain")
    parts = []
    for words in ("all right", "some right", "none right"):
        choose("Outcome", words)
        parts.append(browser.run(rows))
    assert sum(parts) == 18
    assert parts[1] > 0
    choose("Outcome", "some cut")
    assert browser.run(rows) > 0
    assert browser.run(
        "[...document.querySelectorAll('#completions .row')].every((r) => r.lastChild.textContent === '1')"
    )


def test_hostile_text_stays_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    title = browser.run("document.title")
    browser.run("document.querySelectorAll('#completions .row').forEach((row) => row.click())")
    assert browser.run("document.querySelectorAll('.detail').length") == 18
    assert browser.run("document.title") == title
    assert browser.run("document.querySelectorAll('.detail img, .detail script, .troubles b').length") == 0
    shown = browser.run("[...document.querySelectorAll('.detail pre')].map((p) => p.textContent).join('\\n')")
    assert "onerror=\"document.title='broken'\"" in shown
    assert browser.errors == []


@pytest.mark.parametrize("audio_mib", [16.0, 0.0])
def test_clips_play_whether_embedded_or_linked(browser: Browser, toy: Path, audio_mib: float) -> None:
    page = write_page(read_run(toy), toy / f"page {audio_mib:g} #.html", audio_mib=audio_mib)
    browser.open(page)
    seconds = browser.run(
        "new Promise((done, fail) => { document.querySelector('#completions .row').click();"
        "const a = document.querySelector('.detail audio'); a.preload = 'auto';"
        "a.onloadedmetadata = () => done(a.duration); a.onerror = () => fail(new Error(a.error.message));"
        "if (a.readyState) done(a.duration); else a.load(); })"
    )
    assert seconds == pytest.approx(0.5, abs=0.01)
    assert browser.errors == []


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_and_can_be_read_in_light_and_dark(browser: Browser, page: Path, width: int, dark: bool) -> None:
    browser.open(page, width=width, dark=dark)
    browser.run("document.querySelector('#completions .row').click()")
    assert browser.run("document.documentElement.scrollWidth <= window.innerWidth")
    contrast = browser.run(
        """(() => {
          const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
          const light = (colour) => {
            canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const style = getComputedStyle(document.documentElement);
          const of = (name) => light(style.getPropertyValue(name));
          const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          const names = ["--ink", "--quiet", "--bad", "--good", ...Array.from({ length: 8 }, (_, i) => "--c" + i)];
          return names.map((name) => [name, ratio(of(name), of("--surface"))]);
        })()"""
    )
    assert len(contrast) == 12
    for name, ratio in contrast:
        assert ratio >= (3.0 if name.startswith("--c") else 4.5), f"{name} is hard to see (WCAG 2.2, 1.4.3 and 1.4.11)"
    background = browser.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(18, 21, 24)") is dark


def test_a_run_of_one_step_and_one_of_gaps(browser: Browser, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", steps=5, done=1, every=5)
    browser.open(write_page(read_run(folder), folder / "report.html"))
    assert browser.errors == []
    assert "at step 1 of 5, not finished" in browser.run("document.querySelector('.status').textContent")
    assert browser.run("document.querySelectorAll('.panel circle').length") > 10, "a single point is drawn as one"
    rows = [{"step": n, "loss": None if 5 < n < 9 else n, "grad_norm": 0.0} for n in range(1, 15)]
    lines = [json.dumps(row) for row in rows]
    (folder / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    browser.open(write_page(read_run(folder), folder / "report.html"))
    assert browser.errors == []
    path = browser.run("document.querySelector('.raw').getAttribute('d')")
    assert path.count("M") == 2, "a gap stays a gap"
    assert "NaN" not in path
