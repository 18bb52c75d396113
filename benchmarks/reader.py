"""How much of what real models answered the reader reads, and how much of that is right, against labels by hand.

    python -m benchmarks.reader ../shared/data/mmau --list

The folder holds the questions (``mmau-test-mini.v03.25.25.json``) and real predictions
(``predictions/<model>.json``). ``reader_labels.json`` beside this file says, for every prediction that is not
an option to the letter, which option a careful person reads in it ("none", "refuses" where there is no such).
The rules were written on the half of the ids whose SHA-256 is even; the other half was labelled and looked at
only when they were finished. "Strict" is what the reader reads without prose: a section or a text that is an option.

``reader_blind.json`` holds responses in the manner of other models (hedged, listing and eliminating options, thinking
aloud, correcting themselves, refusing, cut, misspelt), written and labelled before the reader saw them; those of set 3
mostly give their option in words of their own, those of sets 4 and 5 as it comes. Their questions are those of MMAU
(``mmau-test-mini.v05.15.25.json``) and MMAR (``--mmar``), named by id.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

from benchmarks import machine
from sari_bench.statistics.metrics import wilson
from sari_data.answers import Reading, read_response

LABELS = Path(__file__).with_name("reader_labels.json")
BLIND = Path(__file__).with_name("reader_blind.json")
BLIND_QUESTIONS = "mmau-test-mini.v05.15.25.json"
QUESTIONS = "mmau-test-mini.v03.25.25.json"
HALVES = ("developed on", "held out")
TIMED = 10_000
# What a thinking model writes before it concludes; names no option of any question.
FILLER = (
    "The recording starts quietly and grows louder after a few moments. I listen for what stands out in the middle "
    "part, where the level rises twice and falls again. "
)


def half(identifier: str) -> str:
    """Return which half of the questions an id belongs to."""
    return HALVES[int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % 2]


def readings(folder: Path) -> list[dict[str, Any]]:
    """Return every prediction with its label and its reading; verbatim options are their own label."""
    questions = {row["id"]: row for row in json.loads((folder / QUESTIONS).read_text(encoding="utf-8"))}
    labels = json.loads(LABELS.read_text(encoding="utf-8"))
    found = []
    for path in sorted((folder / "predictions").glob("*.json")):
        for row in json.loads(path.read_text(encoding="utf-8")):
            said = next((row[key] for key in ("model_prediction", "model_output") if row.get(key) is not None), None)
            choices = questions[row["id"]]["choices"]
            if said is None:
                continue
            verbatim = said in choices
            label = choices.index(said) if verbatim else labels.get(path.stem, {}).get(row["id"])
            found.append(
                {
                    "model": path.stem,
                    "id": row["id"],
                    "half": half(row["id"]),
                    "said": said,
                    "choices": choices,
                    "verbatim": verbatim,
                    "label": label,
                    "reading": read_response(said, choices),
                }
            )
    return found


def blind_readings(folder: Path, mmar: Path) -> list[dict[str, Any]]:
    """Return every written response with its label and its reading; none where a file of questions is absent."""
    mmau = folder / BLIND_QUESTIONS
    if not (mmau.is_file() and mmar.is_file()):
        return []
    questions = {("mmau", row["id"]): row for row in json.loads(mmau.read_text(encoding="utf-8"))}
    for line in mmar.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        questions["mmar", row["id"]] = row
    found = []
    for row in json.loads(BLIND.read_text(encoding="utf-8")):
        choices = questions[row["benchmark"], row["question"]]["choices"]
        reading = read_response(row["text"], choices, finish_reason=row.get("finish_reason", "stop"))
        found.append({**row, "said": row["text"], "choices": choices, "reading": reading})
    return found


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of a group of predictions, for the reader and for the strict one."""
    concluding = [r for r in rows if isinstance(r["label"], int)]
    result: dict[str, Any] = {"answers": len(rows), "concluding": len(concluding)}
    for name, strict in (("reader", False), ("strict", True)):
        read = [r for r in rows if _choice(r["reading"], strict) is not None]
        right = sum(_same(r, _choice(r["reading"], strict)) for r in read)
        of_concluding = sum(_choice(r["reading"], strict) is not None for r in concluding)
        result[name] = {
            "read": len(read),
            "share_read": [of_concluding, len(concluding), *_interval(of_concluding, len(concluding))],
            "share_right": [right, len(read), *_interval(right, len(read))],
        }
    return result


def _interval(count: int, total: int) -> tuple[float, float]:
    return wilson(count, total) if total else (0.0, 1.0)


def _choice(reading: Reading, strict: bool) -> int | None:
    return None if strict and reading.how == "conclusion" else reading.choice


def _same(row: dict[str, Any], choice: int | None) -> bool:
    label = row["label"]
    return isinstance(label, int) and choice is not None and row["choices"][label] == row["choices"][choice]


