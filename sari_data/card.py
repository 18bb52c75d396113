"""The dataset card of a corpus, written from its manifest alone.

What the template ``cards/corpus.md.jinja`` shows is put together here, escaped for Markdown: names of
data sets, licences and responders come from files and people. A manifest that an earlier version of
sari wrote lacks some entries; their sections are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sari_data.card_head import data_file_lines, dataset_info_lines, licence_lines, size_category, with_facts
from sari_data.recipe_text import redacted, to_toml
from sari_data.types import DOMAINS

CARD_TEMPLATE = "cards/corpus.md.jinja"
SPLITS = ("sft", "rl", "dev")

_NEEDED = ("name", "seed", "sari_version", "counts", "licences", "calibrated")
_BAR = 30  # characters of the longest bar
_MOST_ROWS = 60  # of a table of contamination numbers
# Of the report on contamination: places on somebody's machine, and a benchmark's own questions.
_NOT_SHOWN = {"path", "file", "folder", "examples", "unreadable_examples", "thresholds"}
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_ACTIVE = re.compile(r"[\\`*\[\]|]")
_SIDES = {
    "never_passed": "that the calibration never saw answered right",
    "passed_unheard": "that were passed as often without hearing their audio",
    "unanswered": "that the calibration's responder could not answer",
}
_HEARD = {"own": "with its audio", "none": "without audio", "other": "with another question's audio"}


def render_card(manifest: Mapping[str, Any], *, repo: str | None = None) -> str:
    """Return the dataset card of a corpus with this manifest.

    Args:
        manifest: The corpus's manifest.
        repo: Where on the Hub it goes, for the example that loads it; default: the corpus's name.

    Raises:
        TemplateError: The manifest lacks an entry that corpora always had.
    """
    from sari_data.dedup import contaminated_count
    from sari_data.prompting import render

    rows = {name: split["rows"] for name, split in manifest.get("splits", {}).items()}
    loaded = loaded_splits(manifest)
    sources = manifest.get("sources") or {}
    licences = {name: found.get("licences") or {} for name, found in sources.items()}
    head = [
        *licence_lines(licences or {"audio": manifest["licences"]}),
        "size_categories:",
        f"- {size_category(sum(rows.values()) or sum(c['questions'] for c in manifest['counts'].values()))}",
        *data_file_lines(loaded),
        *dataset_info_lines(manifest, loaded),
    ]
    text = render(
        CARD_TEMPLATE,
        manifest=manifest,
        head=head,
        title=escaped(manifest["name"]),
        origin=escaped(manifest.get("source") or ", ".join(sources)),
        repo=repo or manifest["name"],
        on_hub=repo if repo and _REPO.fullmatch(repo) else "OWNER/NAME",
        domains=_columns(manifest, "domains", DOMAINS),
        levels=_columns(manifest, "difficulties", ()),
        sides=[(name, what) for name, what in _SIDES.items() if name in manifest["counts"]],
        english=_is_english(manifest),
        rehearsal=is_rehearsal(manifest),
        contaminated=contaminated_count(manifest),
        contamination=_contamination_rows(manifest),
        benchmarks=_benchmark_rows(manifest),
        left_out=_left_out(manifest, contaminated_count(manifest)),
        without_audio=manifest.get("without_audio", 0),
        sources=_source_rows(sources),
        made=[
            (escaped(field), escaped(how), number)
            for field, ways in (manifest.get("made_by") or {}).items()
            for how, number in ways.items()
        ],
        calibrations=[_escaped_values(found) for found in manifest.get("calibrations") or ()],
        rates=_rates(manifest),
        heard=_heard_rows(manifest),
        flags=[(escaped(flag), number) for flag, number in (manifest.get("flags") or {}).items()],
        funnel=_funnel_rows(manifest),
        licences=[(escaped(name), number) for name, number in manifest["licences"].items()],
        citations=_citations(sources),
        recipe=_fenced(to_toml(redacted(manifest.get("recipe") or {}))),
    )
    return text.rstrip() + "\n"


def card_of(folder: Path, manifest: Mapping[str, Any]) -> Callable[[dict[str, Any]], str]:
    """Return a function that writes the card of a corpus made from the one in ``folder``.

    Its own text is taken, with a head that fits, where its manifest lacks what a card is written from.
    """

    def write(body: dict[str, Any]) -> str:
        if all(key in body for key in _NEEDED):
            return render_card(body)
        path = folder / "README.md"
        text = path.read_text(encoding="utf-8") if path.is_file() else f"# {escaped(body.get('name', 'A corpus'))}\n"
        return with_facts(text, body, loaded_splits(body))

    return write


def card_on_hub(folder: Path, manifest: Mapping[str, Any], body: Mapping[str, Any], repo: str) -> str:
    """Return the card to publish: written anew with the repository's name, unless somebody has written their own.

    Args:
        folder: The corpus, with its card.
        manifest: Its manifest.
        body: The manifest of the form that is published.
        repo: ``owner/name``.
    """
    path, written = folder / "README.md", all(key in manifest for key in _NEEDED)
    text = path.read_text(encoding="utf-8") if path.is_file() else None
    if written and text in (None, render_card(manifest), render_card(manifest, repo=repo)):
        return render_card(body, repo=repo)
    return with_facts(text or f"# {escaped(repo)}\n", body, loaded_splits(body))


def loaded_splits(manifest: Mapping[str, Any]) -> list[str]:
    """Return the splits that ``datasets`` loads: those that are no side files and have rows."""
    splits = manifest.get("splits") or {}
    return [split for split in SPLITS if splits.get(split, {}).get("rows")]


def is_rehearsal(manifest: Mapping[str, Any]) -> bool:
    """Return whether something in a corpus was made up by the responder ``rehearsal``, which only plays its part."""
    ways = [how for found in (manifest.get("made_by") or {}).values() for how in found]
    raters = [found.get("responder", "") for key in ("calibrations", "pass_rates") for found in manifest.get(key) or ()]
    return any(re.search(r"(?<![\w-])rehearsal(?![\w-])", str(name)) for name in (*ways, *raters))


def escaped(value: Any) -> str:
    """Return a value as Markdown text of one line that can begin nothing: no cell, link, emphasis, code or HTML."""
    text = " ".join(str(value).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ACTIVE.sub(r"\\\g<0>", text)


def _columns(manifest: Mapping[str, Any], what: str, always: Sequence[str]) -> list[str]:
    """The columns of the table of splits: those that are always there, and others that are in the counts."""
    there = dict.fromkeys(name for counts in manifest["counts"].values() for name in counts[what])
    return [*always, *(name for name in there if name not in always)]


def _is_english(manifest: Mapping[str, Any]) -> bool:
    """Whether questions and chains are in English; a recipe without the key had them so."""
    language = ((manifest.get("recipe") or {}).get("annotate") or {}).get("language") or "English"
    return str(language).strip().lower() in ("english", "en")


def _escaped_values(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: escaped(value) if isinstance(value, str) else value for key, value in found.items()}


def _source_rows(sources: Mapping[str, Any]) -> list[dict[str, Any]]:
    shared = {True: "yes", False: "no"}
    return [
        {
            "name": escaped(name),
            "title": escaped(found.get("title") or ""),
            "homepage": escaped(found.get("homepage") or ""),
            "questions": found.get("questions") or {},
            "licences": ", ".join(escaped(licence) for licence in found.get("licences") or {}) or "not stated",
            "annotations": escaped(found.get("annotation_licence") or "not stated"),
            "shared": shared.get(found.get("share_audio"), "not stated"),
        }
        for name, found in sources.items()
    ]


def _rates(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A block of text bars for each calibration: tenths and bands, or passes in a manifest without those."""
    blocks = []
    for found in manifest.get("pass_rates") or ():
        if found.get("audio", "own") != "own":
            continue
        tenths = {f"{i / 10:.1f} to {(i + 1) / 10:.1f}": number for i, number in enumerate(found.get("tenths") or ())}
        title = f"{found['responder']}, mode {found['mode']}, seed {found['seed']}"
        blocks.append({"title": escaped(title), "bars": _bars(tenths), "bands": _bars(found.get("bands") or {})})
    if not blocks:
        for found in manifest.get("calibrations") or ():
            passes = {
                f"{n}/{found.get('samples', '?')}": number for n, number in (found.get("histogram") or {}).items()
            }
            title = f"{found.get('responder')}, mode {found.get('mode')}, seed {found.get('seed')}"
            blocks.append({"title": escaped(title), "bars": _bars(passes), "bands": []})
    return blocks


