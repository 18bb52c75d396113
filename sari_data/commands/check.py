"""``sari-data check``: is a corpus sound, and is a benchmark in it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sari_data.commands.arguments import FolderArgument, JsonOption, RecipeArgument, SetOption
from sari_data.console import note, out, print_json, progress, say

if TYPE_CHECKING:
    from sari_data.dedup import Against, Dedup

AgainstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--against",
        metavar="PATH",
        help="A benchmark that must not be in it: questions (JSON, JSONL, CSV, Parquet), a corpus, or a folder of "
        "audio. Repeatable.",
    ),
]
AudioOption = Annotated[
    list[str] | None,
    typer.Option(
        "--audio-of",
        metavar="PATH=FOLDER",
        help="Where the audio of that benchmark is; FOLDER alone where there is one benchmark. Repeatable.",
    ),
]


def check(
    folder: FolderArgument,
    recipe: RecipeArgument = None,
    set_: SetOption = None,
    against: AgainstOption = None,
    audio_of: AudioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a corpus: files, rows, audio, that no clip of dev is trained on, and that no benchmark is in it.

    A recipe names benchmarks and thresholds in its table dedup.
    """
    from sari_data.card import is_rehearsal
    from sari_data.config import load_tables
    from sari_data.dedup import Dedup, contamination
    from sari_data.references import check_against
    from sari_data.store import check_corpus, read_manifest

    table: Dedup = load_tables(recipe, {"dedup": Dedup}, set_ or ())["dedup"]
    benchmarks = _benchmarks(against or (), audio_of or (), table)
    for benchmark in benchmarks:
        check_against(benchmark)
    problems = check_corpus(folder)
    manifest = read_manifest(folder)
    rows = sum(split["rows"] for split in manifest["splits"].values())
    report: Mapping[str, Any] | None = None
    if benchmarks and problems:
        note("the corpus is not sound, so it was not compared with a benchmark")
    elif benchmarks:
        note(f"comparing {rows} questions with {', '.join(b.title for b in benchmarks)}")
        with progress("compare", total=rows) as advance:
            report = contamination(folder, benchmarks, table, advance).summary
    contaminated = report is not None and report["contaminated"] > 0
    if as_json:
        found: dict[str, Any] = {"folder": str(folder.resolve()), "sound": not problems, "problems": problems}
        print_json(found | ({"contamination": report} if benchmarks else {}))
    else:
        for problem in problems:
            say(f"problem: {problem}")
        bare = manifest.get("without_audio", 0)
        told = f", {bare} without audio as the manifest says" if bare else ""
        verdict = f"{len(problems)} found" if problems else "none found"
        say(f"{folder}: {rows} questions in {len(manifest['files'])} files{told}; problems: {verdict}")
        if is_rehearsal(manifest):
            say("it is a rehearsal: no model wrote its texts, so it is nothing to train on or to push")
        if report is not None:
            print_contamination(report)
    if problems or contaminated:
        raise typer.Exit(1)


def print_contamination(report: Mapping[str, Any]) -> None:
    """Print the report of :func:`sari_data.dedup.contamination` or of a build."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("benchmark", "questions", "texts", "segments", "sounds", "found", "only reported")
    table.columns[0].overflow = "fold"
    for found in report["against"]:
        compared, other = found["compared"], sum(found["only_reported"].values())
        numbers = (found["questions"], compared["texts"], compared["segments"], compared["sounds"])
        table.add_row(escape(found["name"]), *map(str, numbers), str(found["contaminated"]), str(other))
    out.print(table)
    for found in report["against"]:
        for heading in ("by_kind", "only_reported"):
            if found[heading]:
                counts = ", ".join(f"{kind.replace('_', ' ')} {count}" for kind, count in found[heading].items())
                say(f"{found['name']}: {heading.replace('_', ' ')}: {counts}")
        for text in found["notes"]:
            say(f"{found['name']}: {text}")
    compared = report["compared"]
    if compared.get("unreadable"):
        say(f"{compared['unreadable']} clips could not be read: {compared['unreadable_examples'][0]}")
    for example in report["examples"]:
        say(f"  {example}")
    say(f"contaminated: {report['contaminated_found']} of {report['questions']} questions")


def _benchmarks(paths: Sequence[str], audio_of: Sequence[str], table: Dedup) -> tuple[Against, ...]:
    from sari_data.dedup import Against
    from sari_data.errors import InputError

    if not paths:
        if audio_of:
            raise InputError("--audio-of names the audio of a benchmark, found no --against: name the benchmark too")
        return table.against
    folders: dict[str, str] = {}
    for given in audio_of:
        path, separator, folder = given.partition("=")
        if not separator and len(paths) == 1:
            path, folder = paths[0], given
        if path not in paths or not folder:
            raise InputError(
                f"--audio-of {given}: expected PATH=FOLDER with a PATH that --against names, found "
                f"{', '.join(paths)} there: correct one of them"
            )
        folders[path] = folder
    return tuple(Against(path=path, audio=folders.get(path)) for path in dict.fromkeys(paths))
