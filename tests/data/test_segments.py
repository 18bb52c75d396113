"""Which part of which video: file names, addresses and times as data sets write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sari_data.segments import Segment, of_provenance, overlap, parse_address, parse_name, parse_times
from sari_data.types import Provenance

ID = "F7Y1T-rQ2JU"
IDS = st.builds(
    lambda start, middle, last: "aB" + start + middle + last,
    st.text("abcXYZ019_-", min_size=4, max_size=4),
    st.text("abcXYZ019_-", min_size=4, max_size=4),
    st.sampled_from("AEIMQUYcgkosw048"),
)


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        (f"{ID}.wav", None, None),
        (f"data/{ID}_3.wav", None, None),
        (f"Y{ID}.wav", None, None),
        (f"{ID}_000030.mp4", 30, 40),
        (f"{ID}_000130", 130, 140),
        (f"{ID}_30000", 30, 40),
        (f"{ID}_120000", 120, 130),
        (f"{ID}_0", None, None),
        (f"{ID}_30_40.flac", 30, 40),
        (f"Y{ID}_30.000_40.000.wav", 30, 40),
        (f"{ID}_30000_40000.wav", 30, 40),
        (f"./audio/{ID}_00-01-32_00-02-02.wav", 92, 122),
        (f"folder\\{ID}_00-00-04_00-00-00.wav", None, None),
    ],
)
def test_file_names_of_the_published_data_sets(name: str, start: float | None, end: float | None) -> None:
    assert parse_name(name) == Segment(ID, start, end)


@pytest.mark.parametrize(
    "name",
    [
        *("recording_1.wav", "recording04.wav", "dia12_utt3.wav", "0_george_12.wav", "", "a.wav", "00000000000.wav"),
        *("3fe64f3d-282c-4bc8-a753-68f8f6c35652.wav", f"{ID}extra.wav", "ABCDEFGHIJKLMNOPQ.wav"),
    ],
)
def test_other_names_are_no_videos(name: str) -> None:
    assert parse_name(name) is None


def test_a_bilibili_name_is_a_video_too() -> None:
    assert parse_name("BV1sg4y127nr_00-05-24_00-05-46.wav") == Segment("BV1sg4y127nr", 324, 346)


@pytest.mark.parametrize(
    "address",
    [
        f"https://www.youtube.com/watch?v={ID}",
        f"https://www.youtube.com/watch?v={ID}&list=RDQMaID4naqyfpY&start_radio=1",
        f"https://youtube.com/watch?feature=share&v={ID}",
        f"https://youtu.be/{ID}?t=30",
        f"https://www.youtube.com/shorts/{ID}?feature=share",
        f"https://m.youtube.com/live/{ID}",
        f"www.youtube.com/embed/{ID}",
    ],
)
def test_addresses(address: str) -> None:
    assert parse_address(address) == ID


def test_addresses_of_other_places() -> None:
    assert parse_address("https://www.bilibili.com/video/BV1pr421M7A6/?spm_id_from=333") == "BV1pr421M7A6"
    assert parse_address("https://b23.tv/KPi36Ce") is None
    assert parse_address("https://example.org/watch?v=" + ID) is None


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("00:01:32,00:02:02", (92, 122)),
        ("4:12,4:34", (252, 274)),
        ("0:00,0:05;0:34,0:39", (0, 39)),
        ("01:00:00.5-01:00:10", (3600.5, 3610)),
        ("0:30", (30, None)),
        ("", (None, None)),
        ("0:30,0:30", (None, None)),
    ],
)
def test_times(text: str, times: tuple[float | None, float | None]) -> None:
    assert parse_times(text) == times


def test_common_seconds() -> None:
    assert overlap(Segment(ID, 0, 10), Segment(ID, 7, 17)) == 3
    assert overlap(Segment(ID, 0, 10), Segment(ID, 10, 20)) == 0
    assert overlap(Segment(ID, 0, 10), Segment(ID)) is None
    assert overlap(Segment(ID), Segment("another")) == 0


def test_provenance_with_impossible_ends_says_only_the_video() -> None:
    assert of_provenance(Provenance(youtube_id=ID, segment_start=5, segment_end=5)) == Segment(ID)
    assert of_provenance(Provenance()) is None


@given(IDS, st.integers(0, 9000), st.integers(1, 600))
def test_a_name_that_was_written_reads_back(video: str, start: int, length: int) -> None:
    end = start + length
    clock = "_".join(f"{t // 3600:02d}-{t // 60 % 60:02d}-{t % 60:02d}" for t in (start, end))
    assert parse_name(f"x/{video}_{clock}.wav") == Segment(video, start, end)
    assert parse_name(f"{video}_{start}_{end}.wav") == Segment(video, start, end)
    assert parse_name(f"{video}_{start:.3f}_{end:.3f}.wav") == Segment(video, start, end)


@given(st.text(max_size=40))
def test_no_text_breaks_the_readers(text: str) -> None:
    found = parse_name(text)
    assert found is None or (found.start is None) == (found.end is None)
    assert parse_address(text) is None or len(parse_address(text) or "") in (11, 12)
    first, last = parse_times(text)
    assert last is None or (first is not None and first < last)
