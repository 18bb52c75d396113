"""A small world for the paper's recipe: real metadata, made audio, and a chat server that plays every model.

The folders are laid out as ``recipes/paper-32k.toml`` wants them. What the real samples are too small for is added in
the published format: AudioSet rows of videos that MMAR asks about, and AVQA questions.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

import annotator
import numpy as np

from sari_data.audio import encode_wav
from sari_data.segments import parse_address, parse_times

LIMIT = 10  # clips a source
PLANTED = 3  # AudioSet rows whose part of a video is MMAR's
SFT, DEV = 6, 4
SAMPLES = 2
STAGES = ("caption", "question", "reasoning", "judge")
MADE_AVQA = 8

_RATE, _SECONDS = 8000, 1.0
_OPTION = re.compile(r"^\([A-Z]\) (.*)$", re.MULTILINE)
# What no try of the annotation gets right: some clips are never described, some get no question, some no chain.
_HOPELESS = {"question": "We can go into detail", "structured": "in the middle"}


def make_world(folder: Path, shared: Path) -> Path:
    """Write ``data/`` below a folder: the real tables of all four sources with made audio; returns the folder."""
    data = folder / "data"
    _audioset(shared, data / "audioset")
    _musicbench(shared, data / "musicbench")
    _meld(shared, data / "meld")
    _avqa(shared, data / "avqa")
    return folder


def overrides(url: str, shared: Path, out: str = "corpus", **options: Any) -> list[str]:
    """The ``--set`` of a small build against a server; ``options`` are further ones of the responder."""
    said = {"base_url": url, "label": "made", "concurrency": 8, "backoff": 0.005, "longest_backoff": 0.02, **options}
    inline = "{" + ", ".join(f"{name} = {json.dumps(value)}" for name, value in said.items()) + "}"
    against = [shared / "mmau" / "mmau-test-mini.v05.15.25.json", shared / "mmar" / "MMAR-meta.jsonl"]
    sets = [f"build.out={out}", f"build.sft={SFT}", f"build.dev={DEV}", "dedup.processes=1"]
    sets += [f"build.{name}.limit={LIMIT}" for name in ("audioset", "musicbench", "meld", "avqa")]
    sets += [f"dedup.against={json.dumps([str(path) for path in against])}"]
    sets += [f"annotate.{stage}.responder=server" for stage in STAGES]
    for table in (*(f"annotate.{stage}" for stage in STAGES), "calibrate"):
        sets += [f"{table}.model=toy", f"{table}.options={inline}"]
    return [*sets, f"calibrate.samples={SAMPLES}"]


def arguments(sets: list[str], *more: str) -> list[str]:
    """The command line of a build, without the command's own name."""
    return ["build", "paper-32k", *(word for set_ in sets for word in ("--set", set_)), *more]


def serve(ask: Any) -> str:
    """Answer any request of a build: ``chat_server.py --reply paper_corpus:serve``.

    A third of what the annotation is first told does not validate, and some never does. The questions are answered
    rightly or wrongly by a hash of all that was sent, so pass rates differ.
    """
    heard = hashlib.sha256(ask.audio or b"").hexdigest()
    options = _OPTION.findall(ask.prompt)
    if not ask.prompt.startswith("Task: ") and "Task: " not in ask.prompt.partition("\n")[0]:
        draw = hashlib.sha256(f"{ask.prompt}|{heard}|{ask.seed}".encode()).digest()[0]
        return f"<answer>{options[draw % len(options)]}</answer>"
    task, kind = annotator.task(ask.prompt), sum(ask.prompt.encode())
    hopeless = int(heard, 16) % 7 == 0 if task == "caption" else _HOPELESS.get(task, "\0") in ask.prompt
    if hopeless or (kind % 3 == 0 and not annotator.is_again(ask.prompt)):
        return annotator.spoil(ask.prompt, 0 if hopeless else kind // 3, heard)
    return annotator.reply(ask.prompt, heard)


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def write_clip(path: Path, seed: int) -> None:
    """Write noise with some gliding tones: no two clips sound alike."""
    draw = np.random.default_rng(seed)
    count = int(_RATE * _SECONDS)
    sound = draw.normal(0, 0.01, count)
    for _ in range(5):
        length = int(draw.uniform(0.15, 0.5) * _RATE)
        start, t = int(draw.integers(0, count - length)), np.arange(length) / _RATE
        glide = np.sin(2 * np.pi * (draw.uniform(150, 2500) * t + draw.uniform(-300, 300) * t**2))
        sound[start : start + length] += draw.uniform(0.1, 0.3) * np.hanning(length) * glide
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_wav(sound, _RATE))


def _audioset(shared: Path, folder: Path) -> None:
    lines = (shared / "audioset" / "balanced_train_segments.sample.csv").read_text("utf-8").splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    for row in (shared / "mmar" / "MMAR-meta.jsonl").read_text("utf-8").splitlines():
        found = json.loads(row)
        video, (start, end) = parse_address(found["url"] or ""), parse_times(found["timestamp"] or "")
        if video and len(video) == 11 and start is not None and end is not None and end - start >= 8:
            rows.append(f'{video}, {start:.3f}, {start + 10:.3f}, "/m/0bt9lr"')
        if len(rows) == len(lines) - 3 + PLANTED:
            break
    write_clip(folder / "audio" / "b0RFKhbpFJA_30000.wav", 90)
    for number, row in enumerate(rows[1:]):  # the first one's video has vanished
        video, start, _ = row.split(", ", 2)
        write_clip(folder / "audio" / f"{video}_{float(start):.0f}.wav", 100 + number)
    (folder / "balanced_train_segments.csv").write_text("\n".join([*lines[:3], *rows]) + "\n", encoding="utf-8")
    shutil.copyfile(shared / "audioset" / "audioset_train_strong.sample.tsv", folder / "audioset_train_strong.tsv")
    shutil.copyfile(shared / "audioset" / "ontology.json", folder / "ontology.json")


def _musicbench(shared: Path, folder: Path) -> None:
    lines = (shared / "musicbench" / "MusicBench_sample.json").read_text("utf-8").splitlines()[:16]
    for number, line in enumerate(lines[:14]):
        write_clip(folder / json.loads(line)["location"], 200 + number)
    (folder / "MusicBench_train.json").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _meld(shared: Path, folder: Path) -> None:
    with (shared / "meld" / "train_sent_emo.csv").open(encoding="utf-8", newline="") as table:
        rows = list(islice(csv.reader(table), 17))
    for number, row in enumerate(rows[1:14]):
        write_clip(folder / "train_splits" / f"dia{row[5]}_utt{row[6]}.wav", 300 + number)
    with (folder / "train_sent_emo.csv").open("w", encoding="utf-8", newline="") as table:
        csv.writer(table).writerows(rows)


def _avqa(shared: Path, folder: Path) -> None:
    rows = json.loads((shared / "avqa" / "train_qa.sample.json").read_text("utf-8"))
    things = ("bus", "violin", "goat", "drum", "train", "rooster", "chainsaw", "flute", "piano", "frog", "bell")
    for number in range(MADE_AVQA):
        row = dict(
            rows[2], id=1000 + number, video_id=2000 + number, video_name=f"-MadeUp{number:04d}_0000{10 + number}"
        )
        row |= {"multi_choice": [*things[number : number + 4]], "answer": number % 4}
        rows.append(row | {"question_text": f"Which of these things is heard most often in video number {number}?"})
    for number, row in enumerate(rows):
        write_clip(folder / "audio" / f"{row['video_name']}.wav", 400 + number)
    (folder / "train_qa.json").write_text(json.dumps(rows), encoding="utf-8")
