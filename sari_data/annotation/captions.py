"""Captions: a model listens to a clip and says what there is to hear.

SARI (arXiv 2504.15900) had Qwen2-Audio-7B-Instruct caption the clips of AudioSet and MELD. Models of that
kind follow a form badly, so a bare description counts as one too; a refusal, a preamble, a list or a
text that goes in circles does not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from sari_data.annotation.asking import OpenAsker, Stage, Tally, Task, ask_window, task_windows
from sari_data.annotation.config import Annotate
from sari_data.annotation.reading import (
    WRONG_FORM,
    Rejected,
    find_element,
    find_object,
    plain_text,
    take_text,
    without_thought,
)
from sari_data.prompting import render
from sari_data.sources.base import Clip, SetAside
from sari_data.types import AudioRef, Provenance

TEMPLATE = "clip_caption"
REFUSAL = "a refusal instead of a caption"
TOO_SHORT = "the caption says too little"
CIRCLES = "the caption repeats itself"

_MOST = 1200  # characters
_LEAST_WORDS = 3
_REFUSES = re.compile(
    r"\b(?:i(?:'m| am) (?:sorry|unable|not able)|i (?:can(?:no|')t|could not|couldn't|do not|don't) "
    r"(?:hear|listen|process|access|provide|have (?:access|the ability))|as an? (?:ai|language model)|"
    r"no audio (?:was|is|has been|file)|please (?:provide|upload|share))\b",
    re.IGNORECASE,
)
# Marks of an answer that is more than one plain paragraph.
_MARKUP = re.compile(r"```|^\s*(?:[-*•#>]|\d+[.)])\s|\n\s*\n|:\s*\n|[{}\[\]<>]", re.MULTILINE)
_PREAMBLE = re.compile(r"(?:sure|certainly|of course|okay|here(?:'s| is| are))\b", re.IGNORECASE)


class Captions(Stage[Clip, Clip]):
    """The stage that asks for captions."""

    name = "caption"
    items = "clip"

    def __init__(self, asker: OpenAsker, table: Annotate) -> None:
        self._made_by = asker.made_by(TEMPLATE)
        self._language = table.language

    def key(self, item: Clip) -> str:
        """Return the clip's id."""
        return item.id

    def provenance(self, item: Clip) -> Provenance:
        """Return where the clip is from."""
        return item.provenance

    def audio(self, item: Clip) -> AudioRef:
        """Return the clip's audio."""
        return item.audio

    def prompt(self, item: Clip, kept: Any) -> str:
        """Return the prompt; it tells nothing that the data set says, so that the model has to listen."""
        return render(f"annotate/{TEMPLATE}.jinja", domains=item.domain.split("+"), language=self._language)

    def read(self, item: Clip, kept: Any, text: str) -> Clip:
        """Return the clip with the caption that an answer gives."""
        made_by = {**item.provenance.made_by, "caption": self._made_by}
        return replace(item, caption=read_caption(text), provenance=replace(item.provenance, made_by=made_by))


def caption_clips(
    clips: Iterable[Clip], asker: OpenAsker, table: Annotate | None = None, *, tally: Tally | None = None
) -> Iterator[tuple[str, Clip | SetAside]]:
    """Have the clips without a caption captioned; the others come back as they are, and nobody is asked.

    Args:
        clips: What to caption; taken in windows, in the caller's thread.
        asker: Who listens.
        table: The language; default: English.
        tally: What was done is counted there.

    Yields:
        The id of every clip, once and in any order, with the clip or why it has no caption.

    Raises:
        InputError: An id comes twice.
        ResponderError: The responder answered what it was not asked, or left something out without saying why.
    """
    stage, counts = Captions(asker, table or Annotate()), tally or Tally()
    for window in task_windows(clips, stage.key, stage.items):
        todo: list[Task[Clip]] = []
        for task in window:
            if task.item.caption is None:
                todo.append(task)
            else:
                yield task.id, task.item
        yield from ask_window(todo, stage, asker, counts)


def read_caption(text: str) -> str:
    """Return the caption that an answer gives: in ``<caption>``, under ``"caption"`` in JSON, or the whole of it.

    Raises:
        Rejected: There is none, or it is no caption.
    """
    inside = find_element(text, "caption")
    if inside is not None:
        caption = plain_text(inside, "the caption", most=_MOST)
    elif "{" in text:
        caption = take_text(find_object(text), "caption", most=_MOST)
    else:
        bare = without_thought(text).strip().strip('"')
        if _MARKUP.search(bare) or _PREAMBLE.match(bare):
            raise Rejected(
                WRONG_FORM, "Give only the description, in one paragraph inside <caption></caption>, with nothing else."
            )
        caption = plain_text(bare, "the caption", most=_MOST)
    if _REFUSES.search(caption):
        raise Rejected(REFUSAL, "The recording is attached: describe what can be heard in it.")
    words = caption.split()
    if len(words) < _LEAST_WORDS and "".join(words).isascii():
        raise Rejected(TOO_SHORT, "The description says too little: give one or more full sentences.")
    if goes_in_circles(caption):
        raise Rejected(CIRCLES, "The description says the same thing again and again: say each thing once.")
    return caption


def goes_in_circles(text: str) -> bool:
    """Return whether a text repeats itself as a model does that has lost its way: five words, four times or more."""
    words = text.casefold().split()
    runs = Counter(tuple(words[at : at + 5]) for at in range(len(words) - 4))
    return bool(runs) and max(runs.values()) >= 4
