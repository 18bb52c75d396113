"""Which option a response in prose concludes with, or why none: for models that were never asked for tags.

Every sentence is asked what it claims (:mod:`sari_data.clauses`). The firmest kind of claim decides, and of those
the last; two that name different options contradict each other unless the later one takes the earlier back. A
response that only describes, weighs or lists options has no choice: nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from sari_data.clauses import CONCLUDES, LEANS, REFUSED, STATES, Claim, claim_of
from sari_data.cues import CONCLUDES_CUE, LACKS_CUE, TURNING, TURNS_CUE
from sari_data.endings import loops, stops_halfway, without_offers
from sari_data.lettering import bare, lone_letters, options_by_letter
from sari_data.markup import unmarked, unnumbered
from sari_data.mentions import MANY, MARKS, Mentions, mentions_of
from sari_data.options import AMBIGUOUS, NOT_AN_OPTION
from sari_data.paraphrases import denies, emphasised, paraphrased, respelled
from sari_data.places import TENTATIVE, claims_of
from sari_data.turns import pairs, plain
from sari_data.wording import fold, sentences, tokens, word_set

LOOPS = "repeats itself"
HALFWAY = "stops halfway"
DISAGREE = "several answers that disagree"

# A response of so few words that whatever one option it names is its answer.
_SHORT_WORDS, _SHORT_SENTENCES = 45, 2
# What is read of a response: its last characters, and of a sentence without an end its last ones.
_READ_CHARACTERS, _SENTENCE_CHARACTERS = 40_000, 2_000
# How many sentences are asked what they say in other words: the last ones.
_PARAPHRASED = 8
_ANSWERS = re.compile(r"\b(?:answer|option|choice) is\b")
_TIMES = {"once": "1", "twice": "2", "thrice": "3"}
# Words that count by themselves: "only a single student", "a duo"; but not "not a single one".
_GROUPS = {**dict.fromkeys(("single", "sole", "lone"), "1"), "pair": "2", "duo": "2", "trio": "3", "quartet": "4"}
_GROUP = re.compile(
    r"(?<!not )(?<!without )\b(?:a|the|only|just) (single|sole|lone|pair|duo|trio|quartet)\b(?! (?:from|line))"
)
_ONCE = re.compile(r"\b(?:only|just|exactly|appears?|heard|occurs?|said|used|spoken) once\b|\bonce(?: \.)?$")
# A last sentence that takes back what was said without saying anything instead: "Wait, no.", "No, that is wrong."
_TAKES_BACK = re.compile(
    r"(?:(?:wait|no|actually|hmm|sorry|but|hold on|that|this|is|was) ?[,.!]? ){1,6}"
    r"(?:not|no|wrong|incorrect|right) ?[.!]?$"
    r"|(?:(?:actually|wait|hmm) ,? ?){1,3}(?:but )?(?:i am )?(?:not sure|i do not know|never mind) ?[.!]?$"
)
# After these stands a remark on what was said.
_REMARKS = ("(", "because", "since")
# After these stands where something is, or what it is.
_PLACES = word_set("in at inside is are it")
_NO_DENIAL = word_set("not no never without nor neither cannot could might may if or")
# What only leans a little: nothing that a response may begin with as its answer.
_UNSURE = re.compile(r"\b(?:seems?|appears?|sounds? like|at first|1st|initially|suggests?|hear|might|may|could)\b")
_FINAL = re.compile(r"\bfinal\b")


def conclude(text: str, choices: Sequence[str]) -> tuple[int | None, str | None]:
    """Return the index of the option that a text concludes with, or ``None`` and the reason.

    Args:
        text: Prose: what stands outside all sections, or inside the answer section.
        choices: The options as they were shown.

    Returns:
        The choice and ``None``, or ``None`` and a reason; ``None`` and ``None`` where the text concludes nothing.
    """
    if not choices:
        return None, None
    mentions = mentions_of(tuple(choices))
    tail = unmarked(text[-_READ_CHARACTERS:])
    if mentions.digits:
        tail = unnumbered(tail)
    folded = fold(tail)
    for name in mentions.dotted:
        folded = folded.replace(name, name.replace(".", " "))
    pieces = without_offers(list(dict.fromkeys(sentences(folded))))
    parts = pairs([part for piece in pieces for part in _parts(piece, mentions)], mentions)
    short = sum(map(len, parts)) <= _SHORT_WORDS or len(parts) <= _SHORT_SENTENCES
    choice, reason = _read(parts, short, mentions)
    if choice is not None:
        return choice, None
    if reason == REFUSED:
        choice = _refusing_option(choices, mentions)
        if choice is None:
            choice = _in_other_words(pieces, short, mentions, denying=True)
        return choice, None if choice is not None else reason
    if loops(text):
        return None, LOOPS
    if reason is None and stops_halfway(text):
        return None, HALFWAY
    if reason is None:
        choice = _in_other_words(pieces, short, mentions)
    if choice is None and reason in (None, AMBIGUOUS):
        choice = _in_bold(tail, mentions)
    if choice is not None:
        return choice, None
    if reason is None and not any(part[-1] == "?" for part in parts) and LACKS_CUE.search(fold(tail[-2000:])):
        return None, REFUSED
    return None, reason


def _read(parts: list[list[str]], short: bool, mentions: Mentions) -> tuple[int | None, str | None]:
    """What sentences conclude that name the options outright."""
    choice, reason = _whole(parts, mentions)
    if choice is None and reason is None:
        claims = claims_of(parts, mentions, short)
        found = [(claim, said) for claim, said in claims if claim is not None]
        choice, reason = _decide(found, [said for _, said in claims], short)
    if choice is None and reason is None and len(parts) == 1 and mentions.numeric:
        times = [word for word in parts[0] if word in _TIMES]
        if times and (times != ["once"] or _ONCE.search(" ".join(parts[0]))):
            counts = [mentions.reworded([_TIMES[word]]) for word in times]
            choice = counts[0] if len(counts) == 1 else None
        elif not times and not any(word[0].isdigit() for word in parts[0]):
            groups = {_GROUPS[m[1]] for m in _GROUP.finditer(" ".join(parts[0]))}
            choice = mentions.reworded([groups.pop()]) if len(groups) == 1 else None
    return choice, reason


def _in_other_words(pieces: list[str], short: bool, mentions: Mentions, denying: bool = False) -> int | None:
    """The option that sentences without any mention paraphrase: all of a short response, one that concludes a long."""
    words = [tokens(piece[-_SENTENCE_CHARACTERS:]) for piece in pieces[-_PARAPHRASED:]]
    if not denying and not short:
        return _in_other_words_at_an_end(words, tokens(pieces[0][-_SENTENCE_CHARACTERS:]), mentions)
    if not denying:
        spelt = [respelled(sentence, mentions) for sentence in words]
        if any(spelt):
            again = [mentions.mark(new or old) for new, old in zip(spelt, words, strict=True)]
            choice, reason = _read([part for part in again if part], short, mentions)
            if choice is not None or reason is not None:
                return choice
    found = {paraphrased(sentence, mentions, denying) for sentence in words} - {None}
    if not found and not denying:
        found = {_at_the_end(sentence, mentions) for sentence in words} - {None}
    return found.pop() if len(found) == 1 else None


def _in_other_words_at_an_end(words: list[list[str]], first: list[str], mentions: Mentions) -> int | None:
    """The option that a long response paraphrases in the last sentence that concludes, or else at its two ends."""
    concluding = [w for w in words if CONCLUDES_CUE.search(" ".join(w)) or _ANSWERS.search(" ".join(w))]
    choice = paraphrased(concluding[-1], mentions) if concluding else None
    if choice is not None:
        return choice
    ends = (words[-1], first)
    found = {paraphrased(sentence, mentions) for sentence in ends} - {None}
    named = {int(w[1:]) for sentence in ends for w in mentions.mark(sentence) if w[0] == "@"}
    return found.pop() if len(found) == 1 and named <= found | {MANY} else None


def _at_the_end(words: list[str], mentions: Mentions) -> int | None:
    """The option of which a short sentence ends in a good part: "They are in a forest" for "In a dense forest"."""
    said = [w for w in words if w not in MARKS]
    named = any(word[0] == "@" for word in mentions.mark(words))
    if named or "?" in words or not _NO_DENIAL.isdisjoint(said):
        return None
    at = next((i for i in range(len(said) - 2, -1, -1) if said[i] in _PLACES), None)
    if at is None or len(said) - at > 7:
        return None
    return mentions.contained([w for w in said[at + 1 :] if w != "1"])


def _in_bold(text: str, mentions: Mentions) -> int | None:
    """The option that the only words in bold are, unless what stands before denies it."""
    span = emphasised(text)
    if span is None:
        return None
    before, bold, after = map(fold, span)
    words = tokens(bold)
    if not words or denies(before) or any(w[0] == "@" for w in mentions.mark(tokens(f"{before} . {after}"))):
        return None
    choice, _ = _whole([mentions.mark(words)], mentions)
    return choice if choice is not None else paraphrased(words, mentions)


def _parts(sentence: str, mentions: Mentions) -> list[list[str]]:
    """The words of a sentence, cut at full stops after a letter or digit unless they make it a label ("B. dog")."""
    items = options_by_letter(mentions.mark(tokens(sentence[-_SENTENCE_CHARACTERS:])), mentions)
    if "." not in items[:-1]:
        return [plain(lone_letters(items, mentions), mentions)] if items else []
    found: list[list[str]] = [[]]
    for i, word in enumerate(items):
        found[-1].append(word)
        if word == "." and i + 1 < len(items):
            rest = items[i + 1 : i + 4]
            label = rest and rest[0][0] == "@" and all(w in MARKS for w in rest[1:])
            begins = len(found[-1]) > 1 and (len(found[-1]) == 2 or found[-1][-3] == ":")
            label = label or (begins and len(items[i - 1]) == 1 and bool(rest) and rest[0][0] == "@")
            if not label:
                found.append([])
    return [plain(lone_letters(part, mentions), mentions) for part in found if part]


def _whole(parts: Sequence[list[str]], mentions: Mentions) -> tuple[int | None, str | None]:
    """A text that is nothing but an option in other words, or part of one."""
    if len(parts) != 1 or len(parts[0]) > 60:
        return None, None
    named = bare(parts[0], mentions) if len(parts[0]) < 30 else frozenset()
    if len(named) == 1 and min(named) >= 0:
        return next(iter(named)), None
    if len(named) > 1:
        return None, AMBIGUOUS
    words = [w for w in parts[0] if w not in MARKS]
    if not words or any(w[0] == "@" for w in words):
        return None, None
    remark = next((i for i, w in enumerate(parts[0]) if w in _REMARKS), 0)
    if 0 < remark < 5:
        if any(mentions.contained([w]) is not None for w in parts[0][remark + 1 :] if w not in MARKS):
            return None, None
        words = [w for w in parts[0][:remark] if w not in MARKS]  # "hemingway (cats)"
    choice = mentions.contained(words)
    return (choice if choice is not None else mentions.reworded(words)), None


def _decide(found: list[tuple[Claim, str]], said: list[str], short: bool) -> tuple[int | None, str | None]:
    if len(said) > 1 and _TAKES_BACK.match(said[-1]):
        return None, DISAGREE
    for level in (STATES, CONCLUDES, LEANS):
        claims = [(c, s) for c, s in found if c.level == level and (c.reason is None)]
        if level == STATES:
            claims = _settled([(c, s) for c, s in found if c.level == STATES])
        if not claims:
            continue
        last, text = claims[-1]
        if level == STATES and last.reason == NOT_AN_OPTION and not short and _ends_concluding(found, said):
            continue  # "The answer is a long groan" in the middle of a story
        if last.choice is None:
            return None, last.reason or (NOT_AN_OPTION if last.options == {-1} else AMBIGUOUS)
        others = [(c, s) for c, s in claims[:-1] if c.options != last.options]
        first = text == said[0] and not _UNSURE.search(text)
        if level == LEANS and not short and not first:
            # Leaning towards an option is a conclusion only where nothing else is named after it.
            position = [s for _, s in found].index(text)
            later = {o for c, _ in found[position + 1 :] for o in c.options}
            if later - last.options:
                return None, None
        if others and not _taken_back(others, text, said):
            return None, DISAGREE
        if level == STATES and _denies(found, last, text):
            return None, DISAGREE
        return last.choice, None
    return _plain([c for c, _ in found], short)


def _ends_concluding(found: list[tuple[Claim, str]], said: list[str]) -> bool:
    """Whether the last sentence of a response draws a conclusion that gives one option."""
    last, text = found[-1]
    return text == said[-1] and last.level == CONCLUDES and last.choice is not None


def _settled(claims: list[tuple[Claim, str]]) -> list[tuple[Claim, str]]:
    """Statements that say something; one that gives no option counts only where none gives one before it."""
    if any(c.reason is None for c, _ in claims):
        return [(c, s) for c, s in claims if c.reason is None]
    return claims[-1:]


def _taken_back(others: list[tuple[Claim, str]], last: str, said: list[str]) -> bool:
    """Whether every earlier, different statement was tentative or is taken back before the last one."""
    if _FINAL.search(last) and not any(_FINAL.search(s) for _, s in others):
        return True
    if last.partition(" ")[0] in TURNING:
        return True
    end = len(said) - 1 - said[::-1].index(last)
    start = max(i for i, s in enumerate(said[:end]) if s in {t for _, t in others}) if others else 0
    if any(TURNS_CUE.search(s) for s in said[start + 1 : end + 1]):
        return True
    return all(TENTATIVE.search(s) or len(c.options) > 1 for c, s in others)


def _denies(found: list[tuple[Claim, str]], last: Claim, text: str) -> bool:
    position = max(i for i, (_, s) in enumerate(found) if s == text)
    later = [c for c, _ in found[position + 1 :] if c.level == CONCLUDES and c.choice is not None]
    return any(c.options != last.options for c in later)


def _plain(claims: Sequence[Claim], short: bool) -> tuple[int | None, str | None]:
    """A text without any cue: a short one that names one option, or one that "is" the only option ever named."""
    reasons = [c.reason for c in claims if c.reason is not None]
    if reasons:
        return None, REFUSED if REFUSED in reasons else reasons[-1]
    singles = {c.choice for c in claims if c.choice is not None and (short or c.predicate)}
    stated = {c.choice for c in claims if c.choice is not None and c.predicate}
    if short and len(stated) == 1:
        singles = stated
    several = {o for c in claims if len(c.options) > 1 or MANY in c.options for o in c.options}
    others = (several if short else several | {o for c in claims for o in c.options}) - singles
    if len(singles) == 1 and (not others or (short and stated == singles)):
        return next(iter(singles)), None
    if len(singles) > 1 or several:
        return None, AMBIGUOUS if short else None
    return None, None


def _refusing_option(choices: Sequence[str], mentions: Mentions) -> int | None:
    found = set()
    for choice, first in zip(choices, mentions.first, strict=True):
        claim = claim_of(tokens(fold(choice)), mentions_of(()))
        if claim is not None and claim.reason == REFUSED:
            found.add(first)
    return next(iter(found)) if len(found) == 1 else None
