"""``sari-data view``: look at a corpus."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from sari_data.commands.arguments import FolderArgument, JsonOption
from sari_data.console import note, print_json, progress, say


def view(
    folder: FolderArgument,
    out: Annotated[Path | None, typer.Option(help="The page; without it FOLDER.html beside the folder.")] = None,
    rows: Annotated[int, typer.Option(help="Most questions on the page.", min=1)] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the choice, where there are more.", min=0)] = 0,
    split: Annotated[list[str] | None, typer.Option(help="Only this split. Repeatable.")] = None,
    audio: Annotated[str, typer.Option(help="small (mono MP3, 16 kHz), full (as in the corpus) or none.")] = "small",
    audio_mib: Annotated[float, typer.Option(help="Most MiB of clips on the page.", min=0)] = 64.0,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page of a corpus: listen to it, see its chains and pass rates, filter and search it."""
    from sari_data.errors import InputError
    from sari_data.html_clips import Audio
    from sari_data.view import write_view

    if audio not in get_args(Audio):
        raise InputError(f"expected --audio small, full or none, found {audio!r}")
    place = folder.resolve()
    target = place.with_name(f"{place.name}.html") if out is None else out
    if target.is_dir():
        raise InputError(f"--out {target}: expected a file for the page, found a folder: name a file in it")
    sound: Any = audio
    with progress("view") as advance:
        page = write_view(
            folder, target, rows=rows, seed=seed, splits=split or (), audio=sound, audio_mib=audio_mib, advance=advance
        )
    if as_json:
        print_json(asdict(page))
        return
    say(f"page: {target.resolve()}")
    said = [f"{page.rows} of {page.total} questions", f"{page.clips} clips", f"{page.size / 2**20:.1f} MiB"]
    if page.left_out:
        said.append(f"clips left out by --audio-mib {audio_mib:g}: {page.left_out}")
    if page.unreadable:
        said.append(f"clips that cannot be decoded: {page.unreadable}")
    note(", ".join(said) + "; open it in a browser")
