"""Fixtures of the tests of sari_data: a Hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from push_examples import serving
from push_server import HubServer


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubServer]:
    """A server that speaks the Hub's protocol, with nothing in it."""
    with serving(tmp_path) as server:
        yield server


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the client of this process reach the server; returns the waits, which take no time."""
    waits: list[float] = []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", waits.append)
    return waits
