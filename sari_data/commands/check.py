"""``sari-data check``: is a corpus sound?"""

from __future__ import annotations

import typer

from sari_data.commands.arguments import FolderArgument, JsonOption
from sari_data.console import print_json, say


def check(folder: FolderArgument, as_json: JsonOption = False) -> None:
    """Check a corpus: files, hashes, every row, every clip's audio, and that no clip of dev is trained on."""
    from sari_data.store import check_corpus, read_manifest

    problems = check_corpus(folder)
    manifest = read_manifest(folder)
    if as_json:
        print_json({"folder": str(folder.resolve()), "sound": not problems, "problems": problems})
    else:
        rows = sum(split["rows"] for split in manifest["splits"].values())
        for problem in problems:
            say(f"problem: {problem}")
        verdict = f"{len(problems)} found" if problems else "none found"
        say(f"{folder}: {rows} questions in {len(manifest['files'])} files; problems: {verdict}")
    if problems:
        raise typer.Exit(1)
