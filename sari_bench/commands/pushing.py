"""What ``sari-bench report --push-to-hub`` does once the boards are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sari_data.console import note, say
from sari_data.errors import InputError

if TYPE_CHECKING:
    from sari_bench.reporting.leaderboard import Board


def push_results(boards: Sequence[Board], repo: str | None, *, dry_run: bool, eval_task: str | None = None) -> None:
    """Write the results of one model's runs into its card on the Hub, and show what changes before it does.

    Args:
        boards: Boards whose runs are all of one model.
        repo: The model's repository; ``None``: the token's user's own of the model's name.
        eval_task: Also write a file below ``.eval_results`` for the benchmark's task of this id.
        dry_run: Print the metadata that would be written, and leave the Hub alone.

    Raises:
        InputError: The runs are of several models, a run is incomplete, or there is no such repository.
        StorageError: The Hub refused or cannot be reached.
    """
    from sari_bench.reporting.hub_results import (
        CARD,
        card_diff,
        eval_file,
        fetch_card,
        index_yaml,
        merge_index,
        push_files,
        result_of,
        update_card,
    )
    from sari_data.hub import find_repo, hub_api

    entries = [entry for board in boards for entry in board.entries]
    names = sorted({str(entry.run.meta["model"].get("name", "")) for entry in entries})
    if len(names) != 1:
        raise InputError(
            f"results go into the card of one model, and these runs are of {len(names)} ({', '.join(names)}): "
            "name the run folders of one"
        )
    results = [result_of(entry) for entry in entries]
    files = dict(eval_file(entry, eval_task) for entry in entries) if eval_task is not None else {}
    if dry_run:
        for path, text in files.items():
            say(f"# {path}\n{text.rstrip()}\n\n# {CARD}")
        say(index_yaml(merge_index(None, results, (repo or names[0]).rpartition("/")[2])).rstrip())
        note("nothing was written: this is what the card's metadata would gain")
        return
    api = hub_api()
    place = find_repo(repo, names[0], api)
    card, commit = fetch_card(place, api)
    changed = update_card(card, results, place.rpartition("/")[2])
    difference = card_diff(card, changed, place)
    if not difference and not files:
        note(f"the card of {place} has these results already")
        return
    note(difference)
    for path in files:
        note(f"and {path}")
    note(f"wrote the card of {push_files(place, {CARD: changed, **files}, commit, api)}")
