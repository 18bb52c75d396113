"""Completions that are kept: complete, the same bytes again, and with sound."""

from __future__ import annotations

import hashlib
import io
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
from run_toys import kept, question, tone

from sari_data.errors import InputError, MissingFileError
from sari_data.types import AudioRef
from sari_train.completions import KeptGroup, KeptSample, read_completions, save_completions


def _group(audio: AudioRef) -> KeptGroup:
    return KeptGroup(question(0).replace(audio=audio), "prompt", [KeptSample("text", "stop", {"accuracy": 1.0})])


def _clips(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "completions" / "audio").iterdir()}


def _encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.1 * np.sin(np.arange(8000) / 9), 16_000, format=kind)
    return buffer.getvalue()


def test_everything_about_a_step_is_kept(tmp_path: Path) -> None:
    groups = [kept(at, 10, random.Random(at)) for at in range(3)]
    path = save_completions(tmp_path, 10, groups)
    assert path == tmp_path / "completions" / "step-000010.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["q-0", "q-1", "q-2"]
    asked, row = groups[1].question, rows[1]
    assert (row["question"], row["choices"], row["answer"]) == (asked.question, list(asked.choices), asked.answer)
    assert (row["domain"], row["difficulty"], row["prompt"]) == ("music", "medium", groups[1].prompt)
    assert [sample["text"] for sample in row["samples"]] == [sample.text for sample in groups[1].samples]
    first = groups[1].samples[0]
    assert row["samples"][0] == {
        "text": first.text, "finish_reason": "stop", "rewards": dict(first.rewards), "reward": first.reward,
        "advantage": first.advantage, "correct": first.correct, "tokens": 60,
    }  # fmt: skip
    assert read_completions(tmp_path) == [{"step": 10} | row for row in rows]


def test_writing_a_step_again_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        for _ in range(2 if folder == "b" else 1):
            save_completions(tmp_path / folder, 3, [kept(at, 3, random.Random(at)) for at in range(4)])
    files = [sorted((p.relative_to(tmp_path / f), p.read_bytes()) for p in (tmp_path / f).rglob("*.*")) for f in "ab"]
    assert files[0] == files[1]
    assert len(files[0]) == 5


def test_a_clip_is_written_once_whoever_asks(tmp_path: Path) -> None:
    body = tone(440)
    save_completions(tmp_path, 1, [_group(AudioRef(path="one.wav", data=body))])
    (clip,) = (tmp_path / "completions" / "audio").iterdir()
    before = clip.stat().st_mtime_ns, clip.stat().st_ino
    (tmp_path / "two.wav").write_bytes(body)
    save_completions(tmp_path, 2, [_group(AudioRef(path=str(tmp_path / "two.wav")))] * 2)
    assert (clip.stat().st_mtime_ns, clip.stat().st_ino) == before
    assert clip.name == hashlib.sha256(body).hexdigest()[:16] + ".wav"
    assert len(_clips(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_encoded_audio_is_kept_as_it_is(tmp_path: Path, kind: str) -> None:
    body = _encoded(kind)
    save_completions(tmp_path, 1, [_group(AudioRef(path="no suffix", data=body))])
    ((name, found),) = _clips(tmp_path).items()
    assert found == body
    assert name.endswith(f".{kind.lower()}")


def test_a_part_and_a_format_that_no_browser_plays_become_wav(tmp_path: Path) -> None:
    whole = _encoded("WAV")
    save_completions(tmp_path, 1, [_group(AudioRef(path="x", data=whole, start=0.1, duration=0.2))])
    ((name, found),) = _clips(tmp_path).items()
    assert name.endswith(".wav")
    part, rate = soundfile.read(io.BytesIO(found), dtype="int16")
    expected, _ = soundfile.read(io.BytesIO(whole), dtype="int16")
    assert rate == 16_000
    np.testing.assert_array_equal(part, expected[1600:4800])
    save_completions(tmp_path, 2, [_group(AudioRef(path="x", data=_encoded("AIFF")))])
    assert [n.rpartition(".")[2] for n in _clips(tmp_path)] == ["wav", "wav"]


def test_bounds_and_numbers_that_are_not_finite(tmp_path: Path) -> None:
    sample = KeptSample("x", "length", {"accuracy": math.nan}, math.inf, -math.inf)
    groups = [KeptGroup(question(at), "p", [sample]) for at in range(5)]
    path = save_completions(tmp_path, 1, groups, most_questions=2)
    assert len(_clips(tmp_path)) == 2
    assert "NaN" not in path.read_text()
    (first, _) = read_completions(tmp_path)
    assert first["samples"][0]["rewards"] == {"accuracy": None}
    assert first["samples"][0]["reward"] is None


def test_a_clip_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.wav"):
        save_completions(tmp_path, 1, [_group(AudioRef(path=str(tmp_path / "gone.wav")))])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    save_completions(tmp_path, 1, [_group(AudioRef(path="x", data=tone(300)))])
    with (tmp_path / "completions" / "step-000001.jsonl").open("a") as stream:
        stream.write("nonsense\n")
    with pytest.raises(InputError, match=r"step-000001\.jsonl, line 2"):
        read_completions(tmp_path)
