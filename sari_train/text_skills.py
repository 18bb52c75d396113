"""What any pretrained text model can do with a short list, for a base model that has read nothing else.

The tiny base learns from audio alone and would otherwise not even copy a word from its own context.
These rows give it what Qwen2 brings along from text: to repeat a list, to number it, to find a
neighbour in it, to compare two words, to add and compare numbers. They are questions about a text with
one short answer; none is about audio, and none is a chain of thought.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from sari_data.sources.scenes.synth import REGISTERS, SOUNDS, TIMBRES, VOICES, WORDS

Skill = tuple[str, str]

_NOUNS = [*SOUNDS, *TIMBRES]
_MARKS = ["long", "short", "loud", "soft", *REGISTERS, *VOICES]


def draw(rng: random.Random) -> Skill:
    """Return the prompt and the answer of one text question."""
    return rng.choice(_SKILLS)(rng)


def _list(rng: random.Random, *, low: int = 2, distinct: bool = False) -> list[str]:
    """A list of two to five words, marked words, or numbers."""
    kind = rng.random()
    pool = list(WORDS) if kind < 0.4 else _NOUNS if kind < 0.75 else [f"{m} {n}" for m in _MARKS for n in _NOUNS]
    size = rng.randint(low, 5)
    if distinct:
        return rng.sample(pool, size)
    few = rng.sample(pool, rng.randint(1, size))
    return [rng.choice(few) for _ in range(size)]


def _repeat(rng: random.Random) -> Skill:
    text = ", ".join(_list(rng))
    return f"Repeat the list: {text}.", f"{text}."


def _number(rng: random.Random) -> Skill:
    items = _list(rng)
    return f"Number the list: {', '.join(items)}.", ", ".join(f"{x} {i}" for i, x in enumerate(items, 1)) + "."


def _marks(rng: random.Random) -> Skill:
    items = [f"{rng.choice(_MARKS)} {rng.choice(_NOUNS)}" for _ in range(rng.randint(2, 5))]
    return f"Give the first word of each: {', '.join(items)}.", " ".join(x.split()[0] for x in items) + "."


def _end(rng: random.Random) -> Skill:
    items = _list(rng)
    name, at = rng.choice([("first", 0), ("last", -1)])
    return f"What is {name} in the list {', '.join(items)}?", f"{items[at]}."


def _neighbour(rng: random.Random) -> Skill:
    items = _list(rng, distinct=True)
    at = rng.randrange(len(items) - 1)
    if rng.random() < 0.5:
        return f"What comes after {items[at]} in the list {', '.join(items)}?", f"{items[at + 1]}."
    return f"What comes before {items[at + 1]} in the list {', '.join(items)}?", f"{items[at]}."


def _member(rng: random.Random) -> Skill:
    """Which of the options is in the list."""
    items = _list(rng, distinct=True)
    inside = rng.choice(items)
    pool = [x for x in (WORDS if inside in WORDS else _NOUNS) if x not in items]
    options = [*rng.sample(pool, 3), inside]
    rng.shuffle(options)
    return f"Which of the options {', '.join(options)} is in the list {', '.join(items)}?", f"{inside}."


def _same(rng: random.Random) -> Skill:
    a, b = rng.choice(_NOUNS), rng.choice(_NOUNS)
    if rng.random() < 0.5:
        b = a
    return f"Are {a} and {b} the same?", "the same." if a == b else "not the same."


def _plus(rng: random.Random) -> Skill:
    a, b = rng.randint(0, 18), rng.randint(0, 9)
    return f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."


def _compare(rng: random.Random) -> Skill:
    a, b = rng.randint(0, 9), rng.randint(0, 9)
    relation = "more" if b > a else "less" if b < a else "the same"
    return f"Compare {a} with {b}.", f"{a}, {b} is {relation}."


_SKILLS: tuple[Callable[[random.Random], Skill], ...] = (
    _repeat,
    _number,
    _marks,
    _end,
    _neighbour,
    _member,
    _same,
    _plus,
    _plus,
    _compare,
)