def _bars(counts: Mapping[str, int]) -> list[str]:
    most, wide = max(counts.values(), default=0) or 1, max(map(len, counts), default=0)
    # A count that is not zero shows: half a character is rounded up to one.
    return [
        f"{name:<{wide}}  {'█' * max(round(_BAR * number / most), number > 0):<{_BAR}}  {number}"
        for name, number in counts.items()
    ]


def _heard_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The listening check: each responder's mean pass rate by what it heard, where more than its audio was tried."""
    found = manifest.get("pass_rates") or ()
    runs = {(r["responder"], r["mode"], r["seed"]) for r in found if r.get("audio", "own") != "own"}
    return [
        {"run": escaped(f"{r['responder']}, {r['mode']}"), "heard": _HEARD.get(r["audio"], escaped(r["audio"])), **r}
        for r in found
        if (r["responder"], r["mode"], r["seed"]) in runs
    ]


def _funnel_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for stage in manifest.get("funnel") or ():
        dropped = ", ".join(f"{number} {escaped(why)}" for why, number in (stage.get("dropped") or {}).items())
        units = [f" {escaped(stage[key])}" if stage.get(key) else "" for key in ("unit", "made")]
        entered, left = f"{stage.get('in', '')}{units[0]}", f"{stage.get('out', '')}{units[1]}"
        rows.append({"stage": escaped(stage.get("stage", "")), "in": entered, "out": left, "dropped": dropped})
    return rows


