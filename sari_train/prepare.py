"""What a bare command makes for itself, and says so: the corpus and the warm-up."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Sequence
from pathlib import Path

from sari_data.console import note
from sari_data.errors import CheckpointError
from sari_data.store import read_split
from sari_train.checkpoint import FREE_KEYS, finished
from sari_train.config import Grpo, Sft
from sari_train.curriculum import check_curriculum
from sari_train.distributed import ALONE, World
from sari_train.publication import settle
from sari_train.run_files import RECIPE
from sari_train.run_folder import OLD_STATE, check_out, is_model, is_run, storing
from sari_train.sft import train_sft


def ensure_corpus(corpus: str, recipe: str | None, overrides: Sequence[str], world: World = ALONE) -> None:
    """Build the corpus where the folder named is the default one and is not there yet; one process does it for all.

    A corpus that was named but does not exist is left to the reader's error.
    """
    folder = Path(corpus)
    with world.main_first():
        if folder.exists() or corpus != "corpus":
            return
        from sari_data.build import build_from_recipe

        what = f"recipe {recipe}" if recipe else "the embedded default, composed scenes"
        note(f"no corpus in {folder.resolve()}: building it from {what}, as `sari-data build` would")
        build_from_recipe(recipe, overrides)


def ensure_warm_up(table: Grpo, sft: Sft, world: World = ALONE) -> bool:
    """Run the SFT that GRPO starts from, where that is ``[sft]``'s output and is not finished yet; all take part.

    Returns:
        False where Ctrl-C stopped it.

    Raises:
        SariError: The warm-up cannot run, or GRPO could not after it.
    """
    if Path(table.model) != Path(sft.out):
        return True
    out = Path(os.path.realpath(sft.out))
    with world.main_first(), storing(f"the output folder {out}"):
        settle(out)  # a warm-up that was killed at its end may have left its model half published
    if finished(sft):
        _tell_other_recipe(sft)
        return True
    if is_model(out) and not is_run(out) and not (out / OLD_STATE).is_file():
        return True  # a model that somebody put there
    check_out(sft)
    # What GRPO itself would refuse is refused before the warm-up has taken its minutes.
    check_out(table)
    questions = read_split(table.corpus, table.split)
    check_curriculum(questions, curriculum=table.curriculum, mode=table.mode, calibration=table.calibration)
    note(f"no finished warm-up in {sft.out}: running `sari-train sft` from model {sft.model} first")
    outcome = train_sft(sft, world=world)
    gc.collect()  # GRPO needs the room: model and optimizer are in cycles, which else go at some later time
    if outcome.trouble:
        raise CheckpointError(
            f"the warm-up stopped after step {outcome.step}: {outcome.trouble}; it goes on with `sari-train sft` and "
            'on_trouble = "go_on"'
        )
    return not outcome.stopped


def _tell_other_recipe(sft: Sft) -> None:
    """A finished warm-up is taken as it is; where it was another one than ``[sft]`` describes, say so.

    Raises:
        CheckpointError: Its recipe cannot be read.
    """
    file = Path(sft.out) / RECIPE
    if not file.is_file():
        return
    try:
        made = Sft.model_validate(json.loads(file.read_text(encoding="utf-8"))["sft"]).model_dump(mode="json")
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"the warm-up's recipe {file} cannot be read ({type(error).__name__}): run `sari-train sft --overwrite`"
        ) from error
    asked = sft.model_dump(mode="json")
    other = [f"{key} = {made[key]!r}" for key in asked if key not in FREE_KEYS and made[key] != asked[key]]
    if other:
        note(f"the warm-up in {sft.out} was made with {', '.join(other)} and not as [sft] says: using it as it is")
