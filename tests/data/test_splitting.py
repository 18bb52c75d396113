"""Parting questions: by clip, evenly over the domains, and chains written for no more than are needed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.errors import InputError
from sari_data.splitting import Entry, has_chains, split_by_clip
from sari_data.types import AudioQuestion, AudioRef, Reasoning, StructuredReasoning

CHAINS = Reasoning(structured=StructuredReasoning("p", "c", "r", "s"), unstructured="t")


def questions(clips: list[tuple[str, int, bool]]) -> list[AudioQuestion]:
    """Make questions: for each clip its domain, how many questions it has, and whether they have chains."""
    return [
        AudioQuestion(
            id=f"{clip}-{i}",
            audio=AudioRef(data=f"clip {clip}".encode()),
            question="Which?",
            choices=("a", "b"),
            answer="a",
            domain=domain,
            reasoning=CHAINS if chains else Reasoning(),
        )
        for clip, (domain, number, chains) in enumerate(clips)
        for i in range(number)
    ]


def parted(everything: list[AudioQuestion], **how: Any) -> dict[str, list[AudioQuestion]]:
    """Part questions, and return the questions themselves."""
    by_id = {q.id: q for q in everything}
    entries = [Entry(q.id, q.audio.key, q.domain, has_chains(q)) for q in everything]
    return {name: [by_id[id_] for id_ in ids] for name, ids in split_by_clip(entries, **how).items()}


CLIPS = st.lists(
    st.tuples(st.sampled_from(["sound", "music", "speech", "sound+speech"]), st.integers(1, 3), st.booleans()),
    min_size=1,
    max_size=40,
)


@given(CLIPS, st.integers(0, 15), st.integers(0, 15), st.integers(0, 3))
def test_a_split_is_a_partition_by_clip_of_the_asked_sizes_or_an_error(
    clips: list[tuple[str, int, bool]], sft: int, dev: int, seed: int
) -> None:
    everything = questions(clips)
    try:
        splits = parted(everything, sft=sft, dev=dev, seed=seed)
    except InputError:
        usable = sum(number for _, number, chains in clips if chains)
        whole = all(number == 1 for _, number, _ in clips)
        assert not whole or sft + dev > len(everything) or usable < sft + dev
        return
    assert Counter(q.id for found in splits.values() for q in found) == Counter(q.id for q in everything)
    for split, size in {"sft": sft, "dev": dev}.items():
        # Short only by what no clip that is left over would fit into.
        short = size - len(splits[split])
        fits = [q for q in splits["rl"] if split == "dev" or q.reasoning.structured is not None]
        sizes = Counter(q.audio.key for q in splits["rl"])
        assert short == 0 or (short > 0 and all(sizes[q.audio.key] > short for q in fits))
    homes = {name: {q.audio.key for q in found} for name, found in splits.items()}
    assert sum(map(len, homes.values())) == len({key for found in homes.values() for key in found})
    assert all(q.reasoning.structured is not None for q in splits["sft"])


@given(st.integers(0, 50))
def test_each_domain_has_its_share_of_each_split(seed: int) -> None:
    everything = questions([("sound", 1, True)] * 60 + [("music", 1, True)] * 30 + [("speech", 1, True)] * 10)
    splits = parted(everything, sft=20, dev=11, seed=seed)
    shares = {name: Counter(q.domain for q in found) for name, found in splits.items()}
    assert shares["sft"] == {"sound": 12, "music": 6, "speech": 2}
    assert shares["dev"] in ({"sound": 7, "music": 3, "speech": 1}, {"sound": 6, "music": 4, "speech": 1})


def test_a_split_depends_on_the_seed_and_not_on_the_order() -> None:
    everything = questions([("sound", 1, True)] * 40)
    forth = parted(everything, sft=10, dev=10, seed=1)
    back = parted(everything[::-1], sft=10, dev=10, seed=1)
    assert forth == back
    assert parted(everything, sft=10, dev=10, seed=2) != forth


def test_sizes_that_cannot_be_had_are_explained() -> None:
    everything = questions([("sound", 1, True)] * 4 + [("sound", 1, False)] * 6)
    with pytest.raises(InputError, match=r"need 11 questions \(build.sft 6 and build.dev 5\), found 10"):
        parted(everything, sft=6, dev=5, seed=0)
    with pytest.raises(InputError, match=r"split sft needs 5 questions with chains, found .* 4: lower build.sft"):
        parted(everything, sft=5, dev=0, seed=0)


class Writer:
    """Writes chains, but never for ``hopeless`` ones; counts what it was asked."""

    def __init__(self, hopeless: set[str]) -> None:
        self.hopeless, self.asked = hopeless, Counter[str]()

    def __call__(self, ids: list[str]) -> set[str]:
        self.asked.update(ids)
        return set(ids) - self.hopeless


def bare(number: int, clips: int) -> list[Entry]:
    """Make questions without chains, several of them to a clip where there are more questions than clips."""
    return [Entry(f"q{i}", f"clip {i % clips}", ("sound", "music")[i % clips % 2], False) for i in range(number)]


def test_chains_are_written_for_what_sft_needs_and_for_no_more() -> None:
    writer = Writer(set())
    parts = split_by_clip(bare(100, 100), sft=20, dev=10, seed=0, write_chains=writer)
    assert set(writer.asked) == set(parts["sft"])
    assert len(parts["sft"]) == 20
    assert set(writer.asked.values()) == {1}


@given(st.sets(st.integers(0, 59)), st.integers(0, 20), st.sampled_from([60, 30, 20]), st.integers(0, 3))
def test_where_chains_fail_other_clips_are_chosen(bad: set[int], sft: int, clips: int, seed: int) -> None:
    entries, writer = bare(60, clips), Writer({f"q{i}" for i in bad})
    whole = {e.clip for e in entries} - {e.clip for e in entries if e.id in writer.hopeless}
    held_out = split_by_clip(entries, sft=0, dev=6, seed=seed)["dev"]
    left = [e for e in entries if e.clip in whole and e.id not in held_out]
    if clips == 60 and len(left) < sft:
        with pytest.raises(InputError, match="split sft needs"):
            split_by_clip(entries, sft=sft, dev=6, seed=seed, write_chains=writer)
        return
    try:
        parts = split_by_clip(entries, sft=sft, dev=6, seed=seed, write_chains=writer)
    except InputError:
        assert clips != 60, "what is left was enough"
        return
    assert sft - len(entries) // clips < len(parts["sft"]) <= sft
    assert not writer.hopeless & set(parts["sft"])
    assert set(writer.asked.values()) <= {1}, "nothing is asked for twice"
    assert sorted(id_ for ids in parts.values() for id_ in ids) == sorted(e.id for e in entries)
    homes = [{e.clip for e in entries if e.id in ids} for ids in parts.values()]
    assert sum(map(len, homes)) == clips


def test_chains_that_are_there_are_not_written_again() -> None:
    entries = [Entry(f"q{i}", f"c{i}", "sound", chains=True) for i in range(10)]
    writer = Writer(set())
    parts = split_by_clip(entries, sft=4, dev=2, seed=0, write_chains=writer)
    assert not writer.asked
    assert parts == split_by_clip(entries, sft=4, dev=2, seed=0)


def test_clips_of_one_group_stay_together() -> None:
    entries = [Entry(f"q{i}", f"group {i // 5}", "sound", True) for i in range(50)]
    parts = split_by_clip(entries, sft=10, dev=10, seed=3)
    homes = [{e.clip for e in entries if e.id in ids} for ids in parts.values()]
    assert list(map(len, homes)) == [2, 6, 2]
    assert not homes[0] & homes[1]
    assert not homes[0] & homes[2]
