"""The AudioSet ontology: which labels exclude, contain, or may be taken for each other.

A tree of classes in which some have several parents (Gemmeke et al., 2017). Two relations decide what may be asked:

- :meth:`Ontology.related`: labels that must not be two options of one question, because one holds the other, or both
  may be said of one sound. Related are a class and its ancestors; classes with a common parent that is itself a sound
  (Bark and Howl; but the voices of men, women and children are told apart); classes of the same name but for
  parentheses (Snort, Snort (horse)); and the classes below the two sides of a line of ``_KIN``.
- :meth:`Ontology.apart`: a label that is surely not heard where others are. Annotators of the strong labels were told
  to mark every sound with the most specific label, but no detail within music. So a label is apart from others only
  if it belongs to a different *world* than all of them: people, animals, music, or things with nature. Singing,
  whistling, clapping, bells and alarms count as music too. Labels that name no source (Bang, Buzz) belong to
  every world.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sari_data.errors import InputError
from sari_data.sources.readers import read_json_array

_SPEECH = ("Speech", "Whispering")
_EVERY = frozenset({"human", "animal", "music", "things"})
_ROOTS = {
    "Human sounds": frozenset({"human"}),
    "Animal": frozenset({"animal"}),
    "Music": frozenset({"music"}),
    "Natural sounds": frozenset({"things"}),
    "Sounds of things": frozenset({"things"}),
    # Names of how something sounds, not of what sounds.
    "Source-ambiguous sounds": _EVERY,
    # What is played from a loudspeaker may be anything; noise and rooms may be taken for the sounds of things.
    "Channel, environment and background": _EVERY - {"animal"},
}
# Classes below these are heard as music too, whatever their root.
_MUSICAL = ("Singing", "Humming", "Whistling", "Hands", "Bell", "Alarm", "Ice cream truck, ice cream van")
_SOURCELESS = ("Source-ambiguous sounds", "Channel, environment and background")
# Both sides may be said of one sound: of a car its engine, of a crowd its speech.
_KIN = (
    ("Vehicle", "Engine"),
    ("Vehicle", "Alarm"),
    ("Vehicle", "Mechanisms"),
    ("Engine", "Tools"),
    ("Engine", "Mechanisms"),
    ("Engine", "Domestic sounds, home sounds"),
    ("Tools", "Wood"),
    ("Tools", "Mechanisms"),
    ("Tools", "Domestic sounds, home sounds"),
    ("Mechanisms", "Domestic sounds, home sounds"),
    ("Mechanisms", "Alarm"),
    ("Domestic sounds, home sounds", "Water"),
    ("Domestic sounds, home sounds", "Liquid"),
    ("Domestic sounds, home sounds", "Wood"),
    ("Domestic sounds, home sounds", "Glass"),
    ("Water", "Liquid"),
    ("Water", "Thunderstorm"),
    ("Wind", "Thunderstorm"),
    ("Thunderstorm", "Explosion"),
    ("Fire", "Explosion"),
    ("Fire", "Wood"),
    ("Bell", "Alarm"),
    ("Bell", "Music"),
    ("Alarm", "Music"),
    ("Singing", "Music"),
    ("Humming", "Music"),
    ("Humming", "Singing"),
    ("Hands", "Human group actions"),
    ("Human voice", "Human group actions"),
    ("Speech", "Whispering"),
    ("Speech", "Babbling"),
    ("Shout", "Screaming"),
    ("Crying, sobbing", "Wail, moan"),
    ("Groan", "Grunt"),
    ("Groan", "Wail, moan"),
    ("Sigh", "Respiratory sounds"),
    ("Bird", "Fowl"),
    ("Canidae, dogs, wolves", "Dog"),
    ("Roaring cats (lions, tigers)", "Cat"),
)
# Brothers that listeners tell apart and annotators mark separately.
_TOLD_APART = (
    ("Male speech, man speaking", "Female speech, woman speaking", "Child speech, kid speaking"),
    ("Male singing", "Female singing", "Child singing"),
)


class Ontology:
    """The classes by their ids (``mids``), read from ``ontology.json`` once.

    Args:
        path: The published file: a JSON array of objects with ``id``, ``name``, ``child_ids`` and ``restrictions``.

    Raises:
        MissingFileError: No such file.
        InputError: Not an ontology; names the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.names: dict[str, str] = {}
        self._restricted: set[str] = set()
        self._parents: dict[str, list[str]] = {}
        for line, node in read_json_array(path):
            self._add(path, line, node)
        unknown = [child for child in self._parents if child not in self.names]
        if unknown or not self.names:
            raise InputError(
                f"{path}: expected every child to be a class of its own, found {unknown[:3] or 'no class'}"
            )
        self._ids = {name: mid for mid, name in self.names.items()}
        if len(self._ids) < len(self.names):
            raise InputError(f"{path}: expected classes with names of their own, found a name twice")
        self._above: dict[str, frozenset[str]] = {}
        for mid in self.names:
            self._climb(mid, ())
        self._worlds = {mid: self._world(mid) for mid in self.names}
        self._kin = [{self._ids[a], self._ids[b]} for a, b in _KIN if a in self._ids and b in self._ids]
        self._distinct = [{self._ids[name] for name in group if name in self._ids} for group in _TOLD_APART]

    def _add(self, path: str | Path, line: int, node: Any) -> None:
        try:
            mid, name, children = node["id"], node["name"], node["child_ids"]
            restrictions = node.get("restrictions", [])
            if not isinstance(mid, str) or not isinstance(name, str):
                raise TypeError("id and name must be texts")
            self.names[mid] = name
            for child in children:
                self._parents.setdefault(child, []).append(mid)
        except (TypeError, KeyError, AttributeError) as error:
            raise InputError(
                f"{path}, line {line}: expected a class with id, name and child_ids, found {str(node)[:80]}"
            ) from error
        if restrictions:
            self._restricted.add(mid)

    def _climb(self, mid: str, below: tuple[str, ...]) -> frozenset[str]:
        if mid in below:
            raise InputError(f"ontology: expected a tree, found {self.names[mid]!r} above itself")
        if mid not in self._above:
            parents = self._parents.get(mid, [])
            found = (self._climb(parent, (*below, mid)) for parent in parents)
            self._above[mid] = frozenset({mid}).union(*found)
        return self._above[mid]

    def _world(self, mid: str) -> frozenset[str]:
        above = {self.names[other] for other in self._above[mid]}
        worlds = frozenset().union(*(worlds for root, worlds in _ROOTS.items() if root in above))
        if above & set(_MUSICAL):
            worlds |= {"music"}
        return worlds or _EVERY

    def __contains__(self, mid: str) -> bool:
        """Whether a label is one of the ontology's."""
        return mid in self.names

    def nameable(self, mid: str) -> bool:
        """Whether a label may be an option: neither abstract nor blacklisted, no root, and it names a source."""
        above = {self.names[other] for other in self._above[mid]}
        # Animal and Music are roots and sounds; of Silence there is nothing to be heard.
        sources = above & (set(_ROOTS) - set(_SOURCELESS))
        return mid not in self._restricted and bool(sources) and "Silence" not in above

    def related(self, a: str, b: str) -> bool:
        """Whether two labels must not be options of one question."""
        above_a, above_b = self._above[a], self._above[b]
        if a in above_b or b in above_a or _bare(self.names[a]) == _bare(self.names[b]):
            return True
        if any((x in above_a and y in above_b) or (y in above_a and x in above_b) for x, y in map(tuple, self._kin)):
            return True
        if any(a in group and b in group for group in self._distinct):
            return False
        common = set(self._parents.get(a, ())) & set(self._parents.get(b, ()))
        return any(parent not in self._restricted and self._parents.get(parent) for parent in common)

    def apart(self, mid: str, heard: Iterable[str]) -> bool:
        """Whether a label is surely none of the sounds in a clip in which ``heard`` are all that was marked."""
        return self._worlds[mid].isdisjoint(frozenset().union(*(self._worlds[other] for other in heard)))

    @cached_property
    def unheard(self) -> tuple[str, ...]:
        """Labels that may be named as sounds which are not there, in the ontology's order."""
        return tuple(mid for mid in self.names if self.nameable(mid) and self._worlds[mid] != _EVERY)

    def domain(self, mids: Sequence[str]) -> str:
        """The domain of a clip with these labels: ``sound``, ``music``, ``speech``, or a mix such as ``sound+speech``.

        A label counts as speech below Speech and Whispering; as music below Music and Singing; else as sound. Labels of
        rooms, noise and recordings count only where there are no others.
        """
        found = set()
        telling = [mid for mid in mids if self._ids.get(_SOURCELESS[1]) not in self._above[mid]]
        for mid in telling or mids:
            above = {self.names[other] for other in self._above[mid]}
            if above & set(_SPEECH):
                found.add("speech")
            elif above & {"Music", "Singing"} and not above & {"Sounds of things"}:
                found.add("music")
            else:
                found.add("sound")
        return "+".join(domain for domain in ("sound", "music", "speech") if domain in found) or "sound"


def _bare(name: str) -> str:
    return name.partition(" (")[0].casefold()
