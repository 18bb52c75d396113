"""A rehearsal: answers to the annotation prompts that have the right form and nothing else, from no model at all.

It tries a recipe for free: the stages, their checks, the corpus and its pages, before the first paid request. What
it writes is made up from the prompt by rule and true only by accident. It is marked in ``made_by`` as ``rehearsal``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sari_data.annotation.question_checks import contains_words, pitch_form
from sari_data.errors import InputError, ResponderError
from sari_data.options import loose_form
from sari_data.responder import Request, Response, Sampling

_EVENTS = (
    "a dog barking",
    "a door closing",
    "rain on a roof",
    "a car passing",
    "a bell ringing",
    "birds singing",
    "a crowd talking",
    "water running",
    "a kettle whistling",
    "footsteps on gravel",
    "a train rolling by",
    "a drill humming",
    "wind in trees",
    "glass breaking",
    "a piano playing",
    "a violin playing",
    "a drum beating",
    "a guitar strumming",
    "a choir humming",
    "a clock ticking",
    "a phone buzzing",
    "a horse trotting",
    "waves breaking",
    "an engine starting",
)
_PLACES = ("indoors", "outdoors", "in a hall", "in a street", "near water", "in a kitchen", "in a field", "on a stage")
_MANNERS = ("clearly", "faintly", "twice", "for a while", "at intervals", "all along", "loudly", "softly")
_KEYS = ("C major", "D minor", "E major", "F minor", "G major", "A minor", "B minor", "E flat major", "F sharp minor")
_ASKS = (
    "Which of these fits the recording best, {where}",
    "What would a careful listener name {where}",
    "Which of these is most in keeping with what sounds {where}",
    "What belongs to the recording {where}",
    "Which of these stands out {where}",
)
_WHEN = (
    "at the beginning",
    "towards the end",
    "in the middle",
    "as a whole",
    "in the first seconds",
    "most of the time",
)
_PLANS = (
    "I need to find out what is asked for, and then listen for it from beginning to end.",
    "Let me take this step by step: what is wanted, what there is to hear, what follows.",
    "My way is to listen through, to compare, to conclude.",
)
_WORD = re.compile(r"[^\W\d_]{4,}")


class RehearsalResponder:
    """Answers the prompts of ``templates/annotate/`` by rule; the same prompt and audio always get the same answer.

    Args:
        **ignored: Options and model of the responder that it stands in for.
    """

    cacheable = False  # it costs nothing
    hears_several = True

    def __init__(self, **ignored: Any) -> None:
        self.name = "rehearsal"

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield an answer to every request, in order; ``sampling`` changes nothing.

        Raises:
            InputError: A request has a prefix.
            ResponderError: A prompt is none of the annotation's.
        """
        for request in requests:
            if request.prefix:
                raise InputError(
                    f"request {request.id!r} says what its answer begins with, and the rehearsal cannot go on from "
                    "that: take another responder"
                )
            heard = "|".join(audio.key for audio in request.recordings)
            for sample in request.wanted:
                yield Response(request.id, sample, rehearse(request.prompt, heard), "stop")


def rehearse(prompt: str, heard: str = "") -> str:
    """Return an answer of the right form to a prompt of the annotation.

    Args:
        prompt: The prompt, as the shipped templates word it.
        heard: What stands for the audio, for instance a hash of it; captions differ by it.

    Raises:
        ResponderError: The prompt is none of them, or a template was changed so that it cannot be read.
    """
    task = prompt.partition("\n")[0]
    for begins, answer in _ANSWERS.items():
        if task.startswith(begins):
            return answer(prompt, heard)
    raise ResponderError(
        f"the rehearsal answers the prompts of templates/annotate/ alone, whose first line names the task; "
        f"found the first line {task[:80]!r}: use another responder, or keep that line in your own template"
    )


def _caption(prompt: str, heard: str) -> str:
    draw = _Draw(prompt + heard)
    first, second = draw.some(_EVENTS, 2)
    return (
        f"<caption>{first[0].upper()}{first[1:]} is heard {draw.one(_MANNERS)} {draw.one(_PLACES)}, and then "
        f"{second}, {draw.one(_MANNERS)}.</caption>"
    )


def _questions(prompt: str, heard: str) -> str:
    known = [line.partition(": ")[::2] for line in _inside(prompt, "known").splitlines() if ": " in line]
    count = int(_found(r"Task: write (\d+) ", prompt))
    options = int(_found(r"Give (\d+) options", prompt))
    skills = _found(r"one of these skills: (.*)\.", prompt).split("; ")
    done = prompt.count("\n* ")
    difficulty = '"difficulty"' in prompt
    caption = " ".join(value for name, value in known if name == "caption")
    written = []
    for number in range(done, done + count):
        draw = _Draw(f"{known}|{number}")
        gold = _pick_gold([value for name, value in known if name not in ("kind", "caption")], caption, draw)
        row: dict[str, Any] = {"question": _ask(gold, caption, number, draw), "answer": gold}
        row["options"] = [gold, *_distractors(gold, row["question"], options - 1, draw)]
        row["skill"] = draw.one(skills)
        if difficulty:
            row["difficulty"] = draw.one(("easy", "medium", "hard"))
        written.append(row)
    return "```json\n" + json.dumps(written, ensure_ascii=False) + "\n```"


