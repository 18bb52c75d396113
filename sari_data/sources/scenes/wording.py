"""A question put into words: its text, caption and thoughts, by the templates in ``templates/annotate/scenes/``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sari_data.sources.scenes.clips import Clips, Synthesizer
from sari_data.sources.scenes.compose import Event
from sari_data.sources.scenes.families import Draft


class Text:
    """The words of one question; ``pick`` in the templates draws among wordings."""

    def __init__(
        self, draft: Draft, domain: str, clips: Clips, choices: Sequence[str], rng: np.random.Generator
    ) -> None:
        self.draft, self.rng = draft, rng
        self.values: dict[str, Any] = {
            **draft.facts,
            "domain": domain,
            "noun": _noun(draft, domain, clips),
            # The synthesizer's voices are a man, a woman and a child; those of recordings have names.
            "the": "the " if isinstance(clips, Synthesizer) else "",
            "answer": draft.answer,
            "choices": choices,
            "events": draft.events,
            "texts": [_describe(e, draft.focus) for e in draft.events],
            "pick": self._pick,
        }
        self.values.setdefault("pace", None)

    def _pick(self, *wordings: str) -> str:
        return wordings[int(self.rng.integers(len(wordings)))]

    def _render(self, name: str, **more: Any) -> str:
        from sari_data.prompting import render

        return render(f"annotate/scenes/{name}.jinja", **self.values, **more).strip()

    def caption(self) -> str:
        """What is heard, as far as the question needs it."""
        return self._render("_caption")

    def lines(self) -> dict[str, str]:
        """Question, planning, reasoning and summary, from the family's ``key: text`` template."""
        rendered = self._render(self.draft.family)
        return {key: text.strip() for key, text in (line.split(":", 1) for line in rendered.splitlines())}

    def thought(self, caption: str, lines: dict[str, str]) -> str:
        """The free thought."""
        return self._render("_thought", caption=caption, reasoning=lines["reasoning"], summary=lines["summary"])


def _describe(event: Event, focus: str) -> str:
    """What the caption says of an event: its label, and the one property that the question is about."""
    if focus == "long":
        return f"{'long' if event.long else 'short'} {event.label}"
    if focus == "loud":
        return f"{'loud' if event.loud else 'soft'} {event.label}"
    if focus == "voice" and event.voice is not None:
        return f"{event.voice} {event.label}"
    return event.label


def _noun(draft: Draft, domain: str, clips: Clips) -> str:
    """What a question calls the events of its scene."""
    if domain == "speech":
        return "number" if all(label.isdecimal() for label in clips.labels(domain)) else "word"
    if domain == "music":
        if draft.family != "count_all":
            return "instrument"
        return "note" if isinstance(clips, Synthesizer) else "recording"
    return "sound"