def _benchmarks(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    against = (manifest.get("contamination") or {}).get("against")
    return [found for found in against if isinstance(found, Mapping)] if isinstance(against, list) else []


def _benchmark_rows(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row for each benchmark: what could be compared, what was found, and what that does not prove."""
    rows = []
    for found in _benchmarks(manifest):
        kinds = ", ".join(f"{number} {kind.replace('_', ' ')}" for kind, number in (found.get("by_kind") or {}).items())
        compared = found.get("compared") or {}
        rows.append(
            {
                "name": escaped(found.get("name", "")),
                "numbers": [
                    found.get("questions", ""),
                    *(compared.get(kind, "") for kind in ("texts", "segments", "sounds")),
                    found.get("contaminated", ""),
                ],
                "kinds": escaped(kinds),
                "notes": [escaped(note) for note in found.get("notes") or ()],
            }
        )
    return rows


def _left_out(manifest: Mapping[str, Any], remaining: int | None) -> int:
    """How many questions were in a benchmark and are not in the corpus any more."""
    found = (manifest.get("contamination") or {}).get("contaminated_found")
    return max(0, found - (remaining or 0)) if isinstance(found, int) else 0


def _contamination_rows(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All other numbers and names below ``contamination``, each with the path to it."""
    report = manifest.get("contamination") or {}
    told = {"against", "checked", "contaminated", "contaminated_found"} if _benchmarks(manifest) else set()

    def walk(value: Any, path: tuple[str, ...]) -> Iterable[tuple[str, str]]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                if key not in _NOT_SHOWN:
                    yield from walk(inner, (*path, str(key)))
        elif isinstance(value, Sequence) and not isinstance(value, str):
            if all(isinstance(item, str | int | float) for item in value):
                yield " / ".join(path), ", ".join(map(str, value[:10])) + (", ..." if len(value) > 10 else "")
            else:
                for number, inner in enumerate(value, start=1):
                    name = inner.get("name", number) if isinstance(inner, Mapping) else number
                    yield from walk(inner, (*path, str(name)))
        elif value is not None:
            yield " / ".join(path), str(value)

    rows = [
        (escaped(key.replace("_", " ")), escaped(text))
        for key, text in walk({k: v for k, v in report.items() if k not in told}, ())
    ]
    return rows[:_MOST_ROWS]


def _citations(sources: Mapping[str, Any]) -> list[str]:
    lines = []
    for name, found in sources.items():
        parts = [found.get("title") or name, found.get("paper"), found.get("homepage")]
        if found.get("paper") or found.get("homepage"):
            lines.append(". ".join(escaped(part) for part in parts if part))
    return lines


def _fenced(text: str) -> str:
    """Put text into a code block whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}toml\n{text.rstrip()}\n{fence}" if text.strip() else ""
