"""The checks of ``preflight`` that run the model: audio features, batches, clips, sampling.

Each is a function from the setting to a verdict; ``preflight.py`` runs them, inside ``untouched``.

Shapes: B rows, C completion tokens, F frames, M mel bands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from sari_data.responder import Sampling
from sari_train.batch import Batch, Encoded, Example, audio_vectors, collate, encode_example
from sari_train.checks.setting import Setting, Verdict
from sari_train.logprobs import completion_logprobs
from sari_train.models.base import AudioLM
from sari_train.rollout import Rollout, RolloutPrompt

# How far two ways to the same log-probability (nats) may part: at one token, and in the mean over a response. On the
# embedded model rounding comes to 3e-5 and 4e-6 in float32, 0.09 and 0.008 in float16, 0.4 and 0.06 in bfloat16.
TOLERANCE = {
    torch.float64: (1e-6, 1e-7),
    torch.float32: (1e-3, 1e-4),
    torch.float16: (0.3, 0.05),
    torch.bfloat16: (1.0, 0.25),
}
# What another clip must change at least, beyond twice the rounding that was measured.
HEARD = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 0.01, torch.bfloat16: 0.01}
# Tokens that are sampled to compare the sampler with the trainer.
SAMPLED = 24


def check_placeholders(setting: Setting) -> Verdict:
    """Find prompts with more or fewer audio placeholders than there are audio features.

    For clips of short and long questions: the placeholders in the token ids, the tokens that the feature extractor
    announced, the states that the tower makes of the clip alone, and the vectors that go into the embeddings must be
    equal in number. A wrong count shifts all later audio of the batch by some places, without an error.
    """
    lm, total = setting.lm, 0
    for question, row in zip(setting.asked, _rows(setting, setting.examples[::2]), strict=True):
        batch = collate(lm, [row])
        placed = int((batch.ids_BT == lm.audio_token_id).sum())
        spans = [span for clip in batch.clips for span in clip.spans]
        announced = sum(span.tokens for span in spans)
        with torch.no_grad():
            made = sum(_tower_tokens(lm, span.mel_MF, span.frames) for span in spans)
            given = placed if made != announced else len(audio_vectors(lm, batch, torch.zeros(1, dtype=torch.long)))
        total += placed
        if not placed == announced == made == given:
            return Verdict(
                "fail",
                f"the clip of question {question.id}",
                "as many audio placeholders in the prompt as the audio tower makes features",
                f"{placed} placeholders; {announced} features announced, {made} made by the tower, {given} placed",
                "use the processor that the model was trained with; the extractor's count of audio tokens is wrong",
            )
    return Verdict("ok", f"{total} placeholders and features in {len(setting.asked)} prompts")


def check_batch(setting: Setting) -> Verdict:
    """Find results that depend on what else is in the batch.

    Rows with different prompts, clips and lengths, two responses to each prompt, are scored together and each alone.
    The log-probabilities of each completion token must be equal, up to TOLERANCE for the weights' type.
    """
    together, alone = _logprobs(setting, setting.examples), [_logprobs(setting, [e])[0] for e in setting.examples]
    gaps = [(_most(a, b), _mean(a, b)) for a, b in zip(together, alone, strict=True)]
    most, mean = max(g for g, _ in gaps), max(g for _, g in gaps)
    measured = f"{len(gaps)} rows together and alone: log-probs differ by at most {most:.1e}, {mean:.1e} in the mean"
    if _close(setting, most, mean):
        return Verdict("ok", measured)
    row = max(range(len(gaps)), key=lambda i: gaps[i])
    return Verdict(
        "fail",
        measured,
        _tolerance_text(setting, "the same log-probs, whatever else is in the batch"),
        f"row {row + 1} of {len(gaps)} differs by {gaps[row][0]:.2g} at a token",
        "padding, masks, positions or the pairing of audio leak between rows: see the check of clips, then the adapter",
    )


def check_clips(setting: Setting) -> Verdict:
    """Find completions that are scored with another row's audio, and models that do not hear.

    Two responses to each of several prompts run in one batch, then with the clips passed on from question to question
    (so that each prompt has another's). Each row must match the same text alone with the clip it was given better than
    alone with any other clip: with audio repeated as ``repeat(G)`` beside prompts repeated as ``repeat_interleave(G)``
    it does not. And alone, another clip must change the log-probabilities.
    """
    clips = [q.audio for q in setting.asked]
    if len(clips) < 2:
        return Verdict("skipped", "the split has one clip only")
    each = len(setting.examples) // len(clips)
    alone = [
        [_logprobs(setting, [replace(e, audio=clip)])[0] for clip in clips] for e in setting.examples
    ]  # by row and clip
    noise, floor = 0.0, HEARD.get(setting.lm.dtype, HEARD[torch.float32])
    for shift in (0, 1):
        given = [(row // each + shift) % len(clips) for row in range(len(setting.examples))]
        together = _logprobs(
            setting, [replace(e, audio=clips[k]) for e, k in zip(setting.examples, given, strict=True)]
        )
        for row, (logps, own) in enumerate(zip(together, given, strict=True)):
            gaps = [_mean(logps, other) for other in alone[row]]
            best = min(range(len(clips)), key=gaps.__getitem__)
            if best != own and gaps[own] > floor:
                return Verdict(
                    "fail",
                    f"{len(together)} rows of {len(clips)} clips in one batch",
                    f"row {row + 1} to be scored with its own clip, {own + 1}",
                    f"its log-probs are nearest to those with clip {best + 1} ({gaps[best]:.1e}; own: {gaps[own]:.1e})",
                    "audio is repeated or gathered in another order than the prompts: mend clip_of_row_B or its use",
                )
            noise = max(noise, _most(logps, alone[row][own]))
    heard = [
        max(_most(alone[row][row // each], other) for k, other in enumerate(alone[row]) if k != row // each)
        for row in range(len(alone))
    ]
    by_question = [max(heard[k * each : (k + 1) * each]) for k in range(len(clips))]
    deaf = sum(change <= 2 * noise + floor for change in by_question)
    measured = (
        f"{len(alone)} rows match their own clips; another clip changes log-probs by up to {max(by_question):.2g}"
    )
    if not deaf:
        return Verdict("ok", measured)
    return Verdict(
        "fail" if deaf == len(clips) else "warning",
        measured,
        f"another clip to change the log-probs by more than {2 * noise + floor:.1e}",
        f"no such change for {deaf} of {len(clips)} questions",
        "the audio does not reach the text model: see the placeholders, the projector and the audio tower",
    )


def check_sampler(setting: Setting) -> Verdict:
    """Find a sampler whose log-probabilities are not the trainer's.

    A few tokens are sampled with this process's engine at the recipe's temperature; the trainer's pass over the same
    tokens must give the same log-probabilities. Where it does not, ratios and clipping act on an error.
    """
    lm, table = setting.lm, setting.table
    sampling = Sampling(
        temperature=setting.temperature, max_new_tokens=min(SAMPLED, table.max_new_tokens), seed=table.seed
    )
    encoded = _rows(setting, [replace(e, target=None) for e in setting.examples[::2]])
    prompts = [RolloutPrompt(q.id, row, range(2)) for q, row in zip(setting.asked, encoded, strict=True)]
    with torch.no_grad():
        done = Rollout(lm, sampling).generate(prompts)
        rows = [replace(encoded[i // 2], completion=completion.ids) for i, completion in enumerate(done)]
        scored = _each_row(score_batch(setting, collate(lm, rows)), rows)
    gaps = [
        (_most(torch.from_numpy(completion.logps), logps), _mean(torch.from_numpy(completion.logps), logps))
        for completion, logps in zip(done, scored, strict=True)
    ]
    most, mean = max(g for g, _ in gaps), max(g for _, g in gaps)
    tokens = sum(map(len, scored))
    measured = f"{tokens} sampled tokens: log-probs differ by at most {most:.1e}, {mean:.1e} in the mean"
    if setting.grpo is not None and setting.grpo.rollout.engine != "local":
        measured += f"; the {setting.grpo.rollout.engine} server's are not compared"
    if _close(setting, most, mean):
        return Verdict("ok", measured)
    return Verdict(
        "fail",
        measured,
        _tolerance_text(setting, "the trainer's log-probs of what was sampled"),
        f"{most:.2g} apart at a token",
        "temperature, banned tokens or the decoder's arithmetic differ from the trainer's: mend the adapter's decoder",
    )


# -- helpers --------------------------------------------------------------------------------------------------------


def _rows(setting: Setting, examples: Sequence[Example]) -> list[Encoded]:
    return [encode_example(setting.lm, example) for example in examples]


@torch.no_grad()
def _logprobs(setting: Setting, examples: Sequence[Example]) -> list[Tensor]:
    """Log-probabilities [C] of each example's completion, all examples in one batch."""
    rows = _rows(setting, examples)
    return _each_row(completion_logprobs(setting.lm, collate(setting.lm, rows), with_entropy=False)[0], rows)


def _each_row(logps_BC: Tensor, rows: Sequence[Encoded]) -> list[Tensor]:
    return [logps[: len(row.completion)].float().cpu() for logps, row in zip(logps_BC, rows, strict=True)]


def score_batch(setting: Setting, batch: Batch) -> Tensor:
    """Return log-probabilities [B, C] as GRPO takes them: at its temperature, without the banned tokens."""
    banned = setting.lm.banned_ids
    return completion_logprobs(setting.lm, batch, setting.temperature, banned=banned, with_entropy=False)[0]


def _most(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _mean(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().mean())


def _close(setting: Setting, most: float, mean: float) -> bool:
    # Not the other way round: NaN is not close.
    bounds = TOLERANCE.get(setting.lm.dtype, TOLERANCE[torch.float32])
    return most <= bounds[0] and mean <= bounds[1]


def _tolerance_text(setting: Setting, what: str) -> str:
    most, mean = TOLERANCE.get(setting.lm.dtype, TOLERANCE[torch.float32])
    kind = str(setting.lm.dtype).removeprefix("torch.")
    return f"{what}, to {most:g} at a token and {mean:g} in the mean ({kind})"


def _tower_tokens(lm: AudioLM, mel_MF: Tensor, frames: int) -> int:
    states = lm.audio_states(mel_MF[None].to(lm.device, lm.dtype), torch.tensor([frames], device=lm.device))
    return int(states.shape[1])
