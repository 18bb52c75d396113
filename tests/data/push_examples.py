"""What the tests of pushing share: the server, corpora to push, and a process to push them from."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from corpus_examples import question
from push_server import TOKEN, HubServer

from sari_data.card import render_card
from sari_data.counting import Tally
from sari_data.store import write_corpus
from sari_data.types import AudioQuestion, AudioRef, Provenance


@contextmanager
def serving(folder: Path, **options: Any) -> Iterator[HubServer]:
    """Start the server; it is gone afterwards."""
    server = HubServer(folder / "hub", **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def api(server: HubServer) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=server.endpoint, token=TOKEN)


def noise(number: int, size: int, dataset: str = "scenes") -> AudioQuestion:
    """A question whose audio is so many bytes that do not compress."""
    data = np.random.default_rng(number).bytes(size)
    source = Provenance(dataset, f"s{number}", "CC0-1.0", {"caption": "template"})
    return question(number, audio=AudioRef(path=f"{number}.wav", data=data), provenance=source)


def write(folder: Path, questions: Sequence[AudioQuestion], *, shard_bytes: int = 2**28, **about: Any) -> Path:
    """Write a corpus with the manifest entries and the card of a real one."""
    tally = Tally(("sft", "rl", "dev"))
    for found in questions:
        tally.add("rl", found)
    known = {"name": folder.name, "source": "scenes", "seed": 0, "sari_version": "1", "calibrated": False}
    manifest = known | tally.to_manifest() | about
    write_corpus(folder, {"rl": questions}, manifest, card=render_card, shard_bytes=shard_bytes, overwrite=True)
    return folder


def uploaded(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def arguments(*words: str | Path) -> list[str]:
    return [sys.executable, "-c", "from sari_data.cli import main; main()", *map(str, words)]


def environment(folder: Path, endpoint: str, token: str | None = TOKEN) -> dict[str, str]:
    """The environment of a process of its own, since the Hub's client reads its settings once."""
    found = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    found |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(folder / ".hf"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return found | {"HF_HUB_DISABLE_PROGRESS_BARS": "1"} | ({"HF_TOKEN": token} if token else {})


def command(folder: Path, endpoint: str, *words: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run ``sari-data`` in a process of its own."""
    return subprocess.run(
        arguments(*words),
        cwd=folder,
        env=environment(folder, endpoint, token),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
