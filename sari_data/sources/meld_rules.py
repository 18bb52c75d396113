"""Questions about emotion, sentiment, speaker and words that follow from a MELD row, and when a row allows none.

Each choice of what may stand beside what is explained in ``docs/sources-meld.md``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sari_data.sources.files import seeded_hash
from sari_data.sources.phrasing import Draft, Refused, pick_apart

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")
SENTIMENTS = ("negative", "neutral", "positive")
SPEAKERS = ("Chandler", "Joey", "Monica", "Phoebe", "Rachel", "Ross")
# What is never offered together, for MELD's labels do not keep the two apart: disgust sounds like anger, and surprise
# is labelled for its occasion, which may as well be one for joy or for fear. Two wrong options are kept apart as well:
# were only the right one, then a question with both of a pair would tell that it is about neither.
BLURRED = (frozenset({"anger", "disgust"}), frozenset({"joy", "surprise"}), frozenset({"fear", "surprise"}))
FEWEST_WORDS = 3  # in a sentence that is asked for; fewer are often said by anybody
MOST_WORDS = 40  # more make options that nobody reads
LENGTHS = 0.6  # how far apart the lengths of two sentences offered together may be, as a share of the right one's
MOST_SHARED = 0.4  # of their different words that two sentences offered together may share
_STAGE = re.compile(r"[()\[\]{}*<>|]")
_DIRECTION = re.compile(r"\([^()]*\)|\[[^\[\]]*\]")
UNSAID = Refused("not all of the text is said")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")

AFFECT = ("Reasoning", "Emotion State summarisation")
SKILLS = {
    "emotion": AFFECT,
    "sentiment": AFFECT,
    "speaker": ("Information Extraction", "Speaker Identification"),
    "words": ("Information Extraction", "Speech Content"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One utterance.

    Args:
        id: ``<split>/dia<D>_utt<U>``.
        split: ``train``, ``dev``, ``test``, or the name of the table.
        dialogue: Number of the dialogue in its split.
        utterance: Number of the utterance in its dialogue.
        text: What is said.
        speaker: Who says it.
        emotion: One of EMOTIONS.
        sentiment: One of SENTIMENTS.
        season: Of the series; 0 where none is given.
        episode: Of the season; 0 where none is given.
        seconds: Length of the clip by the table's times.
    """

    id: str
    split: str
    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    sentiment: str
    season: int
    episode: int
    seconds: float


class Script:
    """All utterances of the tables, to take other sentences from and to know how often each label comes up.

    MELD has some 14,000 short utterances and will not grow; they are held.

    Args:
        lines: The utterances, in order.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = tuple(lines)
        counts = self.count("emotion")
        # No more neutral ones than of the next emotion: so they are asked about (``even_out_neutral``).
        most = max((number for name, number in counts.items() if name != "neutral"), default=1)
        self.weights = {name: min(counts.get(name, 1), most) for name in EMOTIONS}
        self.by_dialogue: dict[tuple[str, int], list[Line]] = {}
        self.by_speaker: dict[tuple[str, str], list[Line]] = {}
        for line in self.lines:
            self.by_dialogue.setdefault((line.split, line.dialogue), []).append(line)
            self.by_speaker.setdefault((line.split, line.speaker), []).append(line)

    def count(self, label: str) -> dict[str, int]:
        """Return how many utterances have each emotion or sentiment (``label``)."""
        counts: dict[str, int] = {}
        for line in self.lines:
            counts[getattr(line, label)] = counts.get(getattr(line, label), 0) + 1
        return counts

    def share_kept(self, label: str) -> float:
        """Return the share of utterances whose label is ``neutral`` that leaves as many of them as of the next label.

        Args:
            label: ``emotion`` or ``sentiment``.
        """
        counts = self.count(label)
        others = [count for name, count in counts.items() if name != "neutral"]
        return min(1.0, max(others) / counts["neutral"]) if others and "neutral" in counts else 1.0


def words_of(text: str) -> frozenset[str]:
    """Return the different words of a sentence, without case and marks."""
    return frozenset(word.casefold().replace("’", "'") for word in _WORD.findall(text))


def spoken(text: str) -> str | None:
    """Return the words of a script's line without its stage directions; ``None`` where they cannot be told apart."""
    said = " ".join(_DIRECTION.sub(" ", text).split())
    return None if _STAGE.search(said) or not words_of(said) else said


