"""The second opinion: another model checks a chain of thought against what is known to be heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sari_data.annotation.asking import OpenAsker, QuestionStage
from sari_data.annotation.config import Annotate
from sari_data.annotation.reading import WRONG_SHAPE, Rejected, find_object, take_text
from sari_data.prompting import render, render_target
from sari_data.types import AudioQuestion

TEMPLATE = "chain_judge"
DISAGREES = "the judge disagrees"

_MOST = 1000  # characters of a reason
_VERDICTS = {"consistent": True, "inconsistent": False}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the judge says of a chain: whether it is consistent with the caption, why, and who said so."""

    consistent: bool
    reason: str
    made_by: str


class Judge(QuestionStage[Verdict]):
    """The stage that asks for verdicts on chains of one form."""

    name = "reason"

    def __init__(self, form: str, asker: OpenAsker, table: Annotate) -> None:
        super().__init__(asker)
        self._form, self._language = form, table.language
        self._made_by = asker.made_by(TEMPLATE)

    def prompt(self, item: AudioQuestion, kept: Any) -> str:
        """Return the prompt: question, caption and the chain as it would be learnt."""
        return render(
            f"annotate/{TEMPLATE}.jinja",
            question=item,
            chain=render_target(item, self._form),
            listen=self._asker.listen,
        )

    def read(self, item: AudioQuestion, kept: Any, text: str) -> Verdict:
        """Return the verdict that an answer gives."""
        values = find_object(text)
        verdict = take_text(values, "verdict", most=_MOST).casefold()
        reason = take_text(values, "reason", most=_MOST)
        if verdict not in _VERDICTS:
            raise Rejected(WRONG_SHAPE, f'"verdict" must be "consistent" or "inconsistent"; found {verdict!r}.')
        return Verdict(_VERDICTS[verdict], reason, self._made_by)
