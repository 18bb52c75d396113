"""What a sentence claims by its place in a response: the first, the last, one that takes back what was said before."""

from __future__ import annotations

import re

from sari_data.clauses import CONCLUDES, LEANS, NAMES, STATES, Claim, claim_of
from sari_data.cues import TURNING, TURNS_CUE
from sari_data.lettering import bare
from sari_data.mentions import MANY, MARKS, Mentions
from sari_data.turns import verdicts
from sari_data.wording import word_set

TENTATIVE = re.compile(r"\b(?:first|initial(?:ly)?|tentative(?:ly)?|might|may|could|maybe|perhaps|at first)\b")
# The words with which a sentence may begin that takes something back.
_TURNING_STARTS = (
    TURNING
    | MARKS
    | word_set("hmm on i let scratch mistake mistaken upon after reconsider reconsidering re relistening changed")
)
# A "yes" that answers a request, not the question: "Yes, I can help you with that!", "Yes, I can hear the audio."
_OFFERS = re.compile(
    r"@\d+ (?:[,.!] )?(?:(?:i|we) (?:can|could|will|would) (?:certainly |try to |be happy to |gladly ){0,2}"
    r"(?:help|assist|listen|analy[sz]e|process|hear (?:the|your|this) (?:audio|recording|clip|file)(?: file)? [.!])"
    r"|(?:i|we) (?:am|are) (?:happy|ready|able|here)\b)"
)
# A "yes" or "no" that opens a response and is no answer yet: "No, wait", "yes and no".
_NO_ANSWER_YET = re.compile(r"^@\d+ (?:[,.!] )?(?:(?:wait|actually|hold on|let|of course|sure)\b|(?:and|or|/) )")
# A last sentence that says which one it is of which the question asked: "the one that is not mentioned is the organ".
_IDENTIFIES = re.compile(
    r"\b(?:the (?:\S+ ){0,3}?(?:1|that|which|who|whose)|the (?:only|missing|absent) \S+|what) [^@.]{0,200}"
    r"(?:is|was|are|were)(?: \S+){0,3} @\d+(?: [.!])?$"
)
# In a short response: "The defensive side is the away team." at the end, and a conclusion in passing before it.
_NAMES_IT = re.compile(r"the (?:[a-z]+ ){1,4}(?:is|was|are|were) @\d+(?: [.!])?$")
_IN_PASSING = re.compile(r", (?:which (?:\S+ )?(?:means|meaning|implies)|meaning)\b")
_SUBJECT = re.compile(r" (?:that )?@\d+ (?:is|are|was|were|has|have|had|does|do|did|will|can)\b(?! @)")
_ORDER = re.compile(r"\b(?:1st|2nd|3rd|last|next|other|final|finally|also|then)\b")
# A first sentence that says what is heard: "What we hear is a piano", "It is the piano that plays the melody".
_CLEFT = re.compile(
    r"(?:^|, )(?:what (?:i|we|you|1|can be|is) (?:\S+ ){0,6}?(?:is|was)|(?:it|this) (?:is|was)"
    r"(?=(?: \S+){1,2} (?:that|who|which)\b)|(?:you|we|i) (?:are|am) (?:listening to|hearing)) (?:\S+ )?@"
    r"|^@\d+ (?:is|was) the (?:1|only|main) (?:\S+ )?(?:that|who|which)\b"
)
# Where options are numbers: "There are three people in this recording."
_COUNTS = re.compile(
    r"(?:in [^,@]{1,40} ,? ?)?(?:there (?:is|are)|(?:i|we|you) (?:can )?(?:hear|count|make out)) (?:\S+ ){0,2}?@\d"
)
# A first sentence that only begins to describe, or does not commit itself.
_DESCRIBES = re.compile(
    r"\b(?:1st|2nd|begins?|starts?|opens?|opening|beginning|start|initially|then|also|next|one of|1 of|seems?|appears?"
    r"|sounds? like|suggests?|might|may|could|perhaps|maybe|can be (?!heard|seen)|(?<!in )question|options?"
    r"|if|another|several|both"
    r"|mix|mixture|combination|variety|and then|followed|where|when|while)\b"
)


