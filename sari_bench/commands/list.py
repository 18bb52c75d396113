"""``sari-bench list``: the benchmarks that there are."""

from __future__ import annotations

from typing import Any

from sari_bench.commands.arguments import JsonOption
from sari_data.console import out, print_json


def list_benchmarks(as_json: JsonOption = False) -> None:
    """List the benchmarks: versions, licence and how to get them."""
    from sari_bench.benchmarks import benchmark_module, benchmark_names, corpus

    entries: list[dict[str, Any]] = []
    for name in benchmark_names():
        module = benchmark_module(name)
        revisions = sorted(getattr(module, "REVISIONS", {}).values())
        entries.append(
            {
                "name": name,
                "summary": module.SUMMARY,
                "versions": revisions or ["by content hash"],
                "licence": module.LICENCE,
                "how_to_get": module.HOW_TO_GET,
            }
        )
    entries.append(
        {
            "name": f"{corpus.PREFIX}PATH#SPLIT",
            "summary": corpus.SUMMARY,
            "versions": ["by content hash"],
            "licence": corpus.LICENCE,
            "how_to_get": corpus.HOW_TO_GET,
        }
    )
    if as_json:
        print_json({"benchmarks": entries})
        return
    for entry in entries:
        lines = [
            entry["name"],
            f"  {entry['summary']}",
            f"  versions:   {', '.join(entry['versions'])}",
            f"  licence:    {entry['licence']}",
            f"  how to get: {entry['how_to_get']}",
        ]
        out.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
