"""What any pretrained text model can do with a short list, for a base model that has read nothing else.

The tiny base learns from audio alone and would otherwise not even copy a word from its own context. These
texts give it what Qwen2 brings along from text: to repeat a list and number it, to find an end, a
neighbour or a member, to tell new from again, to add and to compare; to answer several questions at once,
and to put an answer between tags. A recital is some words said twice; a dialogue is about one list, and
every answer in it is one short sentence. None is about audio, and none is a chain of thought.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase

from sari_data.sources.scenes.synth import REGISTERS, SOUNDS, TIMBRES, VOICES, WORDS

Turn = tuple[str, str]  # what the user says, what the assistant answers

_NOUNS = (*SOUNDS, *TIMBRES)
_MARKS = ("long", "short", "loud", "soft", *REGISTERS, *VOICES)
_PAIRS = tuple(f"{mark} {noun}" for mark in _MARKS for noun in _NOUNS)
# The section tags of the structured mode, as mere markup: singly or in any order, around short answers. A real
# base knows tags from its text. So this base has met these four, but neither <think> nor a thought in sections.
MARKUP = ("planning", "caption", "reasoning", "summary")
_WORDS = (*WORDS, *_NOUNS, *_MARKS)


@dataclass(frozen=True)
class Listing:
    """The list that a dialogue is about, and the words it was drawn from."""

    items: tuple[str, ...]
    pool: tuple[str, ...]

    @property
    def others(self) -> list[str]:
        """Words that could have been in the list and are not."""
        return [word for word in self.pool if word not in self.items]

    @property
    def distinct(self) -> bool:
        """No item comes twice."""
        return len(set(self.items)) == len(self.items)


Skill = Callable[[random.Random, Listing], Turn | None]


def dialogue(rng: random.Random) -> list[Turn]:
    """Return one or two turns, of one to three questions each, about one random list."""
    listing = draw_list(rng)
    turns = [_turn(rng, listing) for _ in range(rng.randint(1, 2))]
    question, answer = turns[0]
    return [(f"{_introduce(rng, listing.items)} {question}", answer), *turns[1:]]


def ask(rng: random.Random, skill: Skill) -> Turn:
    """Return one question that asks for ``skill``, after its list."""
    while True:
        listing = draw_list(rng)
        turn = skill(rng, listing)
        if turn is not None:
            return f"{_introduce(rng, listing.items)} {turn[0]}", turn[1]


def _turn(rng: random.Random, listing: Listing) -> Turn:
    """Ask one to three questions at once; a third of the turns wants each answer between tags."""
    asked: list[Turn] = []
    count = rng.randint(1, 3)
    while len(asked) < count:
        turn = rng.choice(SKILLS)(rng, listing)
        if turn is not None:
            asked.append(turn)
    questions, answers = " ".join(q for q, _ in asked), [a for _, a in asked]
    if rng.random() >= 1 / 3:
        return questions, " ".join(answers)
    tags = rng.sample(MARKUP, count)
    wanted = ", ".join(f"<{tag}></{tag}>" for tag in tags)
    marked = (f"<{tag}>{answer}</{tag}>" for tag, answer in zip(tags, answers, strict=True))
    return f"{questions} Answer in {wanted}.", "".join(marked)


def _introduce(rng: random.Random, items: Sequence[str]) -> str:
    way = rng.randrange(3)
    if way == 0:
        return f"The list is {', '.join(items)}."
    return f"The list is {' then '.join(items)}." if way == 1 else f"The list:\n{_lettered(items)}"


def _lettered(items: Sequence[str]) -> str:
    return "".join(f"({ascii_uppercase[i]}) {item}\n" for i, item in enumerate(items))


def recital(rng: random.Random) -> str:
    """Return five to thirty random words, to be said twice.

    To go on as it went before is what attention heads of text models learn first, and what most of their
    skills within a context build on (Olsson et al. 2022, "In-context Learning and Induction Heads").
    """
    words = rng.choices(_WORDS, k=rng.randint(5, 30))
    separator = rng.choice((" ", ", "))
    return "".join(f"{word}{separator}" for word in words)


def draw_list(rng: random.Random) -> Listing:
    """Draw one to six numbers, names, or marked names; half of the lists may repeat themselves."""
    pool = rng.choices((tuple(WORDS), _NOUNS, _MARKS, _PAIRS), weights=(35, 35, 10, 20))[0]
    size = rng.randint(1, 6)
    if rng.random() < 0.5:
        return Listing(tuple(rng.sample(pool, size)), pool)
    few = rng.sample(pool, rng.randint(1, size))
    return Listing(tuple(rng.choice(few) for _ in range(size)), pool)


def _repeat(rng: random.Random, listing: Listing) -> Turn:
    return "Repeat it.", f"{', '.join(listing.items)}."


def _number(rng: random.Random, listing: Listing) -> Turn:
    return "Number it.", ", ".join(f"{item} {i}" for i, item in enumerate(listing.items, 1)) + "."


def _end(rng: random.Random, listing: Listing) -> Turn:
    name, at = rng.choice((("first", 0), ("last", -1)))
    return f"What is {name}?", f"{name.capitalize()} is {listing.items[at]}."


def _neighbour(rng: random.Random, listing: Listing) -> Turn | None:
    if not listing.distinct or len(listing.items) < 2:
        return None
    at = rng.randrange(len(listing.items) - 1)
    here, following = listing.items[at], listing.items[at + 1]
    if rng.random() < 0.5:
        return f"What comes after {here}?", f"After {here} comes {following}."
    return f"What comes before {following}?", f"Before {following} comes {here}."


def _member(rng: random.Random, listing: Listing) -> Turn | None:
    """Which of some words is in the list."""
    if len(listing.others) < 3:
        return None
    inside = rng.choice(listing.items)
    words = [*rng.sample(listing.others, 3), inside]
    rng.shuffle(words)
    return f"Which of {', '.join(words)} is in it?", f"{inside}."


def _members(rng: random.Random, listing: Listing) -> Turn | None:
    """For each of some words, whether it is in the list."""
    if not listing.others:
        return None
    words = [rng.choice(listing.items if rng.random() < 0.5 else listing.others) for _ in range(rng.randint(1, 4))]
    answers = (f"{word} {'yes' if word in listing.items else 'no'}" for word in words)
    given = f" {', '.join(words)}" if rng.random() < 0.5 else f"\n{_lettered(words)}"
    return f"Is each of these in it?{given}", f"{', '.join(answers)}."


def _marked(rng: random.Random, listing: Listing) -> Turn:
    """For each item, whether it is a certain word."""
    word = rng.choice(listing.items)
    told = (f"{item} {'yes' if item == word else 'no'}" for item in listing.items)
    return f"Mark each {word}.", f"{', '.join(told)}."


def _pair(rng: random.Random, listing: Listing) -> Turn:
    one = rng.choice(listing.pool)
    other = one if rng.random() < 0.5 else rng.choice(listing.pool)
    return f"Are {one} and {other} the same?", f"{one} and {other} are {_verdict(one, other)}."


def _ends(rng: random.Random, listing: Listing) -> Turn:
    begin, end = listing.items[0], listing.items[-1]
    return "Are the first and the last the same?", f"First is {begin}, last is {end}, {_verdict(begin, end)}."


def _verdict(one: str, other: str) -> str:
    return "the same" if one == other else "not the same"


def _times(rng: random.Random, listing: Listing) -> Turn:
    item = rng.choice(listing.items)
    return f"How often is {item} in it?", f"{item} is in it {listing.items.count(item)} times."


def _length(rng: random.Random, listing: Listing) -> Turn:
    return "How many are there?", f"There are {len(listing.items)}."


def _news(rng: random.Random, listing: Listing) -> Turn:
    """For each item, whether it is new or there already."""
    told = (f"{x} {'again' if x in listing.items[:i] else 'new'}" for i, x in enumerate(listing.items))
    return "Which are new?", f"{', '.join(told)}."


def _plus(rng: random.Random, listing: Listing) -> Turn:
    a, b = rng.randint(0, 18), rng.randint(0, 9)
    return f"What is {a} plus {b}?", f"{a} plus {b} is {a + b}."


def _compare(rng: random.Random, listing: Listing) -> Turn:
    scale = rng.choice((tuple(WORDS), tuple(REGISTERS)))
    a, b = rng.randrange(len(scale)), rng.randrange(len(scale))
    return (
        f"Compare {scale[a]} with {scale[b]}.",
        f"{scale[b]} is {'more' if b > a else 'less' if b < a else 'the same'}.",
    )


SKILLS: tuple[Skill, ...] = (
    _repeat,
    _number,
    _end,
    _neighbour,
    _member,
    _members,
    _marked,
    _pair,
    _ends,
    _times,
    _length,
    _news,
    _plus,
    _compare,
)