def claims_of(parts: list[list[str]], mentions: Mentions, short: bool) -> list[tuple[Claim | None, str]]:
    """Return what every sentence claims by itself and by its place, with its words.

    Args:
        parts: The sentences' words, mentions marked.
        mentions: The options.
        short: Whether the response is short: then whatever one option it names is its answer.
    """
    claims = [(claim_of(part, mentions), " ".join(part)) for part in parts]
    if len(parts) < 2:
        return claims
    for i, right in verdicts(parts, mentions).items():
        claims[i] = (Claim(STATES, right), claims[i][1])
    nothing = frozenset[int]()
    alone = [bare(part, mentions) if len(part) < 6 and part[-1] != "?" else nothing for part in parts]
    turning = [i for i, part in enumerate(parts) if part[0] in _TURNING_STARTS and _turns(part)]
    turned = turning[-1] if turning else 0
    named = frozenset(option for options in alone[turned:] for option in options)
    letter = parts[0][0] in MARKS or len(parts[0][0]) == 1
    explained = not letter or len(parts[1]) > 3 or len(parts) > 2
    weak = claims[0][0] is None or claims[0][0].level < CONCLUDES
    if len(alone[0]) == 1 == len(named) and weak and not turned and explained:
        # A response that begins with an option alone answers with it; whatever else it answers later disagrees.
        claims[0] = (Claim(STATES if letter else CONCLUDES, alone[0]), claims[0][1])
    last, said = claims[-1]
    if len(alone[-1]) == 1 and min(named) >= 0 and parts[-1][0] != "then" and (last is None or last.level < CONCLUDES):
        # "..., so not the first. The second.", but not "That is one. Two.", nor a list.
        answered = any(claim is not None and claim.level == STATES for claim, _ in claims[:-1])
        claims[-1] = (Claim(CONCLUDES, alone[-1] if answered or len(named) == 1 else named | {MANY}), said)
    last, said = claims[-1]
    others = {c.options for c, _ in claims if c is not None and c.predicate}
    if (
        last is not None
        and last.level == NAMES
        and (others == {last.options} or (last.predicate and _IDENTIFIES.search(said) and not _ORDER.search(said)))
        and not TENTATIVE.search(said)
    ):
        claims[-1] = (Claim(LEANS, last.options), said)  # "... The instrument is a piano." at the end
        if short and _NAMES_IT.match(said) and not _ORDER.search(said):
            claims = [*(_in_passing(claim, words, last) for claim, words in claims[:-1]), claims[-1]]
    for i in range(1, len(parts)):
        if i in turning:
            before = next((c.level for c, _ in reversed(claims[:i]) if c is not None and c.reason is None), NAMES)
            claim, said = claims[i]
            claims[i] = (_correction(claim, parts[i], before, mentions), said)
        elif "or" in parts[i][:3] and "either" not in parts[i] and (also := claims[i][0]) is not None:
            # "It is a dog. Or a cat." leaves open which.
            earlier = next((c for c, _ in reversed(claims[:i]) if c is not None and c.options), None)
            if earlier is not None and not also.options <= earlier.options:
                several = Claim(earlier.level, earlier.options | also.options | {MANY})
                claims[: i + 1] = [(None, s) for _, s in claims[:i]] + [(several, claims[i][1])]
    if mentions.polar is not None and _OFFERS.match(claims[0][1]):
        claims[0] = (None, claims[0][1])
    elif not short:
        claims[0] = (_opening(parts, claims, mentions), claims[0][1])
    return claims


def _in_passing(claim: Claim | None, said: str, last: Claim) -> tuple[Claim | None, str]:
    """What a sentence claims before a last one that names another option, where it concludes only in passing.

    "..., which means that the home team is attacking." is about something else; otherwise it is open which counts.
    """
    cue = _IN_PASSING.search(said)
    if cue is None or claim is None or claim.level != CONCLUDES or claim.options == last.options:
        return claim, said
    if _SUBJECT.match(said, cue.end()):
        return Claim(NAMES, claim.options), said
    return Claim(CONCLUDES, claim.options | {MANY}), said


def _opening(parts: list[list[str]], claims: list[tuple[Claim | None, str]], mentions: Mentions) -> Claim | None:
    """What the first sentence of a long response claims, which often answers before it explains: "Yes, he does."."""
    claim, said = claims[0]
    if claim is not None and claim.level >= CONCLUDES:
        return claim
    first = parts[0]
    if mentions.polar is not None and first[0] in (f"@{i}" for i in mentions.polar):
        return claim if _NO_ANSWER_YET.search(said) else Claim(CONCLUDES, frozenset((int(first[0][1:]),)))
    if claim is None or claim.choice is None or _DESCRIBES.search(said):
        return claim
    cleft = _CLEFT.search(said) is not None or (mentions.numeric and _COUNTS.match(said) is not None)
    if not (claim.predicate or cleft):
        return claim
    later = [c for c, _ in claims[1:] if c is not None]
    if any(c.level > NAMES or (c.predicate and c.options != claim.options) for c in later):
        return claim
    return Claim(CONCLUDES if cleft else LEANS, claim.options, predicate=True)


def _turns(part: list[str]) -> bool:
    """Whether a sentence begins by taking back what was said before."""
    words = [word for word in part[:6] if word not in MARKS and word != "hmm"]
    return bool(words) and (words[0] in TURNING or TURNS_CUE.match(" ".join(words)) is not None)


def _correction(claim: Claim | None, part: list[str], before: int, mentions: Mentions) -> Claim | None:
    """What a sentence that begins with "no", "wait" or "sorry" claims after one of the level ``before``."""
    if claim is None or not claim.options:
        skipped = TURNING | MARKS | {"hmm"}
        rest = next((k for k, word in enumerate(part) if word not in skipped), len(part))
        letter = bare(part[rest:], mentions)  # "Sorry, B."
        claim = Claim(NAMES, letter) if letter else claim
    if claim is None or not claim.options or claim.level >= CONCLUDES or "also" in part:
        return claim
    if before < CONCLUDES:
        # It replaces what was only named: nothing firmer stands against it.
        return Claim(LEANS, claim.options if len(part) < 7 or claim.predicate else claim.options | {MANY})
    # "The answer is a dog. No, a cat." corrects; a longer sentence may only weigh the other one: then it is open.
    corrects = len(part) < 7 or claim.predicate
    return Claim(before, claim.options if corrects else claim.options | {MANY})