def disagreements(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the predictions whose reading is not their label, those that were not read among them."""
    return [
        r
        for r in rows
        if (isinstance(r["label"], int) or r["reading"].choice is not None) and not _same(r, r["reading"].choice)
    ]


def seconds(rows: list[dict[str, Any]]) -> float:
    """Return the seconds that 10,000 responses take: the predictions as they are and after 0 to 1,800 characters."""
    todo = []
    for i in range(TIMED):
        row = rows[i % len(rows)]
        todo.append(
            ((FILLER * 13)[: (i * 37) % 1800].rpartition(".")[0] + ". " * (i > 0) + row["said"], row["choices"])
        )
    begin = time.process_time()
    for text, choices in todo:
        read_response(text, choices)
    return time.process_time() - begin


def main() -> None:
    """Print the figures of every model and half."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--mmar", type=Path, help="MMAR-meta.jsonl; ../mmar/MMAR-meta.jsonl beside the folder if absent"
    )
    parser.add_argument("--list", action="store_true", help="list the predictions that are not read as labelled")
    parser.add_argument("--half", choices=HALVES, help="this half alone")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = [r for r in readings(arguments.folder) if arguments.half in (None, r["half"])]
    unlabelled = [r for r in rows if r["label"] is None]
    groups: dict[str, list[dict[str, Any]]] = {}
    for r in rows:
        if r["label"] is None:
            continue
        for model in (r["model"], "both"):
            groups.setdefault(f"{r['half']}, {model}, all answers", []).append(r)
            if not r["verbatim"]:
                groups.setdefault(f"{r['half']}, {model}, not verbatim", []).append(r)
    report = {name: figures(part) for name, part in sorted(groups.items())}
    taken = seconds(rows)
    written = blind_readings(arguments.folder, arguments.mmar or arguments.folder.parent / "mmar" / "MMAR-meta.jsonl")
    blind: dict[str, list[dict[str, Any]]] = {}
    for r in written:
        for style in (r["style"], "all styles"):
            blind.setdefault(f"set {r['set']}, {style}", []).append(r)
    blind_report = {name: {**figures(part), "guessed": guessed(part)} for name, part in sorted(blind.items())}
    if arguments.json:
        body = {"machine": machine.describe(), "groups": report, "unlabelled": len(unlabelled), "blind": blind_report}
        print(json.dumps({**body, "seconds_for_10000": round(taken, 3)}, indent=2))
        return
    print(machine.line(machine.command()))
    print(
        "\n| half, model, answers | answers | that conclude | read of them | right of what is read "
        "| strict: read | right |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, f in report.items():
        cells = [_share(f[kind][share]) for kind in ("reader", "strict") for share in ("share_read", "share_right")]
        print(f"| {name} | {f['answers']} | {f['concluding']} | {' | '.join(cells)} |")
    _print_blind(blind_report)
    print(f"\n{TIMED:,} responses of up to 1,900 characters: {taken:.2f} s")
    if unlabelled:
        print(f"{len(unlabelled)} predictions have no label and are left out")
    if arguments.list:
        for r in disagreements([r for r in rows if r["label"] is not None]):
            print(f"\n{r['half']}, {r['model']}, {r['id']}: labelled {r['label']}, read {r['reading'].choice}")
            print(f"  {dict(enumerate(r['choices']))}\n  {r['said']!r} ({r['reading'].reason or r['reading'].how})")
        for r in disagreements(written):
            print(f"\nset {r['set']}, {r['style']}, {r['question']}: labelled {r['label']}, read {r['reading'].choice}")
            print(f"  {dict(enumerate(r['choices']))}\n  {r['said']!r} ({r['reading'].reason or r['reading'].how})")


def guessed(rows: list[dict[str, Any]]) -> int:
    """Return how many responses that conclude nothing were read as an option."""
    return sum(not isinstance(r["label"], int) and r["reading"].choice is not None for r in rows)


def _print_blind(report: dict[str, dict[str, Any]]) -> None:
    if not report:
        print(f"\nThe written responses are left out: they need {BLIND_QUESTIONS} in the folder and MMAR-meta.jsonl.")
        return
    print("\n| written responses | number | that conclude | read of them | right of what is read | guesses |")
    print("|---|---|---|---|---|---|")
    for name, f in report.items():
        cells = [_share(f["reader"][share]) for share in ("share_read", "share_right")]
        print(f"| {name} | {f['answers']} | {f['concluding']} | {' | '.join(cells)} | {f['guessed']} |")


def _share(values: list[float]) -> str:
    count, total, low, high = values
    if not total:
        return "–"
    return f"{count:.0f} / {total:.0f} = {100 * count / total:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    main()
