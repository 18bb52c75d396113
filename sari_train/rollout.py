"""Generation: each prompt is prefilled once and its keys and values are there once, for all of its samples.

Tokens are decoded for all rows together; rows that are done leave, and prompts without rows with
them. A sample's random numbers come from (seed, request id, sample index) alone, so the same
sample comes out whatever else is in its batch. Sampling settings of the checkpoint
(``generation_config``) are never read.

Shapes: P prompts, B rows (samples), T prompt tokens, K cache columns, N new tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sari_data.errors import InputError
from sari_data.responder import FinishReason, Sampling
from sari_train.batch import Encoded, place_audio
from sari_train.kernels._rows import BANNED_LOGIT
from sari_train.kernels.packing import pack
from sari_train.models.base import AudioLM, Decoder
from sari_train.models.cache import SharedCache

# Rows that are finished leave the batch once fewer than this share of it is still being written.
COMPACT_BELOW = 0.75


@dataclass(frozen=True, slots=True)
class RolloutPrompt:
    """A prompt to be answered: ``samples`` are the indices of the samples wanted."""

    id: str
    encoded: Encoded
    samples: range = range(1)


@dataclass(frozen=True, slots=True)
class Completion:
    """One sampled answer.

    Args:
        prompt_id: The prompt's id.
        sample: Index of the sample.
        ids: The sampled tokens, with the end-of-turn token where one was sampled.
        logps: Log-probability of each at the sampling temperature (at 1 for greedy decoding), before top-k
            and top-p, float32 [len(ids)].
        text: The decoded text without the end-of-turn token; it ends with the stop string that ended it. What the
            prompt says the answer begins with is no part of it.
        finish_reason: ``stop``, or ``length`` where the bound cut it.
    """

    prompt_id: str
    sample: int
    ids: tuple[int, ...]
    logps: np.ndarray
    text: str
    finish_reason: FinishReason


class Rollout:
    """Samples from one model under one setting.

    Args:
        lm: The model; its weights are used as they are at each call.
        sampling: Temperature, nucleus, length, seed and stop strings.

    Raises:
        InputError: A setting out of its range.
    """

    def __init__(self, lm: AudioLM, sampling: Sampling) -> None:
        fits = sampling.temperature >= 0 and 0 < sampling.top_p <= 1 and sampling.top_k >= 0
        if not fits or not 0 <= sampling.min_p <= 1 or sampling.max_new_tokens < 1:
            raise InputError(
                "sampling needs a temperature of 0 or more, top_p in (0, 1], top_k of 0 or more, min_p in [0, 1] and "
                f"max_new_tokens of 1 or more; found {sampling}"
            )
        self.lm = lm
        self.sampling = sampling
        self._may_stop = _may_end(lm.tokenizer, lm.head_size, sampling.stop).to(lm.device)
        self._banned = torch.tensor(lm.banned_ids, device=lm.device)
        # A stop string of n bytes spans at most n tokens; some slack for tokens that decode to nothing.
        self._tail = max((len(s.encode()) for s in sampling.stop), default=0) + 4

    @torch.no_grad()
    def generate(
        self, prompts: Sequence[RolloutPrompt], *, seed: int | None = None, decoder: Decoder | None = None
    ) -> list[Completion]:
        """Return every sample of every prompt, in order.

        Args:
            prompts: Best of similar length: the batch is padded to the longest.
            seed: Used instead of the sampling's seed (GRPO takes a new one each step).
            decoder: The model's decoder, for batches that share one; it must have been made from the weights of now.
        """
        if not prompts:
            return []
        seed = self.sampling.seed if seed is None else seed
        owners = [(p, s) for p in prompts for s in p.samples]
        budgets = [self.budget(p, s) for p, s in owners]
        state = _State(self, prompts, [len(p.samples) for p in prompts], budgets)
        uniforms = _uniforms([(seed, p.id, s) for p, s in owners], self.sampling.temperature, max(budgets))
        state.run(torch.from_numpy(uniforms).to(self.lm.device), decoder or self.lm.decoder())
        return [
            self.completion(prompt, sample, state.ids[row], state.logps[row], state.stopped[row])
            for row, (prompt, sample) in enumerate(owners)
        ]

    def budget(self, prompt: RolloutPrompt, sample: int) -> int:
        """Most tokens that a sample may take."""
        return min(self.sampling.max_new_tokens, self.lm.context_length - len(prompt.encoded))

    def pick(self, logits_BV: Tensor, uniforms_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """Choose a token for each row: (tokens [B], their log-probabilities [B])."""
        logits_BV = logits_BV.float().index_fill(-1, self._banned, BANNED_LOGIT)
        if uniforms_B is None:
            tokens_B = logits_BV.argmax(-1)
            return tokens_B, logits_BV.log_softmax(-1).gather(-1, tokens_B[:, None])[:, 0]
        logps_BV = (logits_BV / self.sampling.temperature).log_softmax(-1)
        s = self.sampling
        tokens_B = invert_cdf(logps_BV.exp(), uniforms_B, top_k=s.top_k, top_p=s.top_p, min_p=s.min_p)
        return tokens_B, logps_BV.gather(-1, tokens_B[:, None])[:, 0]

    def ends(self, ids: Sequence[int], prefix: Sequence[int] = ()) -> bool:
        """Whether the text of ``ids`` now holds a stop string; one may begin in the prefix, but not end in it."""
        before, text = self._text(ids[-self._tail :], prefix[max(len(prefix) + len(ids) - self._tail, 0) :])
        return bool(_stops(text, self.sampling.stop, before))

    def completion(
        self, prompt: RolloutPrompt, sample: int, ids: list[int], logps: list[float], stopped: bool
    ) -> Completion:
        """Return sampled tokens as a completion with its text; ``stopped``: a stop token or string ended it."""
        spoken = ids[:-1] if ids and ids[-1] in self.lm.stop_ids else ids
        before, text = self._text(spoken, prompt.encoded.prefix_ids)
        text = text[before : min(_stops(text, self.sampling.stop, before), default=None)]
        reason: FinishReason = "stop" if stopped else "length"
        return Completion(prompt.id, sample, tuple(ids), np.asarray(logps, dtype=np.float32), text, reason)

    def _text(self, ids: Sequence[int], prefix: Sequence[int]) -> tuple[int, str]:
        """Return the text of prefix and ids together, and where in it that of the ids begins.

        They are decoded together, because some tokenizers drop a space where a text begins.
        """
        if not prefix:
            return 0, self.lm.tokenizer.decode(list(ids), skip_special_tokens=False)
        before = self.lm.tokenizer.decode(list(prefix), skip_special_tokens=False)
        return len(before), self.lm.tokenizer.decode([*prefix, *ids], skip_special_tokens=False)


class _State:
    """One batch being decoded. Row numbers are those of the whole batch; ``alive`` maps what is left to them."""

    def __init__(
        self, engine: Rollout, prompts: Sequence[RolloutPrompt], repeats: Sequence[int], budgets: list[int]
    ) -> None:
        self.engine, self.lm = engine, engine.lm
        self.budgets = budgets
        self.ids: list[list[int]] = [[] for _ in budgets]
        self.logps: list[list[float]] = [[] for _ in budgets]
        self.stopped = [False] * len(budgets)
        self.prefixes = [p.encoded.prefix_ids for p in prompts for _ in p.samples]
        prompt_of_row = [prompt for prompt, count in enumerate(repeats) for _ in range(count)]
        self.cache, last_PH, self.lengths_B = prefill(self.lm, [p.encoded for p in prompts], prompt_of_row)
        self.last_BH = last_PH[torch.tensor(prompt_of_row, device=self.lm.device)]

    def _ends(self, row: int) -> bool:
        return self.engine.ends(self.ids[row], self.prefixes[row])

    def run(self, uniforms_BN: Tensor, decoder: Decoder) -> None:
        """Decode until every row has stopped or used up its budget."""
        alive = list(range(len(self.budgets)))  # batch position -> row, finished rows included until compaction
        done = [False] * len(alive)
        left = len(alive)
        sampled = self.engine.sampling.temperature > 0
        for step in range(max(self.budgets)):
            uniforms_B = uniforms_BN[:, step] if sampled else None
            tokens_B, logps_B = self.engine.pick(decoder.logits(self.last_BH), uniforms_B)
            flagged = self.engine._may_stop[tokens_B].tolist()
            for at, (row, token, logp) in enumerate(zip(alive, tokens_B.tolist(), logps_B.tolist(), strict=True)):
                if done[at]:
                    continue
                self.ids[row].append(token)
                self.logps[row].append(logp)
                if token in self.lm.stop_ids or (flagged[at] and self._ends(row)):
                    self.stopped[row] = done[at] = True
                elif step + 1 >= self.budgets[row]:
                    done[at] = True
                left -= done[at]
            if left == 0:
                return
            if left < COMPACT_BELOW * len(alive):
                keep = [at for at in range(len(alive)) if not done[at]]
                alive, done = [alive[at] for at in keep], [False] * len(keep)
                kept = torch.tensor(keep, device=tokens_B.device)
                tokens_B, uniforms_BN, self.lengths_B = tokens_B[kept], uniforms_BN[kept], self.lengths_B[kept]
                self.cache.take_rows(keep)
            embeds_BH = self.lm.embed_tokens(tokens_B)
            self.last_BH = decoder.step(embeds_BH, self.lengths_B + step, self.cache)


@torch.no_grad()
def prefill(
    lm: AudioLM, prompts: Sequence[Encoded], prompt_of_row: Sequence[int]
) -> tuple[SharedCache, Tensor, Tensor]:
    """Run each prompt once, packed.

    Returns:
        (the cache with room for the rows, each prompt's last hidden state [P, H], the length of each row's
        prompt [B])
    """
    audio = lm.audio_embeddings(list({p.clip.key: p.clip for p in prompts}.values()))
    of_clip = dict(zip(dict.fromkeys(p.clip.key for p in prompts), audio, strict=True))
    ids_T = torch.tensor([i for p in prompts for i in p.prompt], device=lm.device)
    embeds_TH = place_audio(lm, ids_T, torch.cat([of_clip[p.clip.key] for p in prompts]))
    packing = pack([len(p.prompt) for p in prompts], [()] * len(prompts), lm.device)
    cache = lm.new_cache()
    last_PH = lm.packed_backbone(embeds_TH, packing, cache=cache)
    cache.share(packing, prompt_of_row)
    return cache, last_PH, cache.lengths_P[torch.tensor(list(prompt_of_row), device=lm.device)]


def invert_cdf(
    probs_BV: Tensor, uniforms_B: Tensor, *, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Tensor:
    """Return the token [B] at which each row's cumulative probability passes its uniform number in [0, 1).

    With ``top_k`` > 0, ``top_p`` < 1 or ``min_p`` > 0 only the most likely tokens take part: at most ``top_k``, the
    fewest whose mass reaches ``top_p`` (Holtzman et al. 2020, arXiv 1904.09751), and those at least ``min_p``
    times as likely as the most likely one (Nguyen et al. 2024, arXiv 2407.01082).
    """
    if top_k <= 0 and top_p >= 1.0 and min_p <= 0.0:
        cdf_BV = probs_BV.double().cumsum(-1)
        wanted_B1 = uniforms_B[:, None] * cdf_BV[:, -1:]
        return torch.searchsorted(cdf_BV, wanted_B1, right=True)[:, 0].clamp(max=probs_BV.shape[-1] - 1)
    sorted_BV, order_BV = probs_BV.double().sort(dim=-1, descending=True, stable=True)
    before_BV = sorted_BV.cumsum(-1) - sorted_BV
    keep_BV = (before_BV < top_p) & (sorted_BV >= min_p * sorted_BV[:, :1])
    if top_k > 0:
        keep_BV[:, top_k:] = False
    cdf_BV = (sorted_BV * keep_BV).cumsum(-1)
    wanted_B1 = uniforms_B[:, None] * cdf_BV[:, -1:]
    rank_B1 = torch.searchsorted(cdf_BV, wanted_B1, right=True).clamp(max=probs_BV.shape[-1] - 1)
    return order_BV.gather(-1, rank_B1)[:, 0]


def _uniforms(keys: Sequence[tuple[int, str, int]], temperature: float, count: int) -> np.ndarray:
    """Return uniform numbers [B, count] in [0, 1): row b from a counter-based generator keyed by keys[b]."""
    if temperature <= 0:
        return np.zeros((len(keys), 1))
    rows = np.empty((len(keys), count))
    for row, (seed, request_id, sample) in zip(rows, keys, strict=True):
        digest = hashlib.sha256(f"{seed}\x00{request_id}\x00{sample}".encode()).digest()
        row[:] = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).random(len(row))
    return rows


def _stops(text: str, stops: Sequence[str], before: int) -> list[int]:
    """Return where each stop string that ends after ``before`` ends first."""
    found = ((stop, text.find(stop, max(before - len(stop) + 1, 0))) for stop in stops)
    return [at + len(stop) for stop, at in found if at >= 0]


def _may_end(tokenizer: Any, size: int, stops: Sequence[str]) -> Tensor:
    """Return bool [V]: tokens after which a stop string may be complete, so that only those rows are decoded."""
    last = {stop[-1] for stop in stops}
    if not last:
        return torch.zeros(size, dtype=torch.bool)
    pieces = tokenizer.batch_decode([[i] for i in range(min(size, len(tokenizer)))], skip_special_tokens=False)
    # U+FFFD: a token that is part of a character; what it completes is only known in its context.
    flags = [any(c in piece for c in last) or "\ufffd" in piece for piece in pieces]
    return torch.tensor(flags + [False] * (size - len(flags)))
