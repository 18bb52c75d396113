"""``sari-data push``: a corpus that is there, up to the Hub."""

from __future__ import annotations

from typing import Annotated

import typer

from sari_data.commands.arguments import AllowContaminatedOption, AudioFormOption, FolderArgument, JsonOption
from sari_data.console import note, print_json, say


def push(
    folder: FolderArgument,
    repo: Annotated[
        str | None, typer.Argument(metavar="[REPO]", help="OWNER/NAME or NAME; default USER/NAME of the corpus.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    audio: AudioFormOption = "shareable",
    allow_contaminated: AllowContaminatedOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload a corpus as a dataset; stopped or cut off, the same command goes on where it was."""
    from sari_data.hub import find_repo
    from sari_data.publishing import check_audio, publish
    from sari_data.store import read_manifest

    check_audio(audio)
    manifest = read_manifest(folder)
    target = find_repo(repo, str(manifest.get("name") or folder.resolve().name))
    note(f"pushing {folder} to {target}")
    url = publish(folder, target, private=private, audio=audio, allow_contaminated=allow_contaminated)
    if as_json:
        print_json({"folder": str(folder.resolve()), "repo": target, "url": url})
    else:
        say(f"dataset: {url}")
