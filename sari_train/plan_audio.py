"""What an audio tower holds in memory, by family: what autograd saves of it, and what it needs for a moment.

All towers here are layers of Whisper's kind (norm, attention, norm, two products around a GELU) behind strided
convolutions. They differ in how spans are cut into windows, which of these run together, and in what comes before and
behind the layers. ``w`` is the weights' element size, ``c`` that of what products give (2 under autocast).

Shapes: M mel bands, F frames, S positions, D tower width, I inner size. Results are in bytes, sizes in elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sari_train.models.base import ENCODED_FRAMES
from sari_train.models.whisper import MARGIN

FLOAT = 4  # bytes of float32


@dataclass(frozen=True, slots=True)
class Run:
    """Windows that the tower runs over at once.

    Args:
        inputs: Elements of their features.
        convolved: Elements that the convolutions save, the features included.
        places: Positions that the layers run over, padding included.
        ending: Elements that are saved behind the layers.
        mask: Elements of the mask that every layer makes, where windows differ in length.
        widest: Elements of the features and of the two largest results of convolutions, alive at once.
    """

    inputs: int
    convolved: int
    places: int
    ending: int
    mask: int
    widest: int


@dataclass(frozen=True)
class Tower(ABC):
    """An audio tower with its projector.

    Attributes:
        width, inner, layers, heads, bands: D, I, layers, heads and M.
        window: Frames of a window.
        states: Width of the states that are kept of a frozen tower.
        projector: Widths of what the projector's products save of a token: their inputs, and a GELU's.
        outputs: How often a layer saves its attention's output: 2 where it is there head beside head as well.
        narrow: Under autocast the layers hand on what products give, and norms leave it so.
    """

    width: int
    inner: int
    layers: int
    heads: int
    bands: int
    window: int
    states: int
    projector: tuple[int, ...]
    outputs: int = 2
    narrow: bool = False

    @abstractmethod
    def kept_frames(self, frames: int) -> int:
        """Frames of a span's features that are kept, for so many true ones."""

    @abstractmethod
    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """Yield what runs at once of spans that go through the tower together, the longest first."""

    def projected(self, c: int) -> int:
        """Bytes of an audio token that the projector saves."""
        return c * sum(self.projector)

    def saved(self, spans: Sequence[int], w: int, c: int, *, mixed: bool) -> int:
        """What the tower saves of spans of so many true frames."""
        d, w = self.width, c if self.narrow else w
        # Of a norm: its input, mean and deviation; of a product its input, under autocast once for each product.
        norms = 2 * d * w + 4 * FLOAT + (2 * d * w if c == w else 4 * d * c)
        attention = (3 + self.outputs) * d * c + FLOAT * self.heads  # q, k, v, and the output
        layer = norms + attention + 2 * self.inner * c
        return sum(
            run.convolved * c + self.layers * (run.places * layer + run.mask * c) + run.ending * w
            for run in self._all_runs(spans, mixed=mixed)
        )

    def forward(self, spans: Sequence[int], w: int) -> int:
        """Most that the tower needs without gradients."""
        # A layer's input, its half's, normed; both inner states of the MLP.
        layer = 3 * self.width + 2 * self.inner
        return w * max(self.beside(run) + max(run.widest, run.places * layer) for run in self._all_runs(spans))

    def beside(self, run: Run) -> int:
        """Elements that are there all the while the tower runs, beyond the layers' own."""
        return 0

    def backward(self, spans: Sequence[int], w: int) -> int:
        """Beyond what was saved: the gradient of a layer's output and inner states."""
        return w * max(run.places * (self.width + self.inner) for run in self._all_runs(spans))

    def _all_runs(self, spans: Sequence[int], *, mixed: bool = False) -> Iterator[Run]:
        """What runs at once: spans of like length together, the longest first (``AudioLM._encode``)."""
        order = sorted(spans, reverse=True)
        while order:
            count = max(1, ENCODED_FRAMES // order[0])
            group, order = order[:count], order[count:]
            yield from self.runs(group, uneven=mixed)


@dataclass(frozen=True)
class WhisperTower(Tower):
    """Whisper's encoder over one window a span, with average pooling (Qwen2-Audio)."""

    def kept_frames(self, frames: int) -> int:
        """With the silence behind a window that is kept."""
        return min(frames + MARGIN, self.window)

    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """All at once, padded to the longest."""
        yield self.run(group, uneven=uneven)

    def run(self, windows: Sequence[int], *, uneven: bool) -> Run:
        """Windows of so many true frames side by side; the mask is there for all pairs of positions."""
        count, frames, d = len(windows), max(windows), self.width
        padded, places = self.kept_frames(frames), positions(frames)
        features = count * self.bands * padded
        masked = uneven or len({positions(window) for window in windows}) > 1
        # Features; the first convolution and its GELU; the second.
        return Run(
            inputs=features,
            convolved=features + count * (2 * d * padded + d * (padded // 2)),
            places=count * places,
            ending=count * self.ending(places),
            mask=count * places**2 if masked else 0,
            widest=features + 2 * count * d * padded,
        )

    def ending(self, places: int) -> int:
        """Elements that are saved behind the layers: the pooling's input and output."""
        return places * self.width + places * self.width // 2


@dataclass(frozen=True)
class WindowsTower(WhisperTower):
    """The same over every window of a span of several, a bounded number of them at once (Audio Flamingo 3)."""

    def kept_frames(self, frames: int) -> int:
        """All windows; only the last may be short."""
        full, rest = divmod(frames, self.window)
        return full * self.window + (min(rest + MARGIN, self.window) if rest else 0)

    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """A bounded number of windows after another, in the order of the spans."""
        windows = [min(self.window, frames - at) for frames in group for at in range(0, frames, self.window)]
        most = max(1, ENCODED_FRAMES // self.window)
        for first in range(0, len(windows), most):
            yield self.run(windows[first : first + most], uneven=uneven)


@dataclass(frozen=True)
class JoinedTower(WindowsTower):
    """Whisper's encoder over whole windows, neighbouring states joined (Voxtral); nothing is ever masked."""

    def kept_frames(self, frames: int) -> int:
        """All, padded to whole windows."""
        return frames

    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """Whole windows only."""
        yield from super().runs(group, uneven=False)

    def ending(self, places: int) -> int:
        """The last norm's input."""
        return places * self.width

    def beside(self, run: Run) -> int:
        """The features of the spans padded, side by side, and cut into windows.

        What the convolutions made is there too: as much as the states, which are not yet, though they are counted.
        """
        return 3 * run.inputs


@dataclass(frozen=True)
class ThinkerTower(Tower):
    """Whisper's encoder over windows of 2 s that see nothing of each other (Qwen2.5-Omni)."""

    def kept_frames(self, frames: int) -> int:
        """The true ones."""
        return frames

    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """All windows at once; the last of a span is padded to the size of the others."""
        size, d = min(self.window, group[0]), self.width
        count = sum(-(-frames // self.window) for frames in group)
        places = positions(size)
        tokens = sum((frames + 1) // 4 for frames in group)
        yield Run(
            inputs=count * self.bands * size,
            convolved=count * (self.bands * size + 2 * d * size + d * places),
            places=count * places,
            ending=tokens * d,
            mask=0,
            widest=count * (self.bands * size + 2 * d * size),
        )


@dataclass(frozen=True)
class ChunksTower(Tower):
    """Three convolutions over chunks of the spectrogram, and layers over windows of several chunks (Qwen3-Omni).

    Attributes:
        channels: Of the convolutions.
        joined: Chunks in a window of the layers.
        together: Chunks that the convolutions run over at once.
    """

    channels: int = 0
    joined: int = 1
    together: int = 1

    def kept_frames(self, frames: int) -> int:
        """The true ones."""
        return frames

    def runs(self, group: Sequence[int], *, uneven: bool) -> Iterator[Run]:
        """Spans of a chunk and more at once; shorter ones with those of their own length."""
        for length in sorted({min(frames, self.window) for frames in group}, reverse=True):
            yield self._run([frames for frames in group if min(frames, self.window) == length], length)

    def _run(self, spans: Sequence[int], size: int) -> Run:
        chunks = [-(-frames // self.window) for frames in spans]
        count, inputs = sum(chunks), self.bands * size
        sides = [(self.bands, size)]
        for _ in range(3):
            sides.append(((sides[-1][0] - 1) // 2 + 1, (sides[-1][1] - 1) // 2 + 1))
        made = [self.channels * high * wide for high, wide in sides[1:]]
        each = sides[-1][1]  # positions of a chunk
        span = min(self.joined, max(chunks)) * each
        places = sum(-(-self._tokens(frames, each) // span) * span for frames in spans)
        return Run(
            inputs=count * inputs,
            convolved=count * (inputs + 2 * sum(made)),
            places=places,
            # All windows of the longest for every span.
            ending=len(spans) * -(-max(self._tokens(frames, each) for frames in spans) // span) * span * self.width,
            mask=0,
            widest=count * inputs + min(count, self.together) * 2 * made[0],
        )

    def _tokens(self, frames: int, each: int) -> int:
        """Positions of a span, those of its last chunk included."""
        rest = frames % self.window
        for _ in range(3):
            rest = (rest - 1) // 2 + 1
        return frames // self.window * each + rest


def positions(frames: int) -> int:
    """Return the encoder's positions for so many frames: the second convolution takes every other."""
    return (frames - 1) // 2 + 1
