"""The HTML page: well-formed, self-contained, and deaf to markup in what a model said."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from bench_pages import EVIL, in_memory, scene_board, thinking, toy_boards
from bench_toys import make_questions

from sari_bench.benchmarks.base import from_questions
from sari_bench.disagreements import disagreements
from sari_bench.pages import render_page
from sari_bench.pages.groups import group_data
from sari_bench.pages.questions import question_data
from sari_bench.pages.sound import Sounds
from sari_bench.reporting.leaderboard import Board, make_boards
from sari_bench.running.reopening import clips_of, reopen
from sari_bench.running.runs import RECIPE
from sari_data.errors import BenchmarkError
from sari_data.sources import scenes

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

    @property
    def words(self) -> str:
        """All text with single spaces."""
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> list[Board]:
    return toy_boards(tmp_path_factory.mktemp("runs"), 24)


@pytest.fixture(scope="module")
def source(boards: list[Board]) -> str:
    return render_page(boards)


def test_the_page_holds_what_it_should(source: str, boards: list[Board]) -> None:
    page = _Page(source)
    gain = f"Gain over {boards[0].entries[-1].run.name}"
    for expected in (gain, "paired over 24 questions", "sub-category", "skill 1", "24 of 24 questions", "Official"):
        assert expected in page.words
    for entry in boards[0].entries:
        assert f"{entry.score.overall.accuracy:.2%}".removesuffix("%") in page.words
    assert "Without audio" not in page.words
    assert "has no recipe.json" in page.words, "why no clip can be heard"
    kinds = [kind for kind, _ in page.scripts]
    assert kinds == ["application/json", "application/json", None]
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th"), "what each heading heads"
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "table")


def test_published_rows_are_marked_cited_flagged_and_kept_apart_by_version(source: str, boards: list[Board]) -> None:
    main, _, rest = source.partition('<details class="earlier">')
    assert main.count('<tr class="published') == 2
    assert "a paper · https://a.test/" in _Page(source).words
    flagged = re.findall(r'<tr class="published flagged">.*?</tr>', main, re.DOTALL)
    assert len(flagged) == 1
    assert "Odd &lt;b&gt;" in flagged[0]
    problem = next(row.problem for row in boards[0].published if row.problem)
    assert problem in _Page(source).words
    apart = rest.partition("</details>")[0]
    assert "Old" in apart
    assert "an earlier version" in apart
    assert "Old</span>" not in main
    assert 'start="1"' in rest, "the sources of what stands beside the runs come after, not inside"
    assert boards[0].published[0].source not in apart
    assert boards[0].earlier[0].source in apart
    assert "https://a.test/" not in [value for _, a in _Page(source).tags for value in a.values()], "no link to click"


def test_nothing_a_model_said_is_markup(source: str) -> None:
    page = _Page(source)
    data = json.loads(page.scripts[1][1])
    said = {answer["text"] for question in data["questions"] for answer in question["answers"]}
    assert EVIL in said, "the text itself is kept whole"
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert not {"img", "i", "b"} & {tag for tag, _ in page.tags}, "names of runs and rows are text too"
    assert "innerHTML" not in source


def test_only_its_own_script_may_run_and_nothing_is_fetched(source: str) -> None:
    page = _Page(source)
    policy = next(a["content"] for tag, a in page.tags if tag == "meta" and a.get("http-equiv"))
    digest = base64.b64encode(hashlib.sha256(page.scripts[-1][1].encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    links = [a.get("href") or a.get("src") for _, a in page.tags if "src" in a or "href" in a]
    assert links
    assert all(link and link.startswith("#") for link in links), "only to parts of the page itself"
    there = {a["id"] for _, a in page.tags if "id" in a}
    assert {str(link)[1:] for link in links} <= there


def test_the_same_boards_give_the_same_page(source: str, tmp_path: Path, boards: list[Board]) -> None:
    assert render_page(boards) == source
    scenes = scene_board(tmp_path)
    assert render_page(scenes) == render_page(scenes)


@pytest.mark.parametrize("shown", [0, 5, 24])
def test_the_number_of_transcripts_is_bounded_and_scorers_that_disagree_are_always_listed(
    boards: list[Board], shown: int
) -> None:
    board = boards[0]
    data = question_data(board, shown, Sounds(0))
    apart = {item.gold.id for entry in board.entries for item in disagreements(entry.scores)}
    listed = [question["id"] for question in data["questions"]]
    assert len(apart) > 5, "else this shows nothing"
    assert set(listed) >= (apart if shown else set())
    assert len(listed) == (max(shown, len(apart)) if shown else 0)
    assert {question["id"] for question in data["questions"] if question["split"]} == (apart if shown else set())
    order = [not question["split"] for question in data["questions"]]
    assert order == sorted(order)
    texts = [any(answer["text"] is not None for answer in question["answers"]) for question in data["questions"]]
    assert texts == [at < shown for at in range(len(listed))]
    assert data["said"].startswith(f"{len(listed)} of 24 questions")
    assert ("without their texts" in data["said"]) == (len(listed) > shown > 0)


def test_groups_are_those_of_the_scores_and_add_up_when_crossed(boards: list[Board]) -> None:
    board = boards[0]
    data = group_data(board)
    keys = [dimension["key"] for dimension in data["dimensions"]]
    assert keys == ["task", "category", "sub-category", "difficulty", "task × category", "category × difficulty"]
    for scorer in data["scorers"]:
        for run, entry in enumerate(board.entries):
            overall = entry.scores[scorer].overall
            for dimension in data["dimensions"]:
                cells: list[Any] = data["figures"][scorer][dimension["key"]][run]
                assert len(cells) == len(dimension["groups"])
                assert sum(cell[0] for cell in cells) == overall.n
                assert sum(cell[1] for cell in cells) == overall.correct
            tasks = data["figures"][scorer]["task"][run]
            expected = entry.scores[scorer].by["task"]["music"]
            found = tasks[data["dimensions"][0]["groups"].index("music")]
            assert found[:2] == [expected.n, expected.correct]
            assert found[2] == 100 * expected.correct / expected.n, (
                "the page alone rounds: twice would be once too often"
            )


def test_samples_show_their_votes_and_only_the_first_text(tmp_path: Path) -> None:
    toy = from_questions("toy", make_questions(6))
    boards = make_boards([in_memory(toy, thinking(0.7), "often@structured", tmp_path, samples=3)])
    page = render_page(boards)
    data = group_data(boards[0])
    assert (data["questions"]["all"], sum(data["questions"]["task"])) == (6, 6), "and not 18 answers"
    assert "Majority" in _Page(page).words
    assert "Pass@3" in _Page(page).words
    answers = [q["answers"][0] for q in json.loads(_Page(page).scripts[1][1])["questions"]]
    assert all(answer["samples"][1] == 3 for answer in answers)


def test_clips_are_inside_up_to_the_budget_and_the_page_says_how_many(tmp_path: Path) -> None:
    board = scene_board(tmp_path)
    whole = _Page(render_page(board))
    assert "All 3 can be heard." in whole.words
    clips = [body for kind, body in whole.scripts if kind == "text/plain"]
    assert len(clips) == 3
    size = sum(len(base64.b64decode(clip)) for clip in clips)
    less = _Page(render_page(board, audio_mib=(size - 1) / 2**20))
    assert "2 of 3 can be heard: The page was full: its audio is bounded (--audio-budget)." in less.words
    none = _Page(render_page(board, audio_mib=0))
    assert "Without audio." in none.words
    assert not [body for kind, body in none.scripts if kind == "text/plain"]


def test_of_generated_questions_only_those_that_are_shown_are_made_and_they_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scene_board(tmp_path)[0].entries[0].run
    whole = {question.id: question.recordings for question in reopen(run).questions}
    made: list[tuple[Any, ...]] = []
    make = scenes._Maker.__call__
    monkeypatch.setattr(scenes._Maker, "__call__", lambda self, *asked: made.append(asked) or make(self, *asked))
    wanted = [run.benchmark.golds[at].id for at in (2, 1)]
    assert clips_of(run, wanted) == {key: whole[key] for key in wanted}
    assert len(made) == 2
    # Another seed makes other scenes: then all are opened, and the run's own are not found.
    table = json.loads((run.folder / RECIPE).read_text(encoding="utf-8"))
    (run.folder / RECIPE).write_text(json.dumps({"bench": {**table["bench"], "scenes_seed": 5}}), encoding="utf-8")
    with pytest.raises(BenchmarkError, match="restore the benchmark's file"):
        clips_of(run, wanted)
