"""What the tests of calibration share: questions with a made responder whose chances are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from sari_data.responder import Request, Response, Sampling
from sari_data.types import AudioQuestion, AudioRef

WORDS = ("drum", "flute", "siren", "rain", "engine", "laughter", "piano", "bell")


def make(number: int, per_clip: int = 1) -> list[AudioQuestion]:
    """Questions about clips that cannot be decoded; what each is about stands in its text."""
    return [
        AudioQuestion(
            id=f"q{i:04d}",
            audio=AudioRef(path=f"clip{i // per_clip}.wav", data=f"not decoded here {i // per_clip}".encode()),
            question=f"Which sound follows the {WORDS[i % len(WORDS)]}?",
            choices=("a dog", "a cat", "a bell", "a horn"),
            answer="a cat",
            domain=("sound", "music", "speech")[i // per_clip % 3],
        )
        for i in range(number)
    ]


class Chances:
    """Answers right with a known chance, drawn by (seed, request id, sample) alone.

    Args:
        own: Question id to its chance.
        unheard: The chances of requests without audio or with another clip; absent: 0.25.
    """

    name = "chances@1"

    def __init__(self, own: Mapping[str, float], unheard: Mapping[str, float] | None = None) -> None:
        self.own, self.unheard = own, unheard
        self.asked: dict[str, list[int]] = {}
        self.requests: list[Request] = []

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample, each question's latest first."""
        for request in requests:
            self.requests.append(request)
            id_, _, heard = request.id.partition("|")
            chance = self.own[id_] if not heard else (self.unheard or {}).get(id_, 0.25)
            for sample in reversed(request.wanted):
                self.asked.setdefault(request.id, []).append(sample)
                draw = np.random.default_rng([sampling.seed, sample, *request.id.encode()]).random()
                text = "<answer>a cat</answer>" if draw < chance else "<answer>a dog</answer>"
                yield Response(request.id, sample, text, "stop")
