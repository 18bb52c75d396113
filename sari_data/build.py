"""Build a corpus: collect, caption, question, reason, split, calibrate, write with its card.

The stages are the functions that :func:`build` calls one after the other; each says what it did. A
source that knows the truth brings captions, questions and chains with it, and those stages then only
count them. The split comes before the calibration, because only questions of ``rl`` are calibrated:
the chains of ``sft`` are learnt as they are, and ``dev`` keeps the hard questions too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field

from sari_data.calibrate import (
    NEVER_PASSED,
    PASSED_UNHEARD,
    Calibrate,
    calibrated,
    measure,
    missing_for_local,
    open_responder,
    pick_responder,
    progress_total,
    side_split,
)
from sari_data.config import DEFAULT_RECIPE, Table, load_tables
from sari_data.console import note, progress
from sari_data.errors import CorpusError, InputError
from sari_data.prompting import load_mode
from sari_data.responder import Responder
from sari_data.sources import load_source
from sari_data.sources.scenes import Options as Scenes
from sari_data.splitting import has_chains, split_by_clip
from sari_data.store import check_target, read_manifest, read_split, write_corpus
from sari_data.types import DIFFICULTIES, DOMAINS, AudioQuestion

ABOUT = ("name", "source", "seed", "sari_version")
CARD = "cards/corpus.md.jinja"


class Build(Table):
    """``[build]``: which questions, and how they are parted.

    Args:
        source: Where questions come from; its options are the sub-table of the same name.
        out: The corpus folder.
        name: The corpus's name in its card and on the Hub; absent: the folder's name.
        seed: Seed of the source and of the split.
        sft: Questions with chains, for the warm-up.
        dev: Questions held out; ``rl`` gets the rest.
        scenes: Options of the source ``scenes``.
    """

    source: str = "scenes"
    out: str = "corpus"
    name: str | None = None
    seed: int = Field(default=0, ge=0)
    sft: int = Field(default=600, ge=0)
    dev: int = Field(default=200, ge=0)
    scenes: Scenes = Scenes()

    @property
    def corpus_name(self) -> str:
        """The name, or the folder's where none is given."""
        return self.name or Path(self.out).resolve().name


@dataclass(frozen=True, slots=True)
class Draft:
    """A corpus on its way: its questions by split, and what the calibration said."""

    splits: dict[str, list[AudioQuestion]]
    calibrations: tuple[dict[str, Any], ...] = ()


def build_from_recipe(
    recipe: str | Path | None, overrides: Sequence[str] = (), *, overwrite: bool = False
) -> dict[str, Any]:
    """Build the corpus that a recipe's ``[build]`` and ``[calibrate]`` describe; returns its manifest.

    Without a recipe it is the one called ``default``, as for ``sari-data build``.

    Raises:
        RecipeError: With every problem of both tables.
        SariError: As :func:`build`.
    """
    tables = load_tables(recipe or DEFAULT_RECIPE, {"build": Build, "calibrate": Calibrate}, overrides)
    return build(tables["build"], tables["calibrate"], overwrite=overwrite)


def build(table: Build, calibration: Calibrate, *, overwrite: bool = False) -> dict[str, Any]:
    """Build a corpus folder; on any error nothing is left of it.

    All questions with their audio are held in memory (about 100 kB for three seconds).

    Args:
        table: Which questions, and how they are parted.
        calibration: Who answers the questions of ``rl``.
        overwrite: Replace a corpus that is there.

    Returns:
        The manifest.

    Raises:
        InputError: The source is unknown, or has too few questions for the splits.
        CorpusError: The folder holds something that may not be replaced.
        StorageError: The disk is full, or the folder cannot be written.
    """
    target = check_target(table.out, overwrite=overwrite)
    responder = _open_calibration(calibration)
    questions = _collect(table)
    questions = _caption(questions)
    questions = _question(questions)
    questions = _reason(questions)
    draft = Draft(_split(questions, table))
    draft = _calibrate(draft, responder, calibration, table.out)
    recipe: dict[str, Any] = {"build": table.model_dump(mode="json"), "calibrate": calibration.model_dump(mode="json")}
    about: dict[str, Any] = {
        "name": table.corpus_name,
        "source": table.source,
        "seed": table.seed,
        "sari_version": sari_version(),
    }
    return write(target, draft, about, recipe, overwrite=overwrite)


