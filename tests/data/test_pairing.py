"""Which other clip a question is heard with: never its own, the same every time, one ring a group."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from sari_data.pairing import Ring, others, pair_clips

ROWS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(("sound", "music"))), max_size=20)


@given(ROWS, st.integers(0, 5))
def test_nobody_hears_their_own_clip_and_a_group_hears_its_own(rows: list[tuple[int, str]], seed: int) -> None:
    clips = [b"clip %d" % clip for clip, _ in rows]
    groups = [group for _, group in rows]
    pairs = pair_clips(clips, groups, seed)
    assert all(clips[row] != other for row, other in pairs.items())
    assert len(pairs) == (len(rows) if len(set(clips)) > 1 else 0)
    for group in set(groups):
        members = {clip for clip, of in zip(clips, groups, strict=True) if of == group}
        if len(members) > 1:
            heard = {clips[row]: pairs[row] for row, of in enumerate(groups) if of == group}
            assert Counter(heard.values()) == Counter(members), "each clip of the group is heard once, as another's"
    # Neither the order of the rows nor anything but clip, group and seed matters.
    back = pair_clips(clips[::-1], groups[::-1], seed)
    assert {len(rows) - 1 - row: clip for row, clip in back.items()} == pairs


def test_another_seed_gives_another_ring() -> None:
    clips = [b"%d" % index for index in range(8)]
    orders = {tuple(Ring(clips, seed).after(b"0")) for seed in range(20)}
    assert len(orders) > 15
    assert list(Ring(clips + clips, 3).after(b"0")) == list(Ring(clips[::-1], 3).after(b"0"))


def test_after_the_last_of_a_ring_comes_the_first_and_after_a_ring_the_next_one() -> None:
    clips = [b"%d" % index for index in range(5)]
    ring = Ring(clips, 0)
    after = {clip: list(ring.after(clip)) for clip in clips}
    for clip, following in after.items():
        assert sorted([clip, *following]) == clips
        assert after[following[0]] == [*following[1:], clip]
    assert list(others(b"0", Ring([b"0"], 0), ring)) == after[b"0"]
    assert list(others(b"0", ring, ring)) == after[b"0"] * 2
