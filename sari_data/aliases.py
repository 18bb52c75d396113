"""Other names of an option: forms that mean the same whatever the question is.

"Anger" stands for "angry", "a man" for "male", "12 seconds" for "0:12", "the 80s" for "1980s", "speaker 1" for "first
speaker", "2 times" for "twice". A name counts only where no other option is meant by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from sari_data.wording import stem, word_set

Form = tuple[str, ...]

# Families of words for one thing: adjective, noun and adverb of a feeling, the two ways to say who speaks.
_FAMILIES = [
    word_set(line)
    for line in (
        "angry anger angrily angered",
        "happy happiness happily",
        "sad sadness sadly saddened sorrow",
        "joy joyful joyous joyfully",
        "fear fearful afraid fearfully",
        "disgust disgusted",
        "surprise surprised",
        "neutral neutrality neutrally",
        "calm calmness calmly",
        "excited excitement excitedly",
        "anxious anxiety anxiously",
        "nervous nervousness nervously",
        "frustrated frustration",
        "confused confusion",
        "bored boredom",
        "sarcastic sarcasm sarcastically",
        "humorous humor humour",
        "romantic romance",
        "melancholic melancholy",
        "nostalgic nostalgia",
        "peaceful peace peacefully",
        "tense tension",
        "aggressive aggression aggressively",
        "curious curiosity",
        "enthusiastic enthusiasm enthusiastically",
        "male man men masculine",
        "female woman women feminine",
        "child kid children",
        "center centre",
        "loud loudness loudly",
        "classical classic",
        "stay remain",
        "tv television telly",
        "synth synthesizer synthesiser",
        "sax saxophone",
        "cafe coffeehouse",
        "ecg ekg electrocardiogram",
        "plane airplane aeroplane aircraft",
        "car automobile",
        "telephone phone",
        "bike bicycle",
        "mother mom mum mommy",
        "father dad daddy",
        "elderly old",
        "movie film",
        "baby infant",
        "photo photograph picture",
        "fast quick quickly",
        "indoor indoors inside",
        "outdoor outdoors outside",
        "australia australian",
        "canada canadian",
        "britain british uk",
        "america american usa",
        "india indian",
        "china chinese",
        "japan japanese",
        "korea korean",
        "france french",
        "germany german",
        "italy italian",
        "spain spanish",
        "mexico mexican",
        "brazil brazilian",
        "russia russian",
        "ireland irish",
        "scotland scottish",
        "africa african",
        "asia asian",
        "europe european",
        "self oneself myself yourself himself herself itself themselves ourselves",
        "arabia arabic arabian arab",
    )
]
# Names of more than one word for one thing.
_PHRASES: list[tuple[Form, ...]] = [
    (("united", "kingdom"), ("uk",), ("britain",), ("british",)),
    (("united", "state"), ("usa",), ("america",), ("american",), ("u.s",)),
    (("table", "tenni"), ("ping", "pong")),
    (("cafe",), ("coffee", "shop"), ("coffee", "house")),
    (("kid",), ("young", "child"), ("young", "children")),
    (("vacuum", "cleaner"), ("vacuuming",), ("hoover",)),
    (("hip", "hop"), ("hiphop",)),
    (("speeding", "up"), ("getting", "faster"), ("becoming", "faster"), ("increasing",), ("accelerating",)),
    (("slowing", "down"), ("getting", "slower"), ("becoming", "slower"), ("decreasing",), ("decelerating",)),
]
_FAMILY = {word: family for family in _FAMILIES for word in family}
_FIRST = {word: min(family) for word, family in _FAMILY.items()}
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?:\.0+)?")
# "00:08:00": minutes, seconds and hundredths, where it is a place in a recording.
_FRAMES = re.compile(r"^(0?0:\d\d):00$")
_DECADE = re.compile(r"(?:1[89]|20)\d0")
_COUNT = re.compile(r"\d{1,3}")
_COUNT_WORDS = {"once": "1", "twice": "2", "thrice": "3"}
_ORDINAL = re.compile(r"(\d{1,2})(?:st|nd|rd|th)")
_NOTE = re.compile(r"[a-g][#b]?")
_KINDS = word_set(
    "person people music sound noise voice instrument genre song setting environment scene mood tone style"
)
_ING = re.compile(r"([a-z]{3,})ing")
_MORE = {"more": ("over", "greater"), "less": ("fewer", "under")}


def aliases(forms: Sequence[Form]) -> list[list[Form]]:
    """Return lists of other forms of the options, each as long as ``forms``, an empty form where there is none."""
    found = _by_family(forms) + _by_phrase(forms)
    for make in (_clock, _decade, _numbered, _generic, _minor, _compared):
        found += make(forms)
    for number in range(4):
        found.append([_inflected(form, number) for form in forms])
    return [alias for alias in found if any(alias)]


def _by_family(forms: Sequence[Form]) -> list[list[Form]]:
    """Each option with one of its words replaced by another of its family, which no option holds."""
    used = {word for form in forms for word in form}
    lists: list[list[Form]] = []
    for i, form in enumerate(forms):
        if len(form) > 3:
            continue
        for k, word in enumerate(form):
            for other in sorted(_FAMILY.get(word, frozenset()) - {word}):
                if not (_FAMILY[word] & used) - {word}:
                    changed = (*form[:k], stem(other), *form[k + 1 :])
                    lists.append([changed if j == i else () for j in range(len(forms))])
    return lists


def _by_phrase(forms: Sequence[Form]) -> list[list[Form]]:
    """Each option with a name of several words in it replaced by another one of the same thing."""
    lists: list[list[Form]] = []
    for i, form in enumerate(forms):
        for names in _PHRASES:
            for name in names:
                at = next((k for k in range(len(form)) if form[k : k + len(name)] == name), None)
                if at is None:
                    continue
                for other in names:
                    changed = (*form[:at], *other, *form[at + len(name) :])
                    lists.append([changed if j == i else () for j in range(len(forms))])
    return lists


def canonical(word: str) -> str:
    """Return one word for all words of a family: "kid" is "child"."""
    return _FIRST.get(word, word)


def _each(forms: Sequence[Form], make: Callable[[Form], Form | None]) -> list[list[Form]]:
    made = [make(form) for form in forms]
    return [[form or () for form in made]] if any(made) else []


def _clock(forms: Sequence[Form]) -> list[list[Form]]:
    """ "12 seconds" for "0:12", "20 to 30 seconds" for "0:20-0:30"."""

    def seconds(form: Form) -> Form | None:
        marks = [_CLOCK.fullmatch(_FRAMES.sub(r"\1", word)) for word in form]
        if not marks or not all(marks):
            return None
        return (*(str(60 * int(m[1]) + int(m[2])) for m in marks if m), "second")

    return _each(forms, seconds)


def _decade(forms: Sequence[Form]) -> list[list[Form]]:
    """ "the 80s" for "1980s"; the number 80 is told apart where it is looked for."""
    return _each(forms, lambda form: (form[0][2:],) if len(form) == 1 and _DECADE.fullmatch(form[0]) else None)


def counts(forms: Sequence[Form]) -> list[list[Form]]:
    """Return other forms of options that say how often: "2" and "2 times" for "twice", "3" for "three times"."""

    def count(form: Form) -> str | None:
        if len(form) == 1 and form[0] in _COUNT_WORDS:
            return _COUNT_WORDS[form[0]]
        return form[0] if len(form) == 2 and form[1] == "time" and _COUNT.fullmatch(form[0]) else None

    often = [count(form) for form in forms]
    if sum(c is not None for c in often) < 2:
        return []
    words = {number: word for word, number in _COUNT_WORDS.items()}
    return [
        [(c, "time") if c else () for c in often],
        [(c,) if c else () for c in often],
        [(words[c],) if c in words else () for c in often],
    ]


def _numbered(forms: Sequence[Form]) -> list[list[Form]]:
    """ "speaker 1" for "first speaker"."""

    def turned(form: Form) -> Form | None:
        match = _ORDINAL.fullmatch(form[0]) if len(form) == 2 else None
        return (form[1], match[1]) if match else None

    def place(form: Form) -> Form | None:
        # "19 seconds" for "the 19th second"
        match = _ORDINAL.fullmatch(form[-2]) if len(form) > 1 and form[-1] == "second" else None
        return (match[1], "second") if match else None

    def one(form: Form) -> Form | None:
        return (form[0], "1") if turned(form) else None

    return [*_each(forms, turned), *_each(forms, one), *_each(forms, place)]


def _generic(forms: Sequence[Form]) -> list[list[Form]]:
    """ "elderly" for "elderly person", "train" for "train sound": a word that says only of what kind all options "
    "are."""
    return _each(forms, lambda form: form[:-1] if len(form) > 1 and form[-1] in _KINDS else None)