def recalibrate(folder: str | Path, table: Calibrate) -> dict[str, Any]:
    """Add a pass rate to each question of ``rl`` and to those never passed, which may come back.

    The corpus is replaced as a whole when all is done; on any error it stays as it was.

    Returns:
        The new manifest; its last calibration is this one.

    Raises:
        MissingFileError: No such folder.
        CorpusError: It is no complete corpus, or has no ``rl``.
        InputError: No responder is named or installed.
    """
    manifest = read_manifest(folder)
    if pick_responder(table) is None:
        lacking = " and ".join(missing_for_local())
        why = f"{lacking} not installed, which the local responder needs" if lacking else "responder 'none'"
        raise InputError(f"expected a responder to calibrate with, found {why}: name one with --responder")
    splits = {split: read_split(folder, split) for split in manifest["splits"]}
    asked = [q for split in ("rl", NEVER_PASSED, PASSED_UNHEARD) for q in splits.get(split, ())]
    if not asked:
        raise CorpusError(f"{folder}: expected questions in the split rl to calibrate, found none: build it with some")
    responder = _open_calibration(table)
    assert responder is not None, "checked above"
    done, summary = _ask(asked, responder, table)
    splits |= _part(done, table)
    earlier = [c for c in manifest.get("calibrations", ()) if _same_run(c) != _same_run(summary)]
    about: dict[str, Any] = {
        key: manifest[key] for key in ("name", "source", "seed", "sari_version") if key in manifest
    }
    recipe: dict[str, Any] = manifest.get("recipe", {}) | {"calibrate": table.model_dump(mode="json")}
    return write(Path(folder), Draft(splits, (*earlier, summary)), about, recipe, overwrite=True)


def write(
    target: Path, draft: Draft, about: Mapping[str, Any], recipe: Mapping[str, Any], *, overwrite: bool
) -> dict[str, Any]:
    """Write a draft as a corpus folder with its card; returns the manifest."""
    splits = {s: found for s, found in draft.splits.items() if found or s not in (NEVER_PASSED, PASSED_UNHEARD)}
    everything = [question for found in splits.values() for question in found]
    manifest = {
        **about,
        "counts": {split: count(found) for split, found in splits.items()},
        "calibrated": bool(draft.calibrations),
        "calibrations": list(draft.calibrations),
        "licences": _tally(q.provenance.licence or "not stated" for q in everything),
        "made_by": _made_by(everything),
        "recipe": dict(recipe),
    }
    written = write_corpus(target, splits, manifest, card=render_card, overwrite=overwrite)
    note(f"write: {', '.join(f'{split} {len(found)}' for split, found in splits.items())} in {target}")
    return written


def render_card(manifest: Mapping[str, Any]) -> str:
    """Return the dataset card of a corpus with this manifest."""
    from sari_data.hub import licence_id
    from sari_data.prompting import render

    return render(CARD, manifest=manifest, licence=licence_id(manifest["licences"]), domains=DOMAINS) + "\n"


def count(questions: Sequence[AudioQuestion]) -> dict[str, Any]:
    """Count questions by domain and by difficulty."""
    return {
        "questions": len(questions),
        "domains": _tally((q.domain for q in questions), DOMAINS),
        "difficulties": _tally((q.difficulty or "not stated" for q in questions), DIFFICULTIES),
    }


def sari_version() -> str:
    """Return the version of the installed distribution."""
    from importlib.metadata import version

    return version("sari-audio")


def _collect(table: Build) -> list[AudioQuestion]:
    source = load_source(table.source)
    options: Any = getattr(table, table.source)
    found: dict[str, AudioQuestion] = {}
    repeats = 0
    with progress(f"collect from {table.source}") as advance:
        for question in source.generate(options, table.seed):
            assert isinstance(question, AudioQuestion)
            repeats += question.id in found
            found.setdefault(question.id, question)
            advance(1)
    questions = list(found.values())
    tally = ", ".join(f"{domain} {number}" for domain, number in count(questions)["domains"].items())
    dropped = f"; {repeats} exact repeats left out" if repeats else ""
    note(f"collect: {len(questions)} questions ({tally}) from source {table.source}, seed {table.seed}{dropped}")
    return questions


