"""How a response ends: in an offer of more help, in the same phrase over and over, in the middle of a sentence."""

from __future__ import annotations

import re

from sari_data.wording import word_set

_OFFERS = re.compile(
    r"^(?:what (?:do|made|about|are) you|do you|does that|have you|did you|are you|would you like|how about you"
    r"|is there anything|can i)\b[^?]{0,200}\?$"
    r"|\b(?:feel free to|let me know|if you have any|happy to help|hope this helps|hope that helps)\b"
    r"|^if you (?:want|need|wish|have|hear|notice|(?:would )?like)\b[^.]{0,200}, (?:please |just |do ){0,2}"
    r"(?:ask|tell me|say so|reach out)\b"
)
# Where a sentence ends in a letter, which may be a label: "So the answer is A. Let me know ..." is one piece.
_LETTER_ENDS = re.compile(r"(?:^|[\s(*\"'])[a-z0-9][)*\"']{0,3}\.[*\"']{0,3} ")
_CLOSED = frozenset(".!?)]}\"'>*`|。！？」』…")
_UNDONE = word_set(
    "an the and or but because since as that which who of in on at to by from with for is are was were be been its "
    "their if while when where than therefore thus could would should"
)


def without_offers(pieces: list[str]) -> list[str]:
    """Return sentences without what a chat model adds at the end: "What do you think?", "Let me know"."""
    end = len(pieces)
    while end and _OFFERS.search(offer := _after_letter(pieces[end - 1])):
        said = pieces[end - 1][: len(pieces[end - 1]) - len(offer)].rstrip()
        if said:
            return [*pieces[: end - 1], said]
        if end == 1:
            break
        end -= 1
    return pieces[:end]


def _after_letter(piece: str) -> str:
    """What stands after the last letter that ends a sentence in a piece; the piece itself where none does."""
    ends = [match.end() for match in _LETTER_ENDS.finditer(piece)]
    return piece[ends[-1] :] if ends else piece


def loops(text: str) -> bool:
    """Return whether a text ends in the same phrase three times or more, over 40 characters or more."""
    tail = text[-600:].rstrip()
    for period in range(2, min(200, len(tail) // 3) + 1):
        if tail[-1] != tail[-1 - period]:
            continue
        times = max(3, -(-40 // period))
        if times * period <= len(tail) and tail.endswith(tail[-period:] * times) and tail[-period:].strip():
            return True
    return False


def stops_halfway(text: str) -> bool:
    """Return whether a text ends in the middle of a sentence: on no mark, and late or on a word that asks for more."""
    end = text.rstrip()
    if not end or end[-1] in _CLOSED:
        return False
    words = end[-400:].split()
    last = words[-1].strip(",:;-").casefold()
    return len(words) >= 4 and (end[-1] in ",;:-" or last in _UNDONE or len(words) >= 25)
