"""Text rows for the tiny base, without audio: recitals, and dialogues in the chat format of the model.

Shapes: B rows, T tokens, N learned tokens of all rows, H hidden size.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_train.logprobs import selected_loss
from sari_train.models.base import AudioLM
from sari_train.text_skills import SKILLS, Turn, ask, dialogue, recital


@dataclass(frozen=True, slots=True)
class TextRow:
    """A text as token ids; ``learned`` are the (begin, end) of what is learned in it.

    In a dialogue that is each answer with its end of turn, in a recital the second time from its second token.
    """

    ids: tuple[int, ...]
    learned: tuple[tuple[int, int], ...]

    @property
    def tokens(self) -> int:
        """Number of tokens that are learned."""
        return sum(end - begin for begin, end in self.learned)


def encode_dialogue(lm: AudioLM, turns: Sequence[Turn]) -> TextRow:
    """Tokenise a dialogue as the model's chat template renders it."""
    messages: list[dict[str, str]] = []
    ids: list[int] = []
    answers: list[tuple[int, int]] = []
    done = ""
    for question, answer in turns:
        messages.append({"role": "user", "content": question})
        asked = lm.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        if not asked.startswith(done):
            raise InputError(f"the chat template of model {lm.name!r} rewrites earlier turns: take another init")
        messages.append({"role": "assistant", "content": answer})
        # Every piece ends at a special token or a line break, where no token reaches across.
        ids += lm.tokenizer(asked[len(done) :], add_special_tokens=False)["input_ids"]
        begin = len(ids)
        ids += [*lm.tokenizer(answer, add_special_tokens=False)["input_ids"], lm.stop_ids[0]]
        answers.append((begin, len(ids)))
        done = asked + answer + lm.tokenizer.decode([lm.stop_ids[0]])
    return TextRow(tuple(ids), tuple(answers))


def encode_recital(lm: AudioLM, text: str) -> TextRow:
    """Tokenise a text said twice."""
    once = lm.tokenizer(text, add_special_tokens=False)["input_ids"]
    return TextRow((*once, *once), ((len(once) + 1, 2 * len(once)),))


def draw_rows(lm: AudioLM, rng: random.Random, count: int, *, recitals: float = 0.1) -> list[TextRow]:
    """Draw and tokenise ``count`` texts, of which a share are recitals and the others dialogues."""
    return [
        encode_recital(lm, recital(rng)) if rng.random() < recitals else encode_dialogue(lm, dialogue(rng))
        for _ in range(count)
    ]


def text_loss(lm: AudioLM, rows: Sequence[TextRow]) -> Tensor:
    """Return the summed negative log-likelihood of all learned tokens."""
    hidden_NH, targets_N = _predicting(lm, rows)
    return selected_loss(lm, hidden_NH, targets_N)


@torch.no_grad()
def skill_accuracy(lm: AudioLM, count: int, *, seed: int) -> dict[str, float]:
    """Return the share of answers that greedy decoding gets exactly right, for each skill and over ``all``.

    Each of ``count`` questions for a skill is asked by itself. Greedy decoding gives an answer exactly if each
    of its tokens is the most likely one after the true tokens before it, so one forward pass tells.
    """
    rng = random.Random(seed)
    found: dict[str, float] = {}
    for skill in SKILLS:
        rows = [encode_dialogue(lm, [ask(rng, skill)]) for _ in range(count)]
        hidden_NH, targets_N = _predicting(lm, rows)
        right = (lm.head(hidden_NH).argmax(-1) == targets_N).split([row.tokens for row in rows])
        found[skill.__name__.strip("_")] = sum(bool(exact.all()) for exact in right) / count
    return {"all": sum(found.values()) / len(found), **found}


def _predicting(lm: AudioLM, rows: Sequence[TextRow]) -> tuple[Tensor, Tensor]:
    """The hidden states [N, H] before each learned token, and those tokens [N]."""
    width = max(len(row.ids) for row in rows)
    pad = lm.tokenizer.pad_token_id
    ids_BT = torch.tensor([[*row.ids] + [pad] * (width - len(row.ids)) for row in rows], device=lm.device)
    places = [(b, t) for b, row in enumerate(rows) for begin, end in row.learned for t in range(begin, end)]
    rows_N, at_N = torch.tensor(places, device=lm.device).T
    positions_1T = torch.arange(width, device=lm.device)[None, :]
    hidden_BTH = lm.backbone(lm.embed_tokens(ids_BT), positions_1T)
    return hidden_BTH[rows_N, at_N - 1], ids_BT[rows_N, at_N]
