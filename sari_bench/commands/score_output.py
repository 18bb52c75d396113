"""What ``sari-bench score`` prints and writes: figures side by side, disagreements, changed verdicts."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from sari_bench.changes import Change, changes, counts
from sari_bench.commands.output import check_apart, print_score, print_table, write_text
from sari_bench.csvfiles import csv_text
from sari_bench.reporting.report import cell
from sari_bench.scoring import Disagreement, Score, honest_of
from sari_bench.scoring import disagreements as find_disagreements
from sari_bench.statistics.metrics import Tally
from sari_bench.statistics.voting import score_json
from sari_data.console import json_text, note, print_json, say
from sari_data.errors import InputError

_FEW = 5  # disagreements shown
_PAIR = 2
_CLIP = 160  # characters of a response shown

Scores = Mapping[str, Mapping[str, Score]]  # by version, then by scorer


def check_path(option: str, path: str, as_json: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Raise InputError where rows cannot be written as asked, or would replace one of the ``inputs``."""
    if path == "-":
        if as_json:
            raise InputError(f"{option} - and --json both write to standard output: give {option} a file")
    elif Path(path).suffix not in (".csv", ".jsonl"):
        raise InputError(f"{option} {path}: expected a name that ends in .csv or .jsonl, or - for standard output")
    else:
        check_apart(option, Path(path), inputs)


def report(scores: Scores, *, disagreements: str | None, changes: str | None, as_json: bool) -> None:
    """Print scores by version and scorer, and write the lists that were asked for.

    Args:
        scores: Scores by version, then by scorer.
        disagreements: Where the answers go on which scorers differ.
        changes: Where the questions go whose verdict differs between revisions.
        as_json: Print one JSON object instead of tables.
    """
    differing = {version: find_disagreements(by) for version, by in scores.items() if len(by) > 1}
    moved = _changes(scores)
    if disagreements is not None:
        several = len(scores) > 1
        rows = ((({"version": v} if several else {}) | one.to_json()) for v, all_ in differing.items() for one in all_)
        write_rows(disagreements, rows)
    if changes is not None:
        write_rows(changes, ({"from": a, "to": b} | one.to_json() for (a, b), all_ in moved for one in all_))
    if as_json:
        print_json(_body(scores, differing if disagreements is not None else {}, moved))
    elif "-" not in (disagreements, changes):
        _print(scores, differing, moved)


def _changes(scores: Scores) -> list[tuple[tuple[str, str], list[Change]]]:
    """Return the changed verdicts between each revision and the next, scorer by scorer."""
    found = []
    for a, b in pairwise(scores):
        found += [((a, b), changes(scores[a][name], scores[b][name])) for name in scores[a]]
    return found


def _body(
    scores: Scores,
    differing: Mapping[str, list[Disagreement]],
    moved: Sequence[tuple[tuple[str, str], list[Change]]],
) -> dict[str, Any]:
    """One revision and scorer: the score itself. Several scorers: one entry each. Several revisions: by version."""
    bodies: dict[str, Any] = {}
    for version, by in scores.items():
        body: dict[str, Any] = {name: score_json(one) for name, one in by.items()}
        if version in differing:
            body["disagreements"] = _counts_by_pair(by, differing[version])
        bodies[version] = body
    if len(bodies) > 1:
        listed = [
            {"from": a, "to": b, "scorer": scorer, **counts(found), "questions": [one.to_json() for one in found]}
            for ((a, b), found), scorer in zip(moved, _scorers(scores) * (len(scores) - 1), strict=True)
        ]
        return {"revisions": bodies, "changes": listed}
    only: dict[str, Any] = next(iter(bodies.values()))
    return only if len(only) > 1 else next(iter(only.values()))


def _scorers(scores: Scores) -> list[str]:
    return list(next(iter(scores.values())))


def _counts_by_pair(by: Mapping[str, Score], found: Sequence[Disagreement]) -> dict[str, Any]:
    """Count the answers on which each two scorers differ, and those of which only one is right."""
    pairs = []
    for a, b in combinations(by, 2):
        both = [(one.outcomes[a], one.outcomes[b]) for one in found if one.outcomes[a] != one.outcomes[b]]
        about_right = sum("correct" in pair for pair in both)
        pairs.append({"scorers": [a, b], "answers": len(both), "about_right": about_right})
    about_right = sum(one.about_right for one in found)
    return {"answers": len(found), "about_right": about_right, "pairs": pairs}