def emotion(line: Line, script: Script, seed: int) -> Draft | Refused:
    """Which emotion? Four of the seven, no two of them such as the labels do not keep apart.

    The wrong ones are drawn as often as they come up, so that what is rarely right is rarely offered: else fear and
    disgust could be crossed out without listening.
    """
    text = spoken(line.text)
    if text is None:
        return UNSAID
    wrong: list[str] = []
    for other in _shuffled(EMOTIONS, seed, f"{line.id}/emotion", [script.weights[e] for e in EMOTIONS]):
        if other != line.emotion and not any({other, shown} in BLURRED for shown in (line.emotion, *wrong)):
            wrong.append(other)
    return _draft("emotion", line.emotion, wrong[:3], {"text": text})


def sentiment(line: Line, script: Script, seed: int) -> Draft | Refused:
    """Negative, neutral or positive?"""
    text = spoken(line.text)
    if text is None:
        return UNSAID
    return _draft("sentiment", line.sentiment, [s for s in SENTIMENTS if s != line.sentiment], {"text": text})


def speaker(line: Line, script: Script, seed: int) -> Draft | Refused:
    """Which of the six main characters speaks? None of the options is named in what is said."""
    if line.speaker not in SPEAKERS:
        return Refused("the speaker is none of the six main characters")
    text = spoken(line.text)
    if text is None:
        return UNSAID
    named = {s for s in SPEAKERS if re.search(rf"\b{s}\b", text, re.IGNORECASE)}
    if line.speaker in named:
        return Refused("the words name the speaker")
    # People seldom speak of themselves by name: who is named could be crossed out without knowing a voice.
    options = [s for s in SPEAKERS if s != line.speaker and s not in named]
    if len(options) < 3:
        return Refused("the words name too many of the characters")
    return _draft("speaker", line.speaker, _shuffled(options, seed, f"{line.id}/speaker")[:3], {"text": text})


def words(line: Line, script: Script, seed: int) -> Draft | Refused:
    """Which sentence is said? The others are from the same dialogue, or by the same speaker, and about as long."""
    gold = words_of(line.text)
    if not _can_be_asked(line.text):
        return Refused("the text is too short or too long, or not all of it is said")
    size = len(_WORD.findall(line.text))
    near = script.by_dialogue[line.split, line.dialogue]
    same = script.by_speaker[line.split, line.speaker]

    # The lengths allowed lie anywhere about that of the right sentence: were it in the middle, that would give it away.
    id = f"{line.id}/words"
    spread = max(4.0, LENGTHS * size)
    least = size - spread * (seeded_hash(seed, f"{id}/lengths") % 1001) / 1000

    def fits(other: Line) -> bool:
        length = len(_WORD.findall(other.text))
        return other.id != line.id and least <= length <= least + spread and _can_be_asked(other.text)

    def clash(a: str, b: str) -> bool:
        left, right = words_of(a), words_of(b)
        return len(left & right) > MOST_SHARED * len(left | right)

    # Those of the dialogue first: they are about the same things. The rest by the speaker, from anywhere.
    wrong = pick_apart(line.text, dict.fromkeys(x.text for x in near if fits(x)), 3, clash, seed, id)
    # A few dozen of the speaker's, from a place that seed and row decide, are enough to look at.
    start = seeded_hash(seed, id) % len(same)
    for offset in range(min(len(same), 150)):
        if len(wrong) == 3:
            break
        other = same[(start + offset) % len(same)]
        if fits(other) and not any(clash(other.text, text) for text in (line.text, *wrong)):
            wrong.append(other.text)
    if len(wrong) < 3 or not gold:
        return Refused("too few other sentences are about as long and differ enough")
    return _draft("words", line.text, wrong, {"length": round(line.seconds)})


def _shuffled(options: Sequence[str], seed: int, id: str, weights: Sequence[float] = ()) -> list[str]:
    """The options in an order that seed and id decide; the greater its weight, the likelier does one come early."""
    waits = {}
    for option, weight in zip(options, weights or [1.0] * len(options), strict=True):
        share = (seeded_hash(seed, f"{id}/{option}") + 1) / 2**128
        waits[option] = -math.log(share) / weight
    return sorted(options, key=waits.__getitem__)


def _can_be_asked(text: str) -> bool:
    """Whether a text is all speech, without the script's stage directions, and of a length to be an option."""
    return FEWEST_WORDS <= len(_WORD.findall(text)) <= MOST_WORDS and _STAGE.search(text) is None


def _draft(rule: str, answer: str, wrong: Sequence[str], values: Mapping[str, object]) -> Draft:
    category, sub_category = SKILLS[rule]
    return Draft(
        rule=rule, answer=answer, wrong=tuple(wrong), values=values, category=category, sub_category=sub_category
    )


RULES: dict[str, Callable[[Line, Script, int], Draft | Refused]] = {
    "emotion": emotion,
    "sentiment": sentiment,
    "speaker": speaker,
    "words": words,
}
