"""``sari-bench list``: the benchmarks that there are."""

from __future__ import annotations

from typing import Any

from sari_bench.commands.arguments import JsonOption
from sari_data.console import out, print_json


def list_benchmarks(as_json: JsonOption = False) -> None:
    """List the benchmarks: questions, versions, licence, place on the Hub and how to get them."""
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
        lines = [
            entry["name"],
            f"  {entry['summary']}",
            f"  questions:  {'as many as its files have' if count is None else f'{count:,}'}",
            f"  versions:   {', '.join(entry['versions'])}",
            f"  licence:    {entry['licence']}",
            *([f"  Hub:        {entry['hub']}"] if entry["hub"] else []),
            f"  how to get: {entry['how_to_get']}",
        ]
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
