"""A draft put into words: question, caption and chains, by the templates in ``templates/annotate/audioset/``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sari_data.sources.audioset.rules import Draft, Scene
from sari_data.types import Reasoning, StructuredReasoning


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of one question."""

    question: str
    caption: str
    reasoning: Reasoning


def write(draft: Draft, scene: Scene, choices: Sequence[str], rng: np.random.Generator) -> Words:
    """Put a draft into words; all of them follow from the strong labels.

    Args:
        draft: What is asked.
        scene: What is heard.
        choices: The options as they are shown.
        rng: Draws among wordings.

    Raises:
        TemplateError: A template is wrong.
    """
    from sari_data.prompting import render

    def pick(*wordings: str) -> str:
        return wordings[int(rng.integers(len(wordings)))]

    values: dict[str, Any] = {
        **draft.facts,
        "answer": draft.answer,
        "choices": choices,
        "heard": sorted(scene.sounds, key=lambda sound: (sound.start, sound.name)),
        "by_name": {sound.name: sound for sound in scene.sounds},
        "pick": pick,
    }
    folder = "annotate/audioset"
    caption = render(f"{folder}/_caption.jinja", **values).strip()
    text = render(f"{folder}/{draft.rule}.jinja", **values).strip()
    lines = {key: line.strip() for key, line in (line.split(":", 1) for line in text.splitlines())}
    structured = StructuredReasoning(
        planning=lines["planning"], caption=caption, reasoning=lines["reasoning"], summary=lines["summary"]
    )
    thought = render(f"{folder}/_thought.jinja", **values, caption=caption, lines=lines).strip()
    return Words(lines["question"], caption, Reasoning(structured=structured, unstructured=thought))
