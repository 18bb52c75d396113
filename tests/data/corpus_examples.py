"""A small corpus that the tests of the corpus folder share."""

from pathlib import Path

import numpy as np

from sari_data.audio import encode_wav
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef, PassRate, Provenance, Reasoning, StructuredReasoning

RATE = 8000
CARD = "---\nlicense: apache-2.0\n---\n\n# A corpus\n"


def tone(hertz: float, seconds: float = 0.1) -> bytes:
    return encode_wav(0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE), RATE)


def question(number: int, **changes) -> AudioQuestion:
    full = AudioQuestion(
        id=f"q{number:04d}",
        audio=AudioRef(path=f"{number}.wav", data=tone(100 + number)),
        question="What – do you “hear”?",
        choices=("dog", "été", "dog"),
        answer="été",
        domain="sound+speech",
        category="event",
        sub_category="which",
        difficulty="easy",
        caption="an été",
        reasoning=Reasoning(StructuredReasoning("p", "c", "r", "s"), "free"),
        pass_rates=(PassRate(1, 4, "tiny", "direct", 0), PassRate(4, 4, "tiny", "structured", 1)),
        provenance=Provenance("scenes", "s1", "CC0", {"caption": "template", "answer": "truth"}),
    )
    return full.replace(**changes)


def bare(number: int) -> AudioQuestion:
    return AudioQuestion(
        id=f"q{number:04d}",
        audio=AudioRef(data=tone(100 + number)),
        question="?",
        choices=("a", "b"),
        answer=None,
        domain="music",
    )


def write_example(folder: Path) -> Path:
    """Write a corpus with every split, a full row and a bare one."""
    splits = {
        "sft": [question(1), question(2)],
        "rl": [question(3), bare(4)],
        "dev": [question(5)],
        "never_passed": [question(6)],
    }
    write_corpus(folder, splits, {"recipe": "default"}, card=CARD)
    return folder


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.parent.iterdir() if p.name != folder.name)


def answered_question(choices, gold, chain="because") -> AudioQuestion:
    """A question with these options, whose chains all say ``chain``."""
    return AudioQuestion(
        id="q",
        audio=AudioRef(path="a.wav"),
        question="What?",
        choices=tuple(choices),
        answer=gold,
        domain="sound",
        reasoning=Reasoning(StructuredReasoning(chain, chain, chain, chain), chain),
    )
