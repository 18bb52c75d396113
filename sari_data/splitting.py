"""Part questions into ``sft``, ``rl`` and ``dev``: by audio clip, and evenly over the domains."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from sari_data.errors import InputError
from sari_data.types import AudioQuestion


def has_chains(question: AudioQuestion) -> bool:
    """Return whether a question has the chains of thought that a warm-up learns from."""
    return question.reasoning.structured is not None and question.reasoning.unstructured is not None


def split_by_clip(
    questions: Sequence[AudioQuestion], *, sft: int, dev: int, seed: int
) -> dict[str, list[AudioQuestion]]:
    """Part questions so that no audio clip is in two splits; each domain has its share in each.

    Args:
        questions: What there is to part.
        sft: Number of questions with chains; their clips have no others.
        dev: Number of questions held out.
        seed: Decides, with a clip's content alone, where the clip goes first.

    Returns:
        ``sft``, ``rl`` (the rest) and ``dev``.

    Raises:
        InputError: There are too few questions, or whole clips do not add up to the sizes.
    """
    if sft + dev > len(questions):
        raise InputError(
            f"the splits need {sft + dev} questions (build.sft {sft} and build.dev {dev}), "
            f"found {len(questions)}: lower them, or ask the source for more"
        )
    clips: dict[str, list[AudioQuestion]] = {}
    for question in questions:
        clips.setdefault(question.audio.key, []).append(question)
    left = sorted(clips, key=lambda key: hashlib.sha256(f"{seed}|{key}".encode()).digest())
    chosen: dict[str, list[AudioQuestion]] = {}
    for split, size in {"dev": dev, "sft": sft}.items():
        usable = [key for key in left if split == "dev" or all(map(has_chains, clips[key]))]
        keys = _take(usable, clips, size)
        chosen[split] = [question for key in left if key in keys for question in clips[key]]
        if len(chosen[split]) < size:
            raise InputError(
                f"split {split} needs {size} questions{' with chains' if split == 'sft' else ''}, "
                f"found whole clips with {len(chosen[split])}: lower build.{split}"
            )
        left = [key for key in left if key not in keys]
    return {"sft": chosen["sft"], "rl": [q for key in left for q in clips[key]], "dev": chosen["dev"]}


def _take(keys: Sequence[str], clips: Mapping[str, Sequence[AudioQuestion]], size: int) -> set[str]:
    """Choose whole clips with ``size`` questions in all, each domain with its share of them."""
    by_domain: dict[str, list[str]] = {}
    for key in keys:
        by_domain.setdefault(clips[key][0].domain, []).append(key)
    numbers = {domain: sum(len(clips[key]) for key in found) for domain, found in by_domain.items()}
    quotas = _shares(numbers, size)
    taken: set[str] = set()
    for domain, found in by_domain.items():
        for key in found:
            if len(clips[key]) <= quotas[domain]:
                taken.add(key)
                quotas[domain] -= len(clips[key])
    room = size - sum(len(clips[key]) for key in taken)
    for key in keys:  # where clips with several questions do not add up to a domain's share
        if key not in taken and len(clips[key]) <= room:
            taken.add(key)
            room -= len(clips[key])
    return taken


def _shares(numbers: Mapping[str, int], size: int) -> dict[str, int]:
    """Share out ``size`` in proportion to ``numbers``, by largest remainder."""
    total = max(sum(numbers.values()), 1)
    shares = {name: size * number // total for name, number in numbers.items()}
    by_remainder = sorted(numbers, key=lambda name: (-(size * numbers[name] % total), name))
    for name in by_remainder[: min(size, total) - sum(shares.values())]:
        shares[name] += 1
    return shares