def _structured(prompt: str, heard: str) -> str:
    gold, others, seen = _chain_facts(prompt)
    return (
        f"<think><planning>{_another(_PLANS, prompt)}</planning><caption>{seen}</caption>"
        f"<reasoning>What is heard points to {gold}. Nothing in it speaks for {' or '.join(others)}.</reasoning>"
        f"<summary>All in all the recording fits {gold} best.</summary></think><answer>{gold}</answer>"
    )


def _unstructured(prompt: str, heard: str) -> str:
    gold, others, seen = _chain_facts(prompt)
    return (
        f"<think>{_another(_PLANS, prompt)} {seen} Could it be {others[0]}? Nothing that is heard speaks for that. "
        f"Going through the rest, the recording fits {gold} best.</think><answer>{gold}</answer>"
    )


def _another(wordings: Sequence[str], prompt: str) -> str:
    """The next wording with every try."""
    again = re.search(r"this is try (\d+) of", prompt)
    return wordings[(int(again[1]) - 1 if again else 0) % len(wordings)]


def _judge(prompt: str, heard: str) -> str:
    return json.dumps({"verdict": "consistent", "reason": "The thought says nothing that contradicts what is heard."})


_ANSWERS = {
    "Task: say what there is to hear.": _caption,
    "Task: write ": _questions,
    "Task: think aloud in four sections.": _structured,
    "Task: think aloud freely.": _unstructured,
    "Task: check a thought about a recording.": _judge,
}


class _Draw:
    """Draws that follow from a text alone."""

    def __init__(self, text: str) -> None:
        self._text, self._count = text, 0

    def _number(self) -> int:
        self._count += 1
        return int.from_bytes(hashlib.sha256(f"{self._count}|{self._text}".encode()).digest()[:8])

    def one(self, values: Sequence[str]) -> str:
        return values[self._number() % len(values)]

    def some(self, values: Sequence[str], count: int) -> list[str]:
        left = list(values)
        return [left.pop(self._number() % len(left)) for _ in range(min(count, len(left)))]


def _pick_gold(values: Sequence[str], caption: str, draw: _Draw) -> str:
    """A label or fact that is short enough to be an option, or what stands for one."""
    fit = [v for v in values if 2 <= len(v) <= 28 and loose_form(v) and not set(v) & set("<>{}[]")]
    heard = [event for event in _EVENTS if contains_words(caption, event)]
    return draw.one(fit or heard or _EVENTS)


def _ask(gold: str, caption: str, number: int, draw: _Draw) -> str:
    """A question that differs from clip to clip, as real ones do, and does not hold its answer."""
    words = [w.lower() for w in dict.fromkeys(_WORD.findall(caption)) if not contains_words(gold, w)]
    beside = " and ".join(draw.some(words, 3)) or f"moment {draw.one('123456789')}"
    question = draw.one(_ASKS).format(where=f"{draw.one(_WHEN)}, beside {beside}") + "?"
    return question if not contains_words(question, gold) else f"Which of these fits best (part {number + 1})?"


def _distractors(gold: str, question: str, count: int, draw: _Draw) -> list[str]:
    """Wrong options of the same kind as the right one, where its kind is known."""
    if gold.isdecimal():
        return [str(int(gold) + step) for step in range(1, count + 1)]
    pool = _KEYS if any(mode in gold for mode in ("major", "minor")) else _EVENTS
    taken = {pitch_form(loose_form(gold)), loose_form(gold)}
    fit = [v for v in pool if not {pitch_form(v), loose_form(v)} & taken and pitch_form(v) != pitch_form(gold)]
    found = draw.some(fit, count)
    return [*found, *(f"something else, number {n}" for n in range(1, count - len(found) + 1))]


def _chain_facts(prompt: str) -> tuple[str, list[str], str]:
    """The right option, the others, and what is heard (told as a listener would)."""
    question = _inside(prompt, "question")
    choices = re.findall(r"^\([A-Z]\) (.*)$", question, re.MULTILINE)
    right = _inside(prompt, "right", "")
    gold = right or (choices[0] if choices else "")
    others = [choice for choice in choices if choice != gold]
    if not gold or not others:
        raise ResponderError("the rehearsal found no options in the prompt of a chain: keep <question> in the template")
    heard = " ".join(_inside(prompt, "heard", "").split())[:200].rstrip(" .") or "Something sounds"
    return gold, others, f"I hear this: {heard}."


def _inside(text: str, tag: str, default: str | None = None) -> str:
    found = re.search(rf"<{tag}>\n(.*?)\n?</{tag}>", text, re.DOTALL)
    if found is None and default is None:
        raise ResponderError(f"the rehearsal found no <{tag}> in the prompt: keep it in your own template")
    return found[1].strip() if found else str(default)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ResponderError(f"the rehearsal found no {pattern!r} in the prompt: keep these words in your own template")
    return match[1]