def _minor(forms: Sequence[Form]) -> list[list[Form]]:
    """ "F#m" and "Em" for "F# minor" and "E minor"; "am" is a verb."""

    def sign(form: Form) -> Form | None:
        if len(form) != 2 or form[1] != "min" or _NOTE.fullmatch(form[0]) is None:
            return None
        return (form[0], "m") if form[0][-1] == "#" else (f"{form[0]}m",) if form[0] != "a" else None

    return _each(forms, sign)


def _compared(forms: Sequence[Form]) -> list[list[Form]]:
    """ "over 10" for "more than 10", "fewer than 5" for "less than 5"."""

    def other(form: Form, place: int) -> Form | None:
        if len(form) < 3 or form[0] not in _MORE or form[1] != "than":
            return None
        word = _MORE[form[0]][place]
        return (word, *form[2:]) if word in ("over", "under") else (word, *form[1:])

    return [*_each(forms, lambda form: other(form, 0)), *_each(forms, lambda form: other(form, 1))]


def _inflected(form: Form, number: int) -> Form:
    """A single word in another form: "barks" for "barking", "increasing" for "increases"."""
    if len(form) != 1:
        return ()
    word = form[0]
    if match := _ING.fullmatch(word):
        base = match[1][:-1] if match[1][-1] == match[1][-2] and match[1][-1] not in "ls" else match[1]
        return ((base,), (f"{base}e",), (f"{match[1]}ed",), (f"{base}er",))[number]
    if word.endswith("ate") and len(word) > 6:
        return ((f"{word[:-1]}ing",), (f"{word}d",), (f"{word[:-1]}ion",), ())[number]
    if word.endswith("ease"):
        return ((f"{word[:-1]}ing",), (f"{word}d",), (), ())[number]
    return ()
