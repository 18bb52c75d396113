"""The HTML page: well-formed, self-contained, and deaf to markup in what a model said."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser

from bench_toys import right, wrong

from sari_bench.benchmarks.base import Benchmark
from sari_bench.leaderboard import make_boards
from sari_bench.pages import render_page
from sari_bench.runs import Run

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7*7 }} </td>"
VOID = {"meta", "link", "br", "img", "input", "hr"}


class _Page(HTMLParser):
    """Checks nesting, and collects scripts, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str | None, str]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, body = self.scripts[-1]
            self.scripts[-1] = (kind, body + data)
        else:
            self.text.append(data)


def _runs(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> list[Run]:
    benchmark = benchmark_of(12)
    return [
        run_of(benchmark, lambda q: EVIL if q.domain == "speech" else wrong(q), "evil <i>@direct"),
        run_of(benchmark, right, "good@direct"),
    ]


def test_the_page_holds_what_it_should(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> None:
    page = _Page(render_page(make_boards(_runs(benchmark_of, run_of))))
    text = " ".join(" ".join(page.text).split())
    for expected in ("100.00", "good@direct beats evil <i>@direct", "Sub-category", "skill 1", "12 of 12 questions"):
        assert expected in text
    assert [tag for tag, _ in page.tags].count("svg") == 2
    kinds = [kind for kind, _ in page.scripts]
    assert kinds == ["application/json", None]


def test_nothing_a_model_said_is_markup(benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]) -> None:
    source = render_page(make_boards(_runs(benchmark_of, run_of)))
    page = _Page(source)
    data = json.loads(page.scripts[0][1])
    said = {answer["text"] for question in data["questions"] for answer in question["answers"]}
    assert EVIL in said, "the text itself is kept whole"
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert "img" not in [tag for tag, _ in page.tags]
    assert "i" not in [tag for tag, _ in page.tags], "a run's name is text too"
    assert "innerHTML" not in source


def test_only_its_own_script_may_run_and_nothing_is_fetched(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    page = _Page(render_page(make_boards(_runs(benchmark_of, run_of))))
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.scripts[1][1].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not [a for _, a in page.tags if "src" in a or "href" in a]


def test_the_number_of_transcripts_is_bounded_and_said(
    benchmark_of: Callable[[int], Benchmark], run_of: Callable[..., Run]
) -> None:
    page = _Page(render_page(make_boards(_runs(benchmark_of, run_of)), questions_shown=5))
    assert len(json.loads(page.scripts[0][1])["questions"]) == 5
    assert re.search(r"5 of 12\s+questions", " ".join(page.text))
