"""The report as one self-contained HTML page (see :mod:`sari_data.html_pages` for how model output is kept inert)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from sari_bench.compare import Comparison, compare
from sari_bench.leaderboard import Board, Entry
from sari_bench.metrics import Tally, percent
from sari_bench.report import cell, comparison_rows, interval_cell, score_rows
from sari_data.html_pages import render_html

QUESTIONS_SHOWN = 300  # transcripts on a page, for each board
_LONGEST = 20_000  # characters of one response that the page holds

Bar = dict[str, float]


def render_page(boards: Sequence[Board], *, questions_shown: int = QUESTIONS_SHOWN) -> str:
    """Render boards, full scores, heat maps, comparisons and transcripts as one HTML page.

    Args:
        boards: What to show.
        questions_shown: How many questions of each board have their transcripts on the page.
    """
    return render_html("report", boards=[_board(board, questions_shown) for board in boards])


def _board(board: Board, questions_shown: int) -> dict[str, Any]:
    base = board.entries[-1]
    return {
        "title": board.title,
        "scorer": board.scorer,
        "digest": board.digest,
        "tasks": board.tasks,
        "notes": board.notes,
        "rows": [_row(board, entry) for entry in board.entries],
        "heat": _heat(board),
        "base": base.run.name,
        "comparisons": [
            _comparison(compare(base.run, entry.run, board.scorer)) for entry in board.entries if entry is not base
        ],
        "scores": [_full(entry) for entry in board.entries],
        "transcripts": _transcripts(board, questions_shown),
    }


def _row(board: Board, entry: Entry) -> dict[str, Any]:
    overall, by = entry.score.overall, entry.score.by.get("task", {})
    tokens = entry.run.mean_tokens
    return {
        "name": entry.run.name,
        "mode": entry.run.mode,
        "tasks": [cell(by[task].accuracy) if task in by else "–" for task in board.tasks],
        "accuracy": cell(overall.accuracy),
        "interval": interval_cell(overall),
        "bar": _bar(overall),
        "n": overall.n,
        "unread": entry.score.honest.unread,
        "missing": entry.score.honest.outcomes["missing"],
        "tokens": "–" if tokens is None else f"{tokens:.0f}",
    }


def _bar(tally: Tally) -> Bar | None:
    """Where the interval and the accuracy lie on a scale of 0 to 100."""
    interval = tally.interval
    if interval is None or tally.accuracy is None:
        return None
    low, high = interval[0] * 100, interval[1] * 100
    return {"low": round(low, 2), "width": round(high - low, 2), "at": round(tally.accuracy * 100, 2)}


def _heat(board: Board) -> list[dict[str, Any]]:
    """One block for each dimension: its groups against the runs."""
    blocks = []
    for dimension in ("task", "category", "sub-category", "difficulty"):
        names = dict.fromkeys(name for entry in board.entries for name in entry.score.by.get(dimension, {}))
        if not names:
            continue
        rows = [
            {
                "name": name,
                "cells": [_heat_cell(entry.score.by.get(dimension, {}).get(name)) for entry in board.entries],
            }
            for name in names
        ]
        blocks.append({"dimension": dimension, "rows": rows})
    return blocks


def _heat_cell(tally: Tally | None) -> dict[str, Any]:
    if tally is None or tally.accuracy is None:
        return {"text": "–", "value": 0, "title": "no answers"}
    return {
        "text": f"{tally.accuracy * 100:.0f}",
        "value": percent(tally.accuracy),
        "title": f"{tally.correct} of {tally.n}, 95 % interval {interval_cell(tally)}",
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    header, rows = comparison_rows(comparison)
    return {"name": comparison.b, "sentence": comparison.sentence, "header": header, "rows": rows}


def _full(entry: Entry) -> dict[str, Any]:
    header, rows = score_rows(entry.score)
    meta = entry.run.meta
    about = {
        "model": f"{meta['model']['name']} ({meta['model'].get('path', '')})",
        "mode": entry.run.mode,
        "benchmark": f"{meta['benchmark']['name']} {meta['benchmark']['version']}",
        "sampling": ", ".join(f"{key} {value}" for key, value in meta["sampling"].items()),
        "code": f"sari {meta.get('code_version', '?')}",
        "started": meta.get("started", ""),
        "finished": meta.get("finished") or "not finished",
        "folder": str(entry.run.folder),
    }
    example = meta.get("prompt", {}).get("example", "")
    return {"name": entry.run.name, "about": about, "header": header, "rows": rows, "prompt": example}


def _transcripts(board: Board, questions_shown: int) -> dict[str, Any]:
    """The first sample of each run on some questions, drawn by a hash of their ids."""
    golds = board.entries[0].run.benchmark.golds
    ranked = sorted(golds, key=lambda gold: hashlib.sha256(gold.id.encode()).digest())[:questions_shown]
    by_run = [{item.gold.id: item for item in entry.score.items if item.answer.sample == 0} for entry in board.entries]
    questions = [
        {
            **gold.to_row(),
            "answers": [
                {"outcome": run[gold.id].outcome, "text": _shorten(run[gold.id].answer.text)} for run in by_run
            ],
        }
        for gold in ranked
    ]
    return {"runs": [entry.run.name for entry in board.entries], "questions": questions, "total": len(golds)}


def _shorten(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST:
        return text
    return f"{text[:_LONGEST]}\n[{len(text) - _LONGEST:,} more characters in responses.jsonl]"
