"""Question families: what is asked of a scene, what is true, and which other options are plausible.

A family draws the events of a scene so that its answers come up equally often, and returns a
:class:`Draft`; the words are in ``templates/annotate/scenes/<family>.jinja``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from sari_data.sources.scenes.clips import Clips
from sari_data.sources.scenes.compose import Event


@dataclass(frozen=True)
class Draft:
    """A question before it has words and a waveform.

    Args:
        family: Name of the family (and of its template).
        events: The scene, in order.
        answer: The right option.
        wrong: Other options, the most plausible first; as many are taken as are needed for four.
        focus: What the caption says of each event: ``label``, ``loud``, ``long``, ``voice`` or ``pace``.
        steps: Steps of thought from hearing to the answer; with the number of events it makes the difficulty.
        facts: Further values for the template.
        gap: Range of the silence between events in seconds, where the family sets it.
    """

    family: str
    events: tuple[Event, ...]
    answer: str
    wrong: tuple[str, ...]
    focus: str = "label"
    steps: int = 1
    facts: dict[str, Any] = field(default_factory=dict)
    gap: tuple[float, float] | None = None


@dataclass(frozen=True)
class World:
    """What a family draws from."""

    clips: Clips
    domain: str
    events: tuple[int, int]
    rng: np.random.Generator

    @property
    def labels(self) -> list[str]:
        return list(self.clips.labels(self.domain))

    @property
    def voices(self) -> list[str]:
        return list(self.clips.voices(self.domain))

    def size(self, at_least: int = 2) -> int:
        """Draw a number of events."""
        low, high = self.events
        return int(self.rng.integers(max(low, at_least), max(high, at_least) + 1))

    def some(self, pool: Sequence[str], count: int) -> list[str]:
        """Draw ``count`` different members of ``pool``."""
        return [pool[i] for i in self.rng.permutation(len(pool))[:count]]

    def one(self, pool: Sequence[Any]) -> Any:
        """Draw one member of ``pool``."""
        return pool[int(self.rng.integers(len(pool)))]

    def shuffled(self, pool: Sequence[Any]) -> list[Any]:
        """Return ``pool`` in random order."""
        return [pool[i] for i in self.rng.permutation(len(pool))]

    def others(self, scene: Sequence[str], answer: str) -> tuple[str, ...]:
        """Wrong options: what else is in the scene first, then what is not."""
        inside = [x for x in dict.fromkeys(scene) if x != answer]
        outside = [x for x in self.labels if x not in scene]
        return (*self.shuffled(inside), *self.shuffled(outside))

    def voiced(self, labels: Sequence[str]) -> tuple[Event, ...]:
        """Events for ``labels``; speech and music get a voice each, drawn at random among those that have the label."""
        able = [self.clips.voices(self.domain, label) for label in labels]
        return tuple(Event(label, self.one(who) if who else None) for label, who in zip(labels, able, strict=True))


Family = Callable[[World], Draft]


def _numbers(answer: int, low: int, high: int, world: World) -> tuple[str, ...]:
    """Wrong numbers: a run of four with the answer at a random rank, so that its size gives nothing away."""
    first = answer - int(world.rng.integers(4))
    first = min(max(first, low), max(low, high - 3))
    return tuple(str(n) for n in range(first, first + 4) if n != answer)


def which(world: World) -> Draft:
    """Which label occurs."""
    scene = world.some(world.labels, min(world.size(1), len(world.labels) - 3))
    answer = world.one(scene)
    wrong = world.shuffled([x for x in world.labels if x not in scene])
    return Draft("which", world.voiced(scene), answer, tuple(wrong))


def _end(world: World, name: str, index: int) -> Draft:
    scene = world.some(world.labels, min(world.size(3), len(world.labels)))
    return Draft(name, world.voiced(scene), scene[index], world.others(scene, scene[index]))


def first(world: World) -> Draft:
    """Which label comes first."""
    return _end(world, "first", 0)


def last(world: World) -> Draft:
    """Which label comes last."""
    return _end(world, "last", -1)


def _neighbour(world: World, name: str, step: int) -> Draft:
    scene = world.some(world.labels, min(world.size(3), len(world.labels)))
    at = int(world.rng.integers(len(scene) - 1)) + (step < 0)
    answer, target = scene[at + step], scene[at]
    wrong = [x for x in world.others(scene, answer) if x != target]
    return Draft(name, world.voiced(scene), answer, tuple(wrong), steps=2, facts={"target": target})


def after(world: World) -> Draft:
    """Which label comes right after another."""
    return _neighbour(world, "after", 1)


def before(world: World) -> Draft:
    """Which label comes right before another."""
    return _neighbour(world, "before", -1)


def count(world: World) -> Draft:
    """How many times one label occurs: 1 to 4."""
    times = int(world.rng.integers(1, 5))
    size = max(world.size(3), min(times + 1, world.events[1]), times)
    target, *rest = world.some(world.labels, 4)
    scene = world.shuffled([target] * times + [world.one(rest) for _ in range(size - times)])
    wrong = _numbers(times, 1, 4, world)
    return Draft("count", world.voiced(scene), str(times), wrong, steps=3, facts={"target": target})


def count_all(world: World) -> Draft:
    """How many events there are."""
    low, high = min(world.events[0], 2), max(world.events[1], 2)
    size = int(world.rng.integers(low, high + 1))
    scene = [world.one(world.labels) for _ in range(size)]
    wrong = _numbers(size, low, max(high, low + 3), world)
    return Draft("count_all", world.voiced(scene), str(size), wrong, steps=2)


def count_different(world: World) -> Draft:
    """How many different labels there are: 1 to 4."""
    size = world.size(3)
    kinds = int(world.rng.integers(1, min(size, 4) + 1))
    chosen = world.some(world.labels, kinds)
    scene = world.shuffled([*chosen, *(world.one(chosen) for _ in range(size - kinds))])
    wrong = _numbers(kinds, 1, 4, world)
    return Draft("count_different", world.voiced(scene), str(kinds), wrong, steps=4)


def same(world: World) -> Draft:
    """Whether the first and the last label are the same."""
    scene = world.some(world.labels, world.size(3))
    alike = bool(world.rng.integers(2))
    if alike:
        scene[-1] = scene[0]
    return Draft("same", world.voiced(scene), "yes" if alike else "no", ("no" if alike else "yes",), steps=2)


def _standing_out(world: World, name: str, **marked: bool) -> Draft:
    """One event stands out by its length or loudness; which one?"""
    scene = world.some(world.labels, min(world.size(3), 4))
    at = int(world.rng.integers(len(scene)))
    (key,) = marked
    plain = world.voiced(scene)
    events = tuple(replace(e, **{key: i == at}) for i, e in enumerate(plain))  # type: ignore[arg-type]
    return Draft(name, events, scene[at], world.others(scene, scene[at]), focus=key, steps=2)


def longest(world: World) -> Draft:
    """Which of the events is the one long one."""
    return _standing_out(world, "longest", long=True)


def loudest(world: World) -> Draft:
    """Which of the events is the one loud one."""
    return _standing_out(world, "loudest", loud=True)


def highest(world: World) -> Draft:
    """Which instrument plays the one high note."""
    scene = world.some(world.labels, min(world.size(3), 4))
    at = int(world.rng.integers(len(scene)))
    events = tuple(Event(x, "high" if i == at else world.one(["low", "middle"])) for i, x in enumerate(scene))
    return Draft("highest", events, scene[at], world.others(scene, scene[at]), focus="voice", steps=2)


def higher_lower(world: World) -> Draft:
    """How the last note lies to the first: higher, lower or the same."""
    order = {"low": 0, "middle": 1, "high": 2}
    answer = world.one(["higher", "lower", "the same"])
    pairs = [(a, b) for a in order for b in order if _relation(order[a], order[b]) == answer]
    begin, end = world.one(pairs)
    inner = [world.one(list(order)) for _ in range(world.size(3) - 2)]
    timbre = world.one(world.labels)
    events = tuple(Event(timbre, v) for v in (begin, *inner, end))
    wrong = tuple(x for x in ("higher", "lower", "the same") if x != answer)
    return Draft("higher_lower", events, answer, wrong, focus="voice", steps=2, facts={"begin": begin, "end": end})


def _relation(begin: int, end: int) -> str:
    return "higher" if end > begin else "lower" if end < begin else "the same"


def count_high(world: World) -> Draft:
    """How many notes are high: 1 to 4."""
    times = int(world.rng.integers(1, 5))
    size = max(world.size(3), min(times + 1, world.events[1]), times)
    registers = world.shuffled(["high"] * times + [world.one(["low", "middle"]) for _ in range(size - times)])
    timbre = world.one(world.labels)
    wrong = _numbers(times, 1, 4, world)
    return Draft("count_high", tuple(Event(timbre, v) for v in registers), str(times), wrong, focus="voice", steps=3)


def rhythm(world: World) -> Draft:
    """The pattern of short and long notes."""
    size = int(world.rng.integers(3, 5))
    patterns = [
        tuple(bool(code >> i & 1) for i in range(size)) for code in range(2**size) if sum(map(int, f"{code:b}")) <= 2
    ]
    chosen = [patterns[i] for i in world.rng.permutation(len(patterns))[:4]]
    timbre, register = world.one(world.labels), world.one(world.voices)
    names = [" ".join("long" if x else "short" for x in pattern) for pattern in chosen]
    events = tuple(Event(timbre, register, long=x) for x in chosen[0])
    return Draft("rhythm", events, names[0], tuple(names[1:]), focus="long", steps=2)


def tempo(world: World) -> Draft:
    """Slow, medium or fast: the silence between notes of one length."""
    gaps = {"fast": (0.03, 0.06), "medium": (0.20, 0.26), "slow": (0.52, 0.62)}
    answer = world.one(list(gaps))
    timbre, register = world.one(world.labels), world.one(world.voices)
    size = {"fast": 5, "medium": 4, "slow": 3}[answer] if world.rng.random() < 0.5 else int(world.rng.integers(3, 5))
    if answer == "slow":
        size = 3
    events = tuple(Event(timbre, register) for _ in range(size))
    wrong = tuple(x for x in gaps if x != answer)
    return Draft("tempo", events, answer, wrong, focus="pace", steps=2, gap=gaps[answer], facts={"pace": answer})


def who(world: World) -> Draft:
    """Who says one of the numbers."""
    scene = world.some(world.labels, min(world.size(2), 4))
    at = int(world.rng.integers(len(scene)))
    events = world.voiced(scene)
    speaker = str(events[at].voice)
    wrong = tuple(world.shuffled([v for v in world.voices if v != speaker]))
    return Draft("who", events, speaker, wrong, focus="voice", steps=2, facts={"target": scene[at]})


def count_voices(world: World) -> Draft:
    """How many different people speak: 1 to 3."""
    size = world.size(3)
    kinds = int(world.rng.integers(1, min(size, len(world.voices), 3) + 1))
    chosen = world.some(world.voices, kinds)
    speakers = world.shuffled([*chosen, *(world.one(chosen) for _ in range(size - kinds))])
    events = tuple(Event(world.one(world.labels), v) for v in speakers)
    wrong = tuple(str(n) for n in (1, 2, 3) if n != kinds)
    return Draft("count_voices", events, str(kinds), wrong, focus="voice", steps=4, facts={"known": world.voices})


def same_voice(world: World) -> Draft:
    """Whether the first and the last number have the same speaker."""
    events = list(world.voiced(world.some(world.labels, world.size(2))))
    begin, other = world.some(world.voices, 2)
    alike = bool(world.rng.integers(2))
    events[0] = replace(events[0], voice=begin)
    events[-1] = replace(events[-1], voice=begin if alike else other)
    answer, wrong = ("yes", "no") if alike else ("no", "yes")
    return Draft("same_voice", tuple(events), answer, (wrong,), focus="voice", steps=2)


def total(world: World) -> Draft:
    """The sum of two or three spoken numbers."""
    scene = [world.one(world.labels) for _ in range(min(world.size(2), 3))]
    value = sum(int(x) for x in scene)
    low, high = (extreme(map(int, world.labels)) * len(scene) for extreme in (min, max))
    return Draft("total", world.voiced(scene), str(value), _numbers(value, low, high, world), steps=4)


def _extreme(world: World, name: str, choose: Callable[[Sequence[int]], int]) -> Draft:
    scene = world.some(world.labels, world.size(3))
    answer = str(choose([int(x) for x in scene]))
    return Draft(name, world.voiced(scene), answer, world.others(scene, answer), steps=3)


def largest(world: World) -> Draft:
    """The largest of the spoken numbers."""
    return _extreme(world, "largest", max)


def smallest(world: World) -> Draft:
    """The smallest of the spoken numbers."""
    return _extreme(world, "smallest", min)


_ANY: tuple[Family, ...] = (which, first, last, after, before, count, count_all, count_different, same)
_MUSIC: tuple[Family, ...] = (*_ANY, longest, loudest, highest, higher_lower, count_high, rhythm, tempo)
_SPEECH: tuple[Family, ...] = (*_ANY, who, count_voices, same_voice, total, largest, smallest)

FAMILIES: dict[str, dict[str, Family]] = {
    "sound": {f.__name__: f for f in (*_ANY, longest, loudest)},
    "music": {f.__name__: f for f in _MUSIC},
    "speech": {f.__name__: f for f in _SPEECH},
}
# Families that need a clip to be made as long as asked, or to be made in a voice of choice.
ELASTIC = {"longest", "rhythm", "tempo", "highest", "higher_lower", "count_high"}
VOICED = {"who", "count_voices", "same_voice"}
NUMERIC = {"total", "largest", "smallest"}

# Family -> (category, sub-category), in the manner of MMAU's skills.
SKILLS = {
    "which": ("Perception", "Identification"),
    "first": ("Perception", "Order"),
    "last": ("Perception", "Order"),
    "after": ("Reasoning", "Order"),
    "before": ("Reasoning", "Order"),
    **dict.fromkeys(("count", "count_all", "count_different", "count_high", "count_voices"), ("Reasoning", "Counting")),
    **dict.fromkeys(("same", "same_voice"), ("Reasoning", "Comparison")),
    "longest": ("Perception", "Duration"),
    "loudest": ("Perception", "Loudness"),
    "highest": ("Perception", "Pitch"),
    "higher_lower": ("Reasoning", "Pitch"),
    "rhythm": ("Perception", "Rhythm and tempo"),
    "tempo": ("Perception", "Rhythm and tempo"),
    "who": ("Perception", "Speaker"),
    "total": ("Reasoning", "Arithmetic"),
    "largest": ("Reasoning", "Arithmetic"),
    "smallest": ("Reasoning", "Arithmetic"),
}
