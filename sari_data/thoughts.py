"""What can be said of a thought without understanding it: its sections, its length, the option that it names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from sari_data.options import Options
from sari_data.prompting import ANSWER, load_mode

# A sentence ends with its mark before white space, or with its line; "2.5" and "No. 3" may be cut wrongly, which
# matters only where the last sentence is asked for.
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")


def thought_sections(mode: str) -> tuple[str, ...]:
    """Return the outermost sections of a mode's response that hold its thought; none in ``direct``."""
    return tuple(dict.fromkeys(path.split(".")[0] for path in load_mode(mode).sections if path != ANSWER))


def find_section(mode: str, name: str) -> str | None:
    """Return the dotted path of a mode's section whose own name is ``name``, or ``None`` where it has none."""
    return next((path for path in load_mode(mode).sections if path.split(".")[-1] == name), None)


def count_words(sections: Mapping[str, str], names: Iterable[str]) -> int:
    """Return the number of words, which white space separates, in the sections ``names`` of a response."""
    return sum(len(sections.get(name, "").split()) for name in names)


def named_options(text: str, options: Options) -> frozenset[int]:
    """Return the options that a short text names: the one that it is as a whole, else all that it mentions."""
    as_answer, _ = options.match(text)
    return options.named(text) if as_answer is None else frozenset({as_answer})


def last_sentence(text: str) -> str:
    """Return the last sentence of a text, empty where there is none."""
    return next((part for part in reversed(_SENTENCE_END.split(text.strip())) if part.strip()), "").strip()
