"""A run as one self-contained HTML page: figures, troubles, curves, and completions to read and hear.

Clips are embedded up to a bound, those of the latest steps first; the others are linked where they lie, and the
page says so. What a model wrote is inert (see :mod:`sari_data.html_pages`).
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sari_data.html_pages import render_html
from sari_train.metric_names import label
from sari_train.progress import clock, short_number
from sari_train.report import KINDS, WINDOW, Run, panels, phase_shares, points_per_mean, summary
from sari_train.run_files import COMPLETIONS

TEXT_MIB = 8.0  # of completions on a page, the latest first
AUDIO_MIB = 16.0  # of clips that are embedded, before base64

# What the page calls an audio file; a kept completion that names anything else is shown without sound.
_CLIP = re.compile(r"audio/[0-9a-f]{16}\.(wav|flac|ogg|mp3)")
_MIME = {"wav": "audio/wav", "flac": "audio/flac", "ogg": "audio/ogg", "mp3": "audio/mpeg"}
# Shown in the heading, where the recipe has them.
_FACTS = ("model", "corpus", "split", "mode", "loss", "curriculum", "learning_rate", "prompts_per_step", "group_size")
# Large figures at the top, where the run has them: the number's name, and whether it is shown as its latest value
# rather than the mean of the latest steps.
_TILES = (
    ("reward", False),
    ("reward_accuracy", False),
    ("eval_accuracy", True),
    ("loss", False),
    ("eval_loss", True),
    ("flat_groups", False),
    ("step_seconds", False),
    ("tokens_per_second", False),
    ("memory_peak_mib", True),
)


def render_page(run: Run, target: str | Path, *, audio_mib: float = AUDIO_MIB, text_mib: float = TEXT_MIB) -> str:
    """Return the page as HTML.

    Args:
        run: What to show.
        target: Where the page will lie: clips that are not embedded are linked from there.
        audio_mib: Bound on the clips that are embedded, in MiB.
        text_mib: Bound on the completions' text.
    """
    groups = _newest(run, text_mib)
    clips = _clips(run, groups, Path(target), audio_mib)
    every = points_per_mean(run)
    return render_html(
        "run",
        title=f"{KINDS[run.kind]} run {run.folder}",
        status=_status(run),
        finished=run.finished,
        facts={key.replace("_", " "): _fact(run.recipe[key]) for key in _FACTS if run.recipe.get(key) is not None},
        tiles=_tiles(run),
        troubles=run.troubles,
        shares=[(name, f"{share:.0%}") for name, share in phase_shares(run.timings).items()],
        curves={"panels": panels(run), "troubles": [row.get("step") for row in run.troubles], "steps": run.steps},
        every=every,
        completions={"groups": groups, "clips": clips},
        total=len(run.completions),
        shown=len(groups),
        embedded=sum("data" in clip for clip in clips.values()),
        linked=sum("link" in clip for clip in clips.values()),
        audio_mib=f"{audio_mib:g}",
        recipe={key: _fact(value) for key, value in run.recipe.items()},
    )


def write_page(run: Run, target: str | Path, *, audio_mib: float = AUDIO_MIB) -> Path:
    """Write the page beside its target, then rename it into place; return its path."""
    target = Path(target)
    text = render_page(run, target, audio_mib=audio_mib)
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, target)
    return target


def _status(run: Run) -> str:
    time = "" if run.seconds is None else f", {clock(run.seconds)} in steps"
    if run.finished:
        return f"finished: {run.step} steps{time}"
    return f"at step {run.step} of {run.steps}, not finished{time}"


def _fact(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _tiles(run: Run) -> list[dict[str, str]]:
    body = summary(run)
    figures = body["metrics"] | body["timings"]
    found = []
    for name, latest in _TILES:
        figure = figures.get(name)
        if figure is None or "last" not in figure:
            continue
        value = figure["latest" if latest else "last"]
        shown = "not finite" if value is None else short_number(value)
        note = _tile_note(name, latest, figure)
        if note.startswith("mean") and len(run.metrics) <= WINDOW:
            note = "mean of all steps"
        found.append({"name": label(name), "value": shown, "note": note})
    return found


def _tile_note(name: str, latest: bool, figure: dict[str, Any]) -> str:
    if name == "memory_peak_mib":
        return "highest so far"
    if latest:
        best = "min" if name == "eval_loss" else "max"
        return f"best {short_number(figure[best])}"
    return f"mean of the last {WINDOW}; first {short_number(figure['first'])}"


def _newest(run: Run, text_mib: float) -> list[dict[str, Any]]:
    """The kept questions that fit, those of the latest steps first."""
    left = text_mib * 2**20
    found = []
    for row in sorted(run.completions, key=lambda row: -row["step"]):
        left -= len(json.dumps(row))
        if left < 0:
            break
        found.append(row)
    return found


def _clips(run: Run, groups: list[dict[str, Any]], target: Path, audio_mib: float) -> dict[str, dict[str, str]]:
    """Of each clip its data, or a link to it where it is beyond the bound."""
    left = audio_mib * 2**20
    found: dict[str, dict[str, str]] = {}
    for row in groups:
        name = str(row.get("audio", ""))
        match = _CLIP.fullmatch(name)
        path = run.folder / COMPLETIONS / name
        if match is None or name in found or not path.is_file():
            continue
        size = path.stat().st_size
        if size <= left:
            left -= size
            body = base64.b64encode(path.read_bytes()).decode()
            found[name] = {"data": f"data:{_MIME[match[1]]};base64,{body}"}
        else:
            away = os.path.relpath(os.path.realpath(path), os.path.realpath(target.parent))
            found[name] = {"link": quote(Path(away).as_posix())}
    return found
