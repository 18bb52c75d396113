"""Part questions into ``sft``, ``rl`` and ``dev``: by audio clip, and evenly over the domains."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sari_data.errors import InputError
from sari_data.types import AudioQuestion


@dataclass(frozen=True, slots=True)
class Entry:
    """What parting needs to know of a question.

    Args:
        id: The question's id.
        clip: What must not be in two splits: the clip's content key, or one name for all clips of the same sound.
        domain: The question's domain.
        chains: Whether it has the chains of thought that a warm-up learns from.
    """

    id: str
    clip: str
    domain: str
    chains: bool


def has_chains(question: AudioQuestion) -> bool:
    """Return whether a question has the chains of thought that a warm-up learns from."""
    return question.reasoning.structured is not None and question.reasoning.unstructured is not None


def split_by_clip(
    entries: Sequence[Entry],
    *,
    sft: int,
    dev: int,
    seed: int,
    write_chains: Callable[[list[str]], set[str]] | None = None,
) -> dict[str, list[str]]:
    """Part questions so that no audio clip is in two splits; each domain has its share in each.

    Args:
        entries: What there is to part.
        sft: Number of questions with chains; their clips have no others. Where whole clips do not add up to it, it is
            the most that is not more; so for ``dev``.
        dev: Number of questions held out.
        seed: Decides, with a clip's content alone, where the clip goes first.
        write_chains: Writes the chains of the questions with these ids and returns the ids for which that succeeded.
            It is asked for no more than ``sft`` needs; for those that failed, other clips are chosen.

    Returns:
        The ids of ``sft``, ``rl`` (the rest) and ``dev``.

    Raises:
        InputError: There are too few questions.
    """
    if sft + dev > len(entries):
        raise InputError(
            f"the splits need {sft + dev} questions (build.sft {sft} and build.dev {dev}), "
            f"found {len(entries)}: lower them, or ask the source for more"
        )
    clips: dict[str, list[Entry]] = {}
    for entry in entries:
        clips.setdefault(entry.clip, []).append(entry)
    left = sorted(clips, key=lambda key: hashlib.sha256(f"{seed}|{key}".encode()).digest())
    chosen: dict[str, list[str]] = {}

    held_out = _whole_clips("dev", left, clips, dev)
    chosen["dev"] = [entry.id for key in left if key in held_out for entry in clips[key]]
    left = [key for key in left if key not in held_out]

    have = {entry.id for entry in entries if entry.chains}
    hopeless: set[str] = set()
    while True:
        usable = [
            key
            for key in left
            if key not in hopeless and (write_chains is not None or all(entry.id in have for entry in clips[key]))
        ]
        taught = _whole_clips("sft", usable, clips, sft)
        lacking = [entry.id for key in left if key in taught for entry in clips[key] if entry.id not in have]
        if not lacking:
            break
        assert write_chains is not None, "without a writer only clips with all their chains are usable"
        written = write_chains(lacking)
        have |= written
        failed = set(lacking) - written
        hopeless |= {key for key in taught if any(entry.id in failed for entry in clips[key])}
    chosen["sft"] = [entry.id for key in left if key in taught for entry in clips[key]]
    rest = [entry.id for key in left if key not in taught for entry in clips[key]]
    return {"sft": chosen["sft"], "rl": rest, "dev": chosen["dev"]}


def _whole_clips(split: str, usable: Sequence[str], clips: Mapping[str, Sequence[Entry]], size: int) -> set[str]:
    there = sum(len(clips[key]) for key in usable)
    if there < size:
        raise InputError(
            f"split {split} needs {size} questions{' with chains' if split == 'sft' else ''}, "
            f"found clips with {there}: lower build.{split}"
        )
    # Where clips have several questions, whole ones may not add up; a few questions fewer are better than none.
    return _take(usable, clips, size)


def _take(keys: Sequence[str], clips: Mapping[str, Sequence[Entry]], size: int) -> set[str]:
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
