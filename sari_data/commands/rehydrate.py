"""``sari-data rehydrate``: find the audio of a corpus that was published without it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sari_data.commands.arguments import FolderArgument, JsonOption
from sari_data.console import note, print_json, say

_SHOWN = 10


def rehydrate(
    folder: FolderArgument,
    audio: Annotated[
        list[Path], typer.Option("--audio", metavar="FOLDER", help="Where the audio is, with subfolders. Repeatable.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="The whole corpus; default FOLDER-whole.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Take only the bytes that the corpus was built from.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a corpus that is there.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a corpus with its audio inside, found in local folders by name or by YouTube id and segment."""
    from sari_data.rehydrate import rehydrate

    target = out or folder.resolve().with_name(f"{folder.resolve().name}-whole")
    found = rehydrate(folder, audio, target, exact=exact, overwrite=overwrite)
    if as_json:
        counts = {"same_bytes": found.same, "other_bytes": found.other, "missing": found.missing}
        print_json({"folder": str(target.resolve()), **counts})
        return
    for id_, reason in list(found.missing.items())[:_SHOWN]:
        say(f"question {id_!r}: {reason}")
    if len(found.missing) > _SHOWN:
        say(f"... and {len(found.missing) - _SHOWN} more; --json lists all")
    reasons = ", ".join(f"{number} {reason}" for reason, number in found.reasons.items())
    say(
        f"audio found for {found.same + found.other} questions ({found.same} the same bytes, {found.other} of the same "
        f"length in other bytes), not for {len(found.missing)}" + (f" ({reasons})" if reasons else "")
    )
    say(f"corpus: {target}")
    if found.missing:
        note("questions without audio are in side files *_without_audio; rehydrate that corpus when you have more")
