"""Calibrate a corpus that is there: another responder, mode or seed, or the same again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sari_data import stages
from sari_data.build import write
from sari_data.calibrate import Calibrate, missing_for_local, open_calibration, pick_responder
from sari_data.errors import CorpusError, InputError
from sari_data.funnel import Funnel
from sari_data.probing import check_responders
from sari_data.scratch import Scratch
from sari_data.store import check_target, iter_split, read_manifest, read_set_aside

# What is written anew of a manifest; the rest is kept.
_WRITTEN = ("format", "format_version", "embedded", "splits", "files", "set_aside")
_COUNTED = ("calibrated", "calibrations", "recipe")


def recalibrate(folder: str | Path, table: Calibrate) -> dict[str, Any]:
    """Add a pass rate to each question of ``rl`` and to those taken out of it before, which may come back.

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
    if table.responder == "auto" and table.model is None and manifest.get("source") != "scenes":
        raise InputError(
            "expected a responder to calibrate with, found none named, and the embedded model has only ever heard "
            "composed scenes: name one with --responder and --model"
        )
    rows = {split: found["rows"] for split, found in manifest["splits"].items()}
    if not sum(rows.get(split, 0) for split in ("rl", *stages.SIDES)):
        raise CorpusError(f"{folder}: expected questions in the split rl to calibrate, found none: build it with some")
    responder = open_calibration(table)
    assert responder is not None, "checked above"
    check_responders([responder])
    with Scratch(check_target(folder, overwrite=True)) as scratch:
        for split in rows:
            ids = []
            for question in iter_split(folder, split):
                scratch.add(question)
                ids.append(question.id)
            scratch.assign(split, ids)
        summary = stages.rate(scratch, Funnel(), responder, table)
        earlier = [c for c in manifest.get("calibrations", ()) if _same_run(c) != _same_run(summary)]
        about = {key: value for key, value in manifest.items() if key not in (*_WRITTEN, *_COUNTED)}
        recipe = manifest.get("recipe", {}) | {"calibrate": table.model_dump(mode="json")}
        for line in read_set_aside(folder):
            scratch.keep_aside(line)
        return write(
            Path(folder), scratch, about, [*earlier, summary], recipe, overwrite=True, embed=manifest["embedded"]
        )


def _same_run(summary: Mapping[str, Any]) -> tuple[Any, ...]:
    return summary["responder"], summary["mode"], summary["seed"]