def _caption(questions: list[AudioQuestion]) -> list[AudioQuestion]:
    return _count_made(questions, "caption", "a caption", lambda q: q.caption is not None)


def _question(questions: list[AudioQuestion]) -> list[AudioQuestion]:
    return _count_made(questions, "question", "question, options and answer", lambda q: q.answer is not None)


def _reason(questions: list[AudioQuestion]) -> list[AudioQuestion]:
    return _count_made(questions, "reason", "chains of thought", has_chains)


def _count_made(
    questions: list[AudioQuestion], stage: str, what: str, made: Callable[[AudioQuestion], bool]
) -> list[AudioQuestion]:
    note(f"{stage}: {sum(map(made, questions))} of {len(questions)} brought {what} with them")
    return questions


def _split(questions: Sequence[AudioQuestion], table: Build) -> dict[str, list[AudioQuestion]]:
    splits = split_by_clip(questions, sft=table.sft, dev=table.dev, seed=table.seed)
    note(f"split: {', '.join(f'{name} {len(found)}' for name, found in splits.items())}; no clip is in two of them")
    return splits


def _open_calibration(table: Calibrate) -> Responder | None:
    """Open the responder before any work is done: a model that is not there is told at once."""
    load_mode(table.mode)
    name = pick_responder(table)
    return None if name is None else open_responder(name, table)


def _calibrate(draft: Draft, responder: Responder | None, table: Calibrate, folder: str) -> Draft:
    if responder is None or not draft.splits["rl"]:
        lacking = missing_for_local() if table.responder == "auto" else []
        if lacking:
            why = f"{' and '.join(lacking)} not installed"
        else:
            why = "no question in rl" if responder else "calibrate.responder is 'none'"
        note(f"calibrate: skipped ({why}); do it later with `sari-data calibrate {folder}`")
        return draft
    done, summary = _ask(draft.splits["rl"], responder, table)
    return replace(draft, splits={**draft.splits, **_part(done, table)}, calibrations=(summary,))


def _part(questions: Sequence[AudioQuestion], table: Calibrate) -> dict[str, list[AudioQuestion]]:
    """Part calibrated questions into ``rl`` and the side files."""
    parts: dict[str, list[AudioQuestion]] = {"rl": [], NEVER_PASSED: [], PASSED_UNHEARD: []}
    for question in questions:
        parts[side_split(question, table) or "rl"].append(question)
    return parts


def _ask(
    questions: Sequence[AudioQuestion], responder: Responder, table: Calibrate
) -> tuple[list[AudioQuestion], dict[str, Any]]:
    how = f"{table.samples} samples each" if table.method == "fixed" else "as many samples as their bands take"
    note(
        f"calibrate: asking {responder.name} (responder {pick_responder(table)}) {len(questions)} questions, "
        f"{how}, mode {table.mode}"
    )
    with progress("calibrate", total=progress_total(table, len(questions))) as advance:
        found = measure(questions, responder, table, advance)
    done, summary = [calibrated(question, found) for question in questions], found.summary
    fate = "moved to the side file never_passed" if table.drop_never_passed else "kept in rl"
    note(f"calibrate: mean pass rate {summary['mean_pass_rate']}; {summary['never_passed']} never passed, {fate}")
    return done, summary


def _same_run(summary: Mapping[str, Any]) -> tuple[Any, ...]:
    return summary["responder"], summary["mode"], summary["seed"]


def _tally(values: Any, order: Sequence[str] = ()) -> dict[str, int]:
    found = Counter(values)
    return {key: found[key] for key in sorted(found, key=lambda k: (order.index(k) if k in order else len(order), k))}


def _made_by(questions: Sequence[AudioQuestion]) -> dict[str, dict[str, int]]:
    """Field to how it was made to the number of questions, without what follows the last ``/``."""
    made: dict[str, Counter[str]] = {}
    for question in questions:
        for name, how in question.provenance.made_by.items():
            made.setdefault(name, Counter())[how.rpartition("/")[0] or how] += 1
    return {name: dict(sorted(found.items())) for name, found in sorted(made.items())}