def _print(
    scores: Scores,
    differing: Mapping[str, list[Disagreement]],
    moved: Sequence[tuple[tuple[str, str], list[Change]]],
) -> None:
    benchmark = next(one.benchmark for by in scores.values() for one in by.values())
    several = len(scores) > 1
    for version, by in {} if several else scores.items():
        for name, one in by.items() if not differing else ():
            print_score(one, f"{benchmark} ({version}), scorer {name}")
        if differing:
            print_table(f"{benchmark} ({version}), accuracy in percent by each scorer", *group_rows(by))
            print_table("outcomes", *outcome_rows(by))
    if several or differing:
        header, rows = side_by_side(scores)
        title = f"{benchmark}, scorers side by side"
        print_table(title, header if several else [header[0], "correct / n = %"], rows)
    for version, found in differing.items():
        _print_disagreements(f"{version}: " if several else "", scores[version], found)
    for ((a, b), changed), scorer in zip(moved, _scorers(scores) * (len(scores) - 1), strict=True):
        say(f"{a} to {b}, {scorer}: the verdict changed on {len(changed):,} questions")
        for heading, numbers in counts(changed).items():
            if numbers:
                say(f"  {heading}: " + "; ".join(f"{what} {count:,}" for what, count in numbers.items()))
    if several or differing:
        for version, by in scores.items():
            for sentence in dict.fromkeys(sentence for one in by.values() for sentence in one.notes):
                note(f"note: {version}: {sentence}" if several else f"note: {sentence}")


def group_rows(by: Mapping[str, Score]) -> tuple[list[str], list[list[str]]]:
    """Return a table of every group against every scorer; a total that leaves answers out has its own n beside it."""
    first = next(iter(by.values()))
    columns: list[tuple[str, bool]] = []
    for name, one in by.items():
        columns += [(name, False), *([(name, True)] if one.drops_missing and one.overall.outcomes["missing"] else [])]

    def row(name: str, dimension: str, group: str) -> list[str]:
        parts = {scorer: one.by[dimension][group] if dimension else one.overall for scorer, one in by.items()}
        due = sum(next(iter(parts.values())).outcomes.values())
        return [name, str(due), *(str(parts[s].n) if is_n else cell(parts[s].accuracy) for s, is_n in columns)]

    rows = [row("all", "", "")]
    for dimension, groups in first.by.items():
        rows.append([f"by {dimension}", *[""] * (len(columns) + 1)])
        rows += [row(f"  {group}", dimension, group) for group in groups]
    return ["", "n", *(f"n of {name}" if is_n else name for name, is_n in columns)], rows


def outcome_rows(by: Mapping[str, Score]) -> tuple[list[str], list[list[str]]]:
    """Return a table of every scorer against the outcomes of every answer that was due."""
    names = list(dict.fromkeys(name for one in by.values() for name in one.honest.outcomes))
    rows = [[name, *(str(one.honest.outcomes.get(outcome, 0)) for outcome in names)] for name, one in by.items()]
    return ["scorer", *names], rows


def side_by_side(scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Return a table of every scorer against every revision; a total that leaves answers out has a second row."""
    rows = []
    for name in _scorers(scores):
        column = [by[name] for by in scores.values()]
        rows.append([name, *(_figure(one.overall) for one in column)])
        if any(one.drops_missing for one in column):
            rows.append([f"{name}, over all questions", *(_figure(honest_of(one.honest)) for one in column)])
    return ["scorer", *scores], rows


def _figure(part: Tally) -> str:
    return f"{part.correct} / {part.n} = {cell(part.accuracy)}"


def _print_disagreements(prefix: str, by: Mapping[str, Score], found: Sequence[Disagreement]) -> None:
    total = len(next(iter(by.values())).items)
    for pair in _counts_by_pair(by, found)["pairs"]:
        a, b = pair["scorers"]
        say(
            f"{prefix}{a} and {b} differ on {pair['answers']:,} of {total:,} answers, "
            f"on {pair['about_right']:,} in whether they are right"
        )
    # Who reads only letters differs on nearly everything: the few that are shown are those on which the others differ.
    telling = [name for name in by if name != "letter"] if len(by) > _PAIR else list(by)
    shown = [one for one in found if len({one.outcomes[name] == "correct" for name in telling}) > 1][:_FEW]
    for one in shown:
        read = "; ".join(f"{name}: {one.outcomes[name]} ({one.readings[name]})" for name in one.outcomes)
        say(f"  {one.gold.id}: {read}")
        said = " ".join((one.answer.text or "").split())
        say(f"    right: {one.gold.answer}; response: {said[:_CLIP]}{'...' if len(said) > _CLIP else ''}")
    if len(found) > len(shown) > 0:
        note(f"{len(shown)} of {len(found):,} shown; --disagreements FILE.csv writes all of them")


def write_rows(path: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write flat rows as CSV or JSONL, by the name's ending; ``-`` prints JSONL.

    Raises:
        StorageError: The file cannot be written.
    """
    listed = list(rows)
    if path == "-" or path.endswith(".jsonl"):
        text = "".join(json_text(row) + "\n" for row in listed)
        if path == "-":
            sys.stdout.write(text)
            return
    else:
        text = csv_text(list(dict.fromkeys(key for row in listed for key in row)), listed)
    write_text(Path(path), text)
