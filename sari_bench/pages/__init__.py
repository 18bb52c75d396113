"""The report as one self-contained HTML page (see :mod:`sari_data.html_pages` for how model output is kept inert).

A board has one section: its leaderboard as a table that stands in the page itself, and as data for the page's script
what is drawn on demand: heat maps, plots, and the questions with their transcripts and clips.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sari_bench.pages.figures import comparison_tables, full_scores, gains
from sari_bench.pages.groups import group_data
from sari_bench.pages.questions import question_data
from sari_bench.pages.sound import Sounds
from sari_bench.pages.summary import summary
from sari_bench.pages.table import leaderboard, other_versions, sources
from sari_bench.pages.thoughts import (
    diagnoses,
    shortcut_table,
    shortcuts_of,
    thought_lengths,
    thought_tables,
    token_lengths,
)
from sari_bench.reporting.clean_tables import clean_table
from sari_bench.reporting.leaderboard import Board
from sari_data.html_pages import json_for_script, render_html

__all__ = ["AUDIO_MIB", "QUESTIONS_SHOWN", "render_page"]

QUESTIONS_SHOWN = 300  # transcripts on a page, for each board
AUDIO_MIB = 20.0  # of clips on a page, before base64 makes them a third larger

_SCRIPTS = ("rowlist", "report_tables", "report_plots", "report_questions")


def render_page(
    boards: Sequence[Board], *, questions_shown: int = QUESTIONS_SHOWN, audio_mib: float = AUDIO_MIB
) -> str:
    """Render boards, full scores, heat maps, plots, comparisons, diagnostics and transcripts as one HTML page.

    The same boards give the same page, byte for byte. A clip that cannot be had is no error: the page says why.

    Args:
        boards: What to show.
        questions_shown: How many questions of each board have their transcripts on the page: first those on which
            scorers disagree, then those on which runs disagree.
        audio_mib: Bound on the clips inside the page, in MiB; 0 for none.
    """
    sounds = Sounds(audio_mib)
    shown = [_board(board, number, questions_shown, sounds) for number, board in enumerate(boards)]
    return render_html(
        "report", styles=("rowlist",), scripts=_SCRIPTS, boards=shown, clips=_markup("".join(sounds.elements))
    )


def _board(board: Board, number: int, questions_shown: int, sounds: Sounds) -> dict[str, Any]:
    questions = question_data(board, questions_shown, sounds)
    diagnosed, shortcuts, compared = diagnoses(board), shortcuts_of(board), gains(board)
    answered = summary(board, compared, diagnosed, shortcuts)
    lengths = {"words": list(map(thought_lengths, diagnosed)), "tokens": list(map(token_lengths, diagnosed))}
    groups = group_data(board) | {"lengths": lengths}
    return {
        "key": f"b{number}",
        "title": board.title,
        "scorer": board.scorer,
        "digest": board.digest,
        "notes": board.notes,
        "clean": _clean(board),
        "table": leaderboard(board),
        "earlier": other_versions(board),
        "sources": sources(board),
        "base": board.entries[-1].run.name,
        "summary": answered,
        "comparisons": [comparison_tables(one) for one in compared],
        "scores": full_scores(board),
        "thoughts": thought_tables(diagnosed),
        "shortcuts": [
            shortcut_table(entry.run.name, found)
            for entry, found in zip(board.entries, shortcuts, strict=True)
            if found is not None
        ],
        "questions": {key: questions[key] for key in ("said", "heard")},
        "group_json": _markup(json_for_script(groups)),
        "question_json": _markup(json_for_script(questions)),
    }


def _clean(board: Board) -> dict[str, Any] | None:
    """The table of clean subsets with its notes."""
    table = clean_table(board)
    return None if table is None else {"header": table.header, "rows": table.rows, "notes": list(table.notes)}


def _markup(text: str) -> Any:
    """Text that the template puts in as it is: made here, and without any character that could end its element."""
    from markupsafe import Markup

    return Markup(text)
