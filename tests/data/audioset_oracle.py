"""What is right by AudioSet's strong labels, worked out anew from the raw events on a grid of milliseconds.

Shares no code with the rules: times become sets of milliseconds, and the class tree is read from the published file.
"""

from __future__ import annotations

import json
from pathlib import Path

RawEvents = list[tuple[str, float, float]]


class Tree:
    """Ancestors of the classes, by name."""

    def __init__(self, path: Path) -> None:
        nodes = json.loads(path.read_text(encoding="utf-8"))
        self.names = {node["id"]: node["name"] for node in nodes}
        self.mids = {name: mid for mid, name in self.names.items()}
        self.barred = {node["name"] for node in nodes if node["restrictions"]}
        self._children = {node["name"]: [self.names[c] for c in node["child_ids"]] for node in nodes}

    def below(self, name: str) -> set[str]:
        """A class and all that are below it."""
        return {name}.union(*(self.below(child) for child in self._children[name]))

    def in_line(self, a: str, b: str) -> bool:
        """Whether one class is the other or below it."""
        return a in self.below(b) or b in self.below(a)


def right_options(rule: str, choices: tuple[str, ...], named: list[str], events: RawEvents, tree: Tree) -> list[str]:
    """Return the options that are right.

    Args:
        rule: What is asked.
        choices: The options.
        named: Names of the sounds that the question names.
        events: The clip's events: label id, beginning, end.
        tree: The classes.
    """
    times: dict[str, list[tuple[int, int]]] = {}
    for mid, start, end in events:
        times.setdefault(tree.names[mid], []).append((round(start * 1000), min(10_000, round(end * 1000))))
    times = {name: sorted((a, b) for a, b in found if a < 10_000) for name, found in times.items()}
    grid = {name: set().union(*(range(a, b) for a, b in found)) for name, found in times.items()}
    never = 10**9
    if rule == "first":
        begins = {c: times[c][0][0] if c in times else never for c in choices}
        return [c for c in choices if begins[c] <= min(begins.values()) + 200]
    if rule == "after":
        assert len(times[named[0]]) == 1
        end = times[named[0]][0][1]
        nexts = {c: min([a for a, _ in times.get(c, []) if a > end - 200], default=never) for c in choices}
        return [c for c in choices if nexts[c] <= min(nexts.values()) + 200]
    if rule == "count":
        heard = grid[named[0]]
        return [str(sum(1 for ms in heard if ms - 1 not in heard))]
    if rule == "overlap":
        return [c for c in choices if c in grid and grid[c] & grid[named[0]]]
    if rule == "together":
        return ["yes" if grid[named[0]] & grid[named[1]] else "no"]
    if rule == "longest":
        long = {c: len(grid.get(c, ())) for c in choices}
        return [c for c in choices if long[c] >= max(long.values()) - 400]
    heard_at_all = [c for c in choices if any(tree.in_line(c, name) for name in times)]
    return heard_at_all if rule == "present" else [c for c in choices if c not in heard_at_all]
