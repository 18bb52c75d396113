"""Questions whose answers follow from strong labels: what may be asked of a clip, and what is right.

A rule looks at all events of a clip and gives drafts, or none where the labels leave any doubt:

- Times within ``MARGIN`` of each other have no order, and sounds so close neither overlap nor are they apart; events
  shorter than ``SHORTEST`` are not asked about. Labels are said to be exact to 0.1 s (Hershey et al., 2021).
- Sounds are counted, and looked for after a moment, only where ``CLEAR`` seconds lie between each two of their events.
- A sound of which another label in the clip may speak too (a related one, for instance Dog and Bark) is left out, so
  options are never related; a sound that is not heard is named only if it is apart from all that are
  (:mod:`~sari_data.sources.audioset.ontology`).

A sound that is cut by the clip's beginning or end is heard as long as it is in the clip; none that ends with the clip
is taken for a moment after which something begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sari_data.sources.audioset.ontology import Ontology
from sari_data.sources.audioset.segments import Event
from sari_data.sources.phrasing import Draft

MARGIN = 0.25
CLEAR = 0.5
SHORTEST = 0.1
LONGER = 1.25  # what is longest is so by this factor, and by CLEAR seconds
MOST_COUNTED = 8
ONCE = 0.25  # how often a clip in which no sound comes again is asked how often one does
SHOWN = 4

Span = tuple[float, float]


@dataclass(frozen=True)
class Sound:
    """One label's events in a clip, in order of their beginnings, in seconds of the clip."""

    mid: str
    name: str
    events: tuple[Span, ...]

    @cached_property
    def spans(self) -> tuple[Span, ...]:
        """The events joined where they overlap or touch."""
        joined: list[Span] = []
        for start, end in self.events:
            if joined and start <= joined[-1][1]:
                joined[-1] = (joined[-1][0], max(joined[-1][1], end))
            else:
                joined.append((start, end))
        return tuple(joined)

    @property
    def start(self) -> float:
        """When it is first heard."""
        return self.events[0][0]

    @property
    def total(self) -> float:
        """How long it is heard in all."""
        return sum(end - start for start, end in self.spans)

    @property
    def clear(self) -> bool:
        """Whether silence of its own lies between each two of its events."""
        return all(b[0] - a[1] >= CLEAR for a, b in zip(self.events, self.events[1:], strict=False))

    def shared(self, other: Sound) -> float:
        """For how many seconds both are heard; less than 0 where they are never: then the time between them, negated.

        With several events each, the largest of all pairs counts.
        """
        return max(min(a[1], b[1]) - max(a[0], b[0]) for a in self.spans for b in other.spans)


class Scene:
    """All that the strong labels say of a clip.

    Args:
        ontology: The classes; it knows every label of ``events``.
        events: Label, beginning and end of each event, in seconds of the clip.
        seconds: The clip's length; what lies beyond it is not heard.
        weights: How often labels occur in the data set: sounds that are not heard are drawn accordingly, so that
            what is common is not always right.
        rng: Draws among what may be asked.
    """

    def __init__(
        self,
        ontology: Ontology,
        events: Sequence[Event],
        seconds: float,
        weights: Mapping[str, float],
        rng: np.random.Generator,
    ) -> None:
        self.ontology, self.seconds, self.weights, self.rng = ontology, seconds, weights, rng
        grouped: dict[str, list[Span]] = {}
        for mid, start, end in events:
            if start < seconds:
                grouped.setdefault(mid, []).append((start, min(end, seconds)))
        self.sounds = tuple(Sound(mid, ontology.names[mid], tuple(sorted(found))) for mid, found in grouped.items())
        self.heard = tuple(sound.mid for sound in self.sounds)
        usable = [sound for sound in self.sounds if self._sure(sound)]
        # In an order of their own: what is taken from the front of it is drawn at random.
        self.usable = [usable[i] for i in rng.permutation(len(usable))]

    def _sure(self, sound: Sound) -> bool:
        """Whether all times of a sound are known: no other label may speak of the same sound."""
        return (
            self.ontology.nameable(sound.mid)
            and min(end - start for start, end in sound.events) >= SHORTEST
            and not any(self.ontology.related(sound.mid, mid) for mid in self.heard if mid != sound.mid)
        )

    def unheard(self, most: int) -> list[str]:
        """Names of up to ``most`` sounds that are surely not heard, related neither to each other nor to what is."""
        mids = self.ontology.unheard
        waits = self.rng.exponential(size=len(mids)) / np.array([0.01 + self.weights.get(mid, 0.0) for mid in mids])
        taken: list[str] = []
        for i in np.argsort(waits):
            if len(taken) == most:
                break
            if self.ontology.apart(mids[i], self.heard) and not any(
                self.ontology.related(mids[i], other) for other in (*self.heard, *taken)
            ):
                taken.append(mids[i])
        return [self.ontology.names[mid] for mid in taken]

    @property
    def values(self) -> dict[str, Any]:
        """What every template may use: the sounds in the order in which they are first heard, and by their names."""
        return {
            "heard": sorted(self.sounds, key=lambda sound: (sound.start, sound.name)),
            "by_name": {sound.name: sound for sound in self.sounds},
        }

    def draft(self, rule: str, gold: Sound, wrong: Sequence[Sound], **facts: Any) -> Draft:
        """A draft with sounds for options, filled up with sounds that are not heard.

        Args:
            rule: The rule's name.
            gold: The right one.
            wrong: Wrong ones among those heard.
            **facts: For the template.
        """
        heard = [sound.name for sound in wrong[: SHOWN - 1]]
        return _draft(rule, gold.name, (*heard, *self.unheard(SHOWN - 1 - len(heard))), **facts)


