"""The clips inside the page: each once, small, in all no larger than a bound; else the reason why there is none."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sari_bench.reporting.leaderboard import Board
from sari_bench.running.reopening import clips_of
from sari_data.errors import SariError
from sari_data.html_clips import Clips
from sari_data.types import AudioRef


class Sounds:
    """Finds and encodes the clips of questions; ``elements`` are the clips as the page holds them.

    Args:
        audio_mib: Bound on the clips of the whole page, in MiB before base64; 0 for none.
    """

    def __init__(self, audio_mib: float) -> None:
        self.elements: list[str] = []
        self._clips = Clips("small" if audio_mib > 0 else "none", audio_mib, "--audio-budget")

    def place(self, board: Board, ids: Iterable[str]) -> tuple[dict[str, dict[str, Any]], str]:
        """Return what the page says of the clip of each question, by id, and a sentence about all of them.

        Of a question about several recordings it is what the first one's says, and ``more`` has the others'.
        """
        wanted = list(ids)
        if not wanted:
            return {}, ""
        if self._clips.audio == "none":
            return {key: {"none": "The page was written without audio."} for key in wanted}, "Without audio."
        refs, why = _audio(board, wanted)
        if refs is None:
            return {key: {"none": "The clip is not at hand."} for key in wanted}, f"No clip can be heard: {why}."
        found = {}
        for identifier in wanted:
            said, *others = (self._place(ref) for ref in refs[identifier])
            found[identifier] = {**said, "more": others} if others else said
        heard = sum(all("clip" in one for one in _each(said)) for said in found.values())
        return found, self._sentence(found, heard)

    def _place(self, ref: AudioRef) -> dict[str, Any]:
        said, element = self._clips.place(ref)
        self.elements.append(element)
        return said

    def _sentence(self, found: dict[str, dict[str, Any]], heard: int) -> str:
        if heard == len(found):
            return f"All {heard:,} can be heard."
        reasons = {one["none"] for said in found.values() for one in _each(said) if "none" in one}
        why = f": {next(iter(reasons))}" if len(reasons) == 1 else ", the others say why not."
        return f"{heard:,} of {len(found):,} can be heard{why}"


def _each(said: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said of each recording of a question."""
    return [said, *said.get("more", ())]


def _audio(board: Board, wanted: Collection[str]) -> tuple[dict[str, tuple[AudioRef, ...]] | None, str]:
    """The clips by question id, from the first run that still says where they are."""
    why = ""
    for entry in board.entries:
        try:
            return clips_of(entry.run, set(wanted)), ""
        except SariError as error:
            why = why or str(error)
    return None, why
