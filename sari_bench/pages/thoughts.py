"""What thoughts have to do with answers, and what a run gets without listening, as texts for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sari_bench.leaderboard import Board

Row = list[str]


def thought_tables(board: Board) -> list[dict[str, Any] | None]:
    """Return of each run what its thoughts have to do with its answers; ``None`` for a run without thoughts."""
    return [None for _ in board.entries]


def shortcut_tables(board: Board) -> list[dict[str, Any]]:
    """Return of each run what it gets without its audio, where that was measured."""
    return []


def thought_table(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables about the thoughts of a run.

    Args:
        name: The run's name.
        found: What :meth:`sari_bench.diagnostics.Diagnostics.to_json` says.
    """
    unit = found["unit"]
    sections, agrees = found["sections"], found["agrees"]
    return {
        "name": name,
        "unit": unit,
        "facts": _facts(found, unit),
        "bins": {"unit": unit, "rows": [_bin(row, unit) for row in found["bins"]]},
        "lengths": [
            [
                _range(row, unit),
                f"{row['n']:,}",
                _percent(row["accuracy"]),
                _interval(row["interval"]),
                str(row.get("truncated", 0)),
            ]
            for row in found["bins"]
        ],
        "sections": [
            [
                part,
                f"{row['present']:,}",
                f"{row['absent']:,}",
                _percent(row["accuracy_with"]),
                _percent(row["accuracy_without"]),
            ]
            for part, row in sections.items()
        ],
        "agrees": [
            [words, f"{agrees[key]:,}", _percent(agrees[f"accuracy_{key}"])]
            for key, words in _AGREES.items()
            if key in agrees
        ],
        "reasons": [
            [outcome, reason, f"{count:,}"]
            for outcome, counts in found["reasons"].items()
            for reason, count in counts.items()
        ],
        "swapped": (found["swapped"] or {}).get("sentence"),
    }


_AGREES = {
    "agree": "its summary names the option that is answered",
    "disagree": "its summary names another option",
    "silent": "its summary names none, or several",
    "unread": "no option could be read out of the answer",
}


def _facts(found: Mapping[str, Any], unit: str) -> dict[str, str]:
    answers, thoughts = found["answers"], found["thoughts"]
    facts = {"with a thought": f"{thoughts:,} of {answers:,} answers"}
    if found["mean_words"] is not None:
        facts["mean length"] = f"{found['mean_words']:g} {unit}"
    facts["cut off"] = f"{found['truncated']:,} ({_share(found['truncated'], answers)})"
    trend = found["trend"]
    if trend is not None:
        p_value = "" if trend["p_value"] is None else f", p {_p(trend['p_value'])}"
        facts["right thoughts are longer"] = f"in {trend['right_longer']:.1f} % of pairs with a wrong one{p_value}"
    return facts


def _bin(row: Mapping[str, Any], unit: str) -> dict[str, Any]:
    low, high = row["interval"] or (None, None)
    return {
        "from": row[f"from_{unit}"],
        "to": row[f"to_{unit}"],
        "figures": [row["n"], row["correct"], row["accuracy"], low, high],
    }


def _range(row: Mapping[str, Any], unit: str) -> str:
    low, high = row[f"from_{unit}"], row[f"to_{unit}"]
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _interval(found: list[float] | None) -> str:
    return "–" if found is None else f"{found[0]:.1f}–{found[1]:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole * 100:.1f} %" if whole else "–"


def _p(value: float) -> str:
    return f"= {value:.3f}" if value >= 0.001 else "< 0.001"