def _draft(rule: str, answer: str, wrong: Sequence[str], **values: Any) -> Draft:
    category, sub_category = SKILLS[rule]
    return Draft(
        rule=rule, answer=answer, wrong=tuple(wrong), values=values, category=category, sub_category=sub_category
    )


def first(scene: Scene) -> Iterator[Draft]:
    """Which sound begins before all others, by more than the margin."""
    if not scene.usable:
        return
    gold = min(scene.usable, key=lambda sound: sound.start)
    others = [sound for sound in scene.usable if sound is not gold]
    if others and all(sound.start - gold.start >= MARGIN for sound in others):
        yield scene.draft("first", gold, others)


def after(scene: Scene) -> Iterator[Draft]:
    """Which sound is the first to begin after the end of one that is heard only once."""
    for target in scene.usable:
        moment = target.events[0][1]
        if len(target.events) > 1 or scene.seconds - moment < CLEAR:
            continue
        others = [sound for sound in scene.usable if sound.clear and sound is not target]
        # A sound that begins as the target ends begins neither before nor after it.
        if any(abs(start - moment) < MARGIN for s in others for start, _ in s.events):
            continue
        nexts = {s.mid: min((start for start, _ in s.events if start > moment), default=np.inf) for s in others}
        gold = min(others, key=lambda s: nexts[s.mid], default=None)
        if gold is None or nexts[gold.mid] == np.inf:
            continue
        wrong = [sound for sound in others if sound is not gold]
        if wrong and all(nexts[s.mid] - nexts[gold.mid] >= MARGIN for s in wrong):
            yield scene.draft("after", gold, wrong, target=target, moment=moment, nexts=nexts)


def count(scene: Scene) -> Iterator[Draft]:
    """How many separate times a sound is heard."""
    countable = [sound for sound in scene.usable if sound.clear and len(sound.events) <= MOST_COUNTED]
    repeated = [sound for sound in countable if len(sound.events) > 1]
    # Once is the most common number by far: it is asked for only where nothing comes again, and then now and then.
    for target in repeated or (countable if scene.rng.random() < ONCE else ()):
        number = len(target.events)
        lowest = max(1, number - int(scene.rng.integers(SHOWN)))
        wrong = [str(n) for n in range(lowest, lowest + SHOWN) if n != number]
        yield _draft("count", str(number), wrong, target=target)


def overlap(scene: Scene) -> Iterator[Draft]:
    """Which sound is heard at the same time as another."""
    for target in scene.usable:
        others = [sound for sound in scene.usable if sound is not target]
        meeting = [s for s in others if s.shared(target) >= CLEAR]
        asunder = [s for s in others if s.shared(target) <= -MARGIN]
        if asunder:
            yield from (scene.draft("overlap", gold, asunder, target=target) for gold in meeting)


def together(scene: Scene) -> Iterator[Draft]:
    """Whether two sounds are ever heard at the same time, in a clip with both such pairs and others."""
    pairs = [(a, b) for i, a in enumerate(scene.usable) for b in scene.usable[i + 1 :]]
    shared = [a.shared(b) for a, b in pairs]
    found = {
        "yes": [(pair, s) for pair, s in zip(pairs, shared, strict=True) if s >= CLEAR],
        "no": [(pair, s) for pair, s in zip(pairs, shared, strict=True) if s <= -MARGIN],
    }
    # Sounds that overlap are far more common: where both answers can be asked for, each is as likely; else none is.
    if not all(found.values()):
        return
    answer, wrong = map(str, scene.rng.permutation(["yes", "no"]))
    for (target, other), seconds in found[answer]:
        yield _draft("together", answer, [wrong], target=target, other=other, shared=seconds)


def longest(scene: Scene) -> Iterator[Draft]:
    """Which sound is heard for the longest time in all, by a clear difference."""
    if not scene.usable:
        return
    gold = max(scene.usable, key=lambda sound: sound.total)
    others = [sound for sound in scene.usable if sound is not gold]
    if others and all(gold.total >= max(s.total * LONGER, s.total + CLEAR) for s in others):
        yield scene.draft("longest", gold, others)


def present(scene: Scene) -> Iterator[Draft]:
    """Which of four sounds is heard at all."""
    for gold in scene.usable:
        draft = scene.draft("present", gold, ())
        if gold.total >= CLEAR and len(draft.wrong) == SHOWN - 1:
            yield draft


def absent(scene: Scene) -> Iterator[Draft]:
    """Which of the sounds is not heard."""
    heard = [sound.name for sound in scene.usable if sound.total >= CLEAR][: SHOWN - 1]
    gold = scene.unheard(1)
    if gold and len(heard) >= 2:
        yield _draft("absent", gold[0], heard)


RULES: dict[str, Callable[[Scene], Iterator[Draft]]] = {
    rule.__name__: rule for rule in (first, after, count, overlap, together, longest, present, absent)
}
SKILLS = {
    "first": ("Perception", "Order"),
    "after": ("Reasoning", "Order"),
    "count": ("Reasoning", "Counting"),
    "overlap": ("Reasoning", "Overlap"),
    "together": ("Reasoning", "Overlap"),
    "longest": ("Perception", "Duration"),
    "present": ("Perception", "Identification"),
    "absent": ("Perception", "Identification"),
}
