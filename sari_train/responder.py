"""The ``local`` responder: a checkpoint run in this process by the rollout engine that GRPO uses."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from sari_data.console import note
from sari_data.errors import AudioError, InputError, MissingFileError
from sari_data.responder import Request, Response, Sampling
from sari_train.batch import Example, encode_example
from sari_train.models.base import AudioLM
from sari_train.models.load import load_model
from sari_train.models.long_audio import Mode
from sari_train.parallel import run_all, workers
from sari_train.rollout import Rollout, RolloutPrompt

# Requests are read in windows of this many batches and sorted by length inside a window.
WINDOW_BATCHES = 8
WINDOW_BYTES = 512 * 2**20  # of audio features in a window; one batch is read all the same
# Weight files beyond this size are identified by their length and some bytes of every MiB, so that every
# matrix of a large model has its say.
_HASH_WHOLE = 64 * 2**20
_HASH_EVERY, _HASH_BYTES = 2**20, 4096


class LocalResponder:
    """Answers requests with a model in this process; one without audio is asked as text alone.

    A request's prefix is tokenised by itself, and the model goes on after those tokens: where the text ends within what
    the model would have written as one token, such as half a word, it goes on from other tokens than its own.

    Args:
        model: ``tiny``, a model folder, a hub id, or a model that is loaded already.
        batch_size: Rows (samples) decoded together.
        device: A torch device, or ``auto`` for a GPU where there is one.
        dtype: Type that the weights are converted to.
        cache_mib: Bound on the keys and values kept at once, in MiB; fewer rows are then decoded together.
        long_audio: What is done with audio that is longer than the model hears, as in training: ``error``, ``split`` or
            ``truncate``; absent: as the model is set.
        on_error: What becomes of a request whose audio does not decode or is not there: ``stop``: it is an error;
            ``skip``: it is left out of the responses and named in ``failed``.

    Raises:
        CheckpointError: The model cannot be loaded.
        InputError: A batch size below 1, or another word for ``long_audio``.
    """

    def __init__(
        self,
        model: str | AudioLM = "tiny",
        batch_size: int = 128,
        device: str = "auto",
        dtype: str = "float32",
        cache_mib: int = 4096,
        long_audio: Mode | None = None,
        on_error: Literal["skip", "stop"] = "stop",
    ) -> None:
        for name, value in (("batch_size", batch_size), ("cache_mib", cache_mib)):
            if value < 1:
                raise InputError(f"{name} must be 1 or more; found {value}")
        if on_error not in ("skip", "stop"):
            raise InputError(f"on_error must be one of skip, stop; found {on_error!r}")
        if long_audio is not None and long_audio not in get_args(Mode):
            raise InputError(f"long_audio must be one of {', '.join(get_args(Mode))}; found {long_audio!r}")
        self.lm = load_model(model, dtype=dtype, device=device) if isinstance(model, str) else model
        if long_audio is not None:
            self.lm.long_audio = long_audio
        self._cuts = len(self.lm.truncated)  # clips whose cut was told, or is somebody else's to tell
        self.batch_size = batch_size
        self.cache_mib = cache_mib
        self.on_error = on_error
        self.failed: dict[str, str] = {}

    @cached_property
    def name(self) -> str:
        """Model and revision; made when it is asked for, since where there is no folder all weights are read for it.

        A type other than float32 is part of it, and what is done with long audio where that is not refused: the same
        weights answer otherwise in bfloat16, or when they hear less.
        """
        dtype = str(self.lm.dtype).removeprefix("torch.")
        ways = [way for way in (dtype, self.lm.long_audio) if way not in ("float32", "error")]
        return "-".join((f"{self.lm.name}@{weights_hash(self.lm)}", *ways))

    @property
    def hears_several(self) -> bool:
        """Whether the model takes several recordings in a prompt."""
        return self.lm.hears_several

    def respond(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Response]:
        """Yield every sample of every request, batch by batch; inside a window the order is by length."""
        engine = Rollout(self.lm, sampling)
        self.failed.clear()
        source = iter(requests)
        prefixes: dict[str, str] = {}
        while prompts := self._window(source, prefixes):
            room = Room.of(self.lm, self.cache_mib // workers(self.lm), sampling.max_new_tokens)
            batches = pack(prompts, self.batch_size, room)
            while some := list(islice(batches, workers(self.lm))):
                decoder = self.lm.decoder()  # one for the batches that run side by side
                for batch in run_all(self.lm, [partial(engine.generate, batch, decoder=decoder) for batch in some]):
                    for done in batch:
                        text = prefixes.get(done.prompt_id, "") + done.text
                        yield Response(done.prompt_id, done.sample, text, done.finish_reason, len(done.ids))
        if len(self.lm.truncated) > self._cuts and (told := self.lm.truncation_note):
            self._cuts = len(self.lm.truncated)
            note(told)

    def _window(self, source: Iterator[Request], prefixes: dict[str, str]) -> list[RolloutPrompt]:
        """Encode the next requests: as many batches as there may be in a window, fewer where their audio is long."""
        prompts: list[RolloutPrompt] = []
        prefixes.clear()
        clips: dict[str, int] = {}
        for request in source:
            try:
                row = encode_example(self.lm, _example(request))
            except (AudioError, MissingFileError) as error:
                if self.on_error == "stop":
                    raise
                self.failed[request.id] = f"its audio cannot be read: {error}"
                continue
            prompts.append(RolloutPrompt(request.id, row, request.wanted))
            if request.prefix:
                prefixes[request.id] = request.prefix
            clips[row.clip.key] = row.clip.bytes
            full = len(prompts) >= self.batch_size and sum(clips.values()) > WINDOW_BYTES
            if full or len(prompts) >= self.batch_size * WINDOW_BATCHES:
                break
        return prompts


def _example(request: Request) -> Example:
    return Example(request.audio, request.prompt, prefix=request.prefix, more_audio=request.more_audio)


def pack(prompts: Iterable[RolloutPrompt], rows: int, room: Room | None = None) -> Iterator[list[RolloutPrompt]]:
    """Yield batches of at most ``rows`` samples, prompts of similar length together, longest first.

    Longest first, so that memory that does not suffice shows at once.

    Args:
        prompts: What is to be sampled; a prompt's samples may be spread over batches.
        rows: Most samples in a batch.
        room: Bound on the keys and values that a batch keeps; one sample is always let in.
    """
    batch: list[RolloutPrompt] = []
    free = rows
    for prompt in sorted(prompts, key=lambda p: -len(p.encoded)):
        start, stop = prompt.samples.start, prompt.samples.stop
        while start < stop:
            most = free
            if room is not None:
                longest = len((batch or [prompt])[0].encoded)
                left = room.tokens - (len(batch) + 1) * longest - (rows - free) * room.new_tokens
                most = min(free, max(left // room.new_tokens, 0 if batch else 1))
            end = min(stop, start + most)
            if end > start:
                batch.append(RolloutPrompt(prompt.id, prompt.encoded, range(start, end)))
                free -= end - start
                start = end
            if free == 0 or most == 0:
                yield batch
                batch, free = [], rows
    if batch:
        yield batch


@dataclass(frozen=True, slots=True)
class Room:
    """How many tokens' keys and values fit, and how many a sample may come to need beside its prompt's."""

    tokens: int
    new_tokens: int

    @classmethod
    def of(cls, lm: AudioLM, mib: int, new_tokens: int) -> Room:
        """What fits into ``mib`` MiB."""
        return cls(mib * 2**20 // lm.cache_bytes, min(new_tokens, lm.context_length))


def weights_hash(lm: AudioLM) -> str:
    """Return 8 hex digits that identify the weights: of the files, or of the tensors of a model in memory."""
    digest = hashlib.sha256()
    files = sorted(_folder(lm.path).glob("*.safetensors")) if lm.path is not None else []
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}:{size}".encode())
        with file.open("rb") as stream:
            if size <= _HASH_WHOLE:
                digest.update(stream.read())
                continue
            for start in range(0, size, _HASH_EVERY):
                stream.seek(start)
                digest.update(stream.read(_HASH_BYTES))
    if not files:
        for name, tensor in sorted(lm.model.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()[:8]


def _folder(path: str) -> Path:
    """Return a model's folder; of a hub id the one that its files were downloaded to."""
    if Path(path).is_dir() or path.count("/") != 1:
        return Path(path)
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(path, "config.json")
    return Path(config).parent if isinstance(config, str) else Path(path)
