"""``sari-bench list``: the benchmarks that there are."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

from sari_bench.commands.arguments import JsonOption
from sari_data.console import note, out, print_json, say

_NARROWEST = 20  # cells of text beside its heading


def list_benchmarks(as_json: JsonOption = False) -> None:
    """List the benchmarks: questions, versions, licence, place on the Hub and how to get them."""
    from rich.text import Text

    from sari_bench.benchmarks import benchmark_module, benchmark_names, corpus
    from sari_bench.benchmarks.versions import revisions

    entries: list[dict[str, Any]] = []
    for name in benchmark_names():
        module = benchmark_module(name)
        known = revisions(name)
        entries.append(
            {
                "name": name,
                "summary": module.SUMMARY,
                "questions": module.QUESTIONS,
                "versions": [revision.name for revision in known] or ["by content hash"],
                "revisions": [
                    {"name": r.name, "date": r.date, "source": r.source, "questions": len(r.questions)} for r in known
                ],
                "licence": module.LICENCE,
                "hub": module.HUB or None,
                "how_to_get": module.HOW_TO_GET,
            }
        )
    entries.append(
        {
            "name": f"{corpus.PREFIX}PATH#SPLIT",
            "summary": corpus.SUMMARY,
            "questions": None,
            "versions": ["by content hash"],
            "revisions": [],
            "licence": corpus.LICENCE,
            "hub": None,
            "how_to_get": corpus.HOW_TO_GET,
        }
    )
    if as_json:
        print_json({"benchmarks": entries})
        return
    for entry in entries:
        count = entry["questions"]
        lines = {
            "": entry["summary"],
            "questions:": "as many as its files have" if count is None else f"{count:,}",
            "versions:": ", ".join(entry["versions"]),
            "licence:": entry["licence"],
            "Hub:": entry["hub"],
            "how to get:": entry["how_to_get"],
        }
        out.print(Text(entry["name"], style="bold"), soft_wrap=True)
        for name, text in lines.items():
            if text:
                say(_hanging(f"  {name:<12}" if name else "  ", text))
    note("measure on one: sari-bench run --benchmark NAME --model MODEL --mode MODE")


def _hanging(heading: str, text: str) -> str:
    """Return a text beside its heading, on a terminal broken between words to the terminal's width."""
    if not out.is_terminal:
        return heading + text
    wrapped = wrap(text, max(out.width - len(heading), _NARROWEST), break_long_words=False, break_on_hyphens=False)
    return "\n".join((" " * len(heading) if number else heading) + line for number, line in enumerate(wrapped))
