"""Rollouts on a vLLM server: token ids and audio go out, token ids and log-probabilities come back.

The server is asked at ``/inference/v1/generate``, where the prompt is token ids, so no text is tokenised twice: what
it samples comes back as ids, and is decoded here. The clip goes along as the very samples that the trainer's own
features are made of. With every answer the server says which ids its prompt had once it had put in its audio
placeholders; they must be the trainer's, which catches audio that was cut or put elsewhere.

What is left out: streaming (a step needs whole groups), and requests that outlive an update of the weights.
"""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from sari_data.errors import InputError, ResponderError
from sari_data.responder import Sampling
from sari_data.types import AudioQuestion, AudioRef
from sari_train.batch import Encoded
from sari_train.config import RolloutEngine as Settings
from sari_train.distributed import ALONE, World
from sari_train.models.base import AudioLM
from sari_train.models.long_audio import load_pieces
from sari_train.rollout import Completion, Rollout, RolloutPrompt
from sari_train.rollouts.client import Client, HttpError
from sari_train.rollouts.handshake import HOW, check_server, served_model
from sari_train.rollouts.transfer import DiskTransport, EndpointTransport, NcclBroadcast, Transport

# Prompts that are with the server at once; it queues what it cannot run.
CONCURRENCY = 64
# What is added to the logit of a token that a response must never hold: exp(-100) is 0 in float32.
BANNED_BIAS = -100.0


class VllmEngine:
    """Samples on a vLLM server, which gets the weights before every step.

    Args:
        lm: The model that learns; its tokenizer, stop tokens and banned tokens hold.
        sampling: Temperature, length and stop strings.
        settings: The address and the time limit.
        folder: Where weights lie for a moment, where they go over the disk.
        transport: How weights get to the server; default: over NCCL where the server was started for it, else over
            the disk.
        world: The processes that share the run: all of them sample, the main one sends the weights.

    Raises:
        InputError: An address that is none, or a setting that the server does not have.
        ResponderError: No server there, or one that cannot do what is needed.
    """

    exact = False

    def __init__(
        self,
        lm: AudioLM,
        sampling: Sampling,
        settings: Settings,
        *,
        folder: Path,
        transport: Transport | None = None,
        world: World = ALONE,
    ) -> None:
        if sampling.temperature > 2:
            raise InputError(f"a vLLM server samples at temperatures up to 2; found {sampling.temperature}: lower it")
        self.lm, self.sampling, self.world = lm, sampling, world
        self.client = Client(settings.url, timeout=settings.timeout)
        self.rollout = Rollout(lm, sampling)  # budgets, and what a row of tokens says
        self.model, self.context = served_model(self.client)
        backend = check_server(self.client, lm)
        if transport is None and backend is None:
            transport = DiskTransport(self.client, folder, sends=world.is_main)
        elif transport is None:
            transport = EndpointTransport(self.client, NcclBroadcast(lm.device) if world.is_main else None)
        self.transport = transport
        self.version: str | None = None

    def update_weights(self, lm: AudioLM, step: int) -> None:
        """Give the server the weights that ``lm`` has after ``step`` steps; what it cached of the old ones goes.

        The server takes no requests meanwhile. Where this fails it stays so, because half its weights may be new.

        Raises:
            ResponderError: The server did not take them.
        """
        self.version = f"step-{step}"
        if self.world.is_main:
            self._send(lm, step, self.version)
        elif self.world.sharded:
            self.transport.send(lm, self.version)  # takes part in gathering them
        self.world.barrier()  # nobody asks a server that is paused

    def _send(self, lm: AudioLM, step: int, version: str) -> None:
        try:
            self.client.post("/pause?mode=wait&clear_cache=true")
            self.transport.send(lm, version)
            # The pause has cleared them; asked for all the same: answers from a stale prefix look like any other.
            answer = self.client.post("/reset_prefix_cache")
            self.client.post("/reset_encoder_cache")
            if not isinstance(answer, dict) or answer.get("success") is not True:
                raise ResponderError(
                    f"the server at {self.client.url} did not clear its prefix cache after it got new weights "
                    f"({answer!r}): let nobody else use it, or restart it"
                )
            self.client.post("/resume")
        except HttpError as error:
            raise ResponderError(
                f"the server at {self.client.url} did not take the weights of step {step}: {error.detail} (status "
                f"{error.status}): {HOW}; it stays paused"
            ) from error

    def sample(
        self, prompts: Sequence[RolloutPrompt], questions: Sequence[AudioQuestion], *, seed: int
    ) -> list[Completion]:
        """See :class:`~sari_train.rollouts.engine.RolloutEngine`; one request a prompt, many at once.

        Raises:
            InputError: A question is about several recordings.
            ResponderError: The server failed, or answered with less than was asked; what it had answered is not asked
                again, and what was under way is called off.
        """
        assert self.version is not None, "the server needs the weights first: call update_weights"
        assert len(prompts) == len(questions), "a question for every prompt"
        for question in questions:
            if question.more_audio:
                raise InputError(
                    f"question {question.id!r}: expected one recording, found {len(question.recordings)}: rollouts are "
                    "of questions about one, as a corpus holds them, so leave it out"
                )
        pool = ThreadPoolExecutor(min(CONCURRENCY, max(1, len(prompts))), thread_name_prefix="sari-rollout")
        pending: list[Future[list[Completion]]] = []
        try:
            pending = [pool.submit(self._ask, p, q.audio, seed) for p, q in zip(prompts, questions, strict=True)]
            wait(pending, return_when=FIRST_EXCEPTION)
            for future in pending:
                if future.done():
                    future.result()  # raises what went wrong first, not what is first in the step
            found = [done for future in pending for done in future.result()]
        except BaseException:  # Ctrl-C too: nothing goes on in the background
            for future in pending:
                future.cancel()
            self.client.stop()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        return found

    def close(self) -> None:
        """Remove what the transport left."""
        self.transport.close()

    def _ask(self, prompt: RolloutPrompt, audio: AudioRef, seed: int) -> list[Completion]:
        body = self.request(prompt, audio, seed)
        try:
            answer = self.client.post("/inference/v1/generate", body)
        except HttpError as error:
            if error.status in (403, 404):
                raise ResponderError(
                    f"the server at {self.client.url} does not offer /inference/v1/generate ({error.detail}): {HOW} "
                    "(--enable-scale-out)"
                ) from error
            raise
        try:
            return self._read(prompt, answer)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise ResponderError(
                f"the server at {self.client.url} answered prompt {prompt.id!r} in a form that is not vLLM's "
                f"({type(error).__name__}: {error}): it must be vLLM 0.33 or newer"
            ) from error

    def request(self, prompt: RolloutPrompt, audio: AudioRef, seed: int) -> dict[str, Any]:
        """Return the body that asks for a prompt's samples.

        Raises:
            InputError: The prompt has a prefix.
            ResponderError: It does not fit into the server's context.
        """
        if prompt.encoded.prefix:
            raise InputError(
                f"prompt {prompt.id!r} says what its answer begins with, and rollouts of a vLLM server do not go on "
                "from a prefix: take the local engine or the responder 'server'"
            )
        budget = self.rollout.budget(prompt, prompt.samples.start)
        if len(prompt.encoded) + budget > self.context:
            raise ResponderError(
                f"prompt {prompt.id!r} takes {len(prompt.encoded)} tokens and its response up to {budget}, but the "
                f"server at {self.client.url} has a context of {self.context}: start it with a larger --max-model-len"
            )
        s = self.sampling
        return {
            "model": self.model,
            "token_ids": collapse(prompt.encoded, self.lm.audio_token_id),
            "content_parts": [
                {"type": "audio_url", "url": data_uri(samples, self.lm.sampling_rate)}
                for samples in waveforms(self.lm, prompt.encoded, audio)
            ],
            "sampling_params": {
                "n": len(prompt.samples),
                "temperature": s.temperature,
                "top_p": s.top_p,
                "top_k": s.top_k,
                "min_p": s.min_p,
                "repetition_penalty": 1.0,
                "seed": request_seed(seed, prompt),
                "max_tokens": budget,
                "stop": list(s.stop),
                "stop_token_ids": list(self.lm.stop_ids),
                "include_stop_str_in_output": True,
                "skip_special_tokens": False,
                "logit_bias": {str(token): BANNED_BIAS for token in self.lm.banned_ids},
                "logprobs": 0,
                "detokenize": bool(s.stop),
            },
            "return_token_ids": True,
            "stream": False,
        }

    def _read(self, prompt: RolloutPrompt, answer: Any) -> list[Completion]:
        """The completions in an answer, each looked at closely."""
        where = f"the server at {self.client.url} answered prompt {prompt.id!r}"
        if answer.get("prompt_token_ids") is None:
            raise ResponderError(f"{where} without the ids of its prompt: it must be vLLM 0.33 or newer")
        difference = first_difference(prompt.encoded.prompt, answer["prompt_token_ids"])
        if difference is not None:
            raise ResponderError(
                f"{where} after another prompt than the trainer's ({difference}): it must serve the same model and "
                "processor, and no setting that cuts audio or prompts"
            )
        choices = sorted(answer["choices"], key=lambda choice: choice["index"])
        if [choice["index"] for choice in choices] != list(range(len(prompt.samples))):
            raise ResponderError(f"{where} with {len(choices)} samples; {len(prompt.samples)} were asked for")
        return [self._completion(prompt, s, c, where) for s, c in zip(prompt.samples, choices, strict=True)]

    def _completion(self, prompt: RolloutPrompt, sample: int, choice: dict[str, Any], where: str) -> Completion:
        ids = [int(token) for token in choice["token_ids"]]
        content = (choice.get("logprobs") or {}).get("content")
        if content is None or [entry["token_id"] for entry in content] != ids:
            raise ResponderError(f"{where} without a log-probability for each of its {len(ids)} tokens: {HOW}")
        logps = [float(entry["logprob"]) for entry in content]
        if not np.isfinite(logps).all() or max(logps, default=0.0) > 1e-3:
            raise ResponderError(f"{where} with log-probabilities that are none (largest {max(logps)}): {HOW}")
        wrong = [t for t in ids if not 0 <= t < self.lm.head_size or t in self.lm.banned_ids]
        reason = choice["finish_reason"]
        budget = self.rollout.budget(prompt, sample)
        if wrong or not 0 < len(ids) <= budget:
            raise ResponderError(
                f"{where} with {len(ids)} tokens where 1 to {budget} were asked for, {len(wrong)} of them tokens that "
                "no response may hold: it must serve the same model"
            )
        stopped = ids[-1] in self.lm.stop_ids or self.rollout.ends(ids)
        if reason not in ("stop", "length") or (reason == "stop") != stopped or not (stopped or len(ids) == budget):
            raise ResponderError(
                f"{where} with {len(ids)} tokens of {budget} and the reason {reason!r}, but the last token {ids[-1]} "
                f"{'ends' if stopped else 'does not end'} a response of this model: start the server with "
                "--generation-config vllm, and let nobody abort its requests"
            )
        versions = {span["version"] for span in choice.get("weight_versions") or ()}
        if versions - {self.version}:
            raise ResponderError(
                f"{where} with weights {sorted(versions)}, but {self.version!r} was sent: let no other run use it"
            )
        return self.rollout.completion(prompt, sample, ids, logps, stopped)


def collapse(encoded: Encoded, audio_token: int) -> list[int]:
    """Return a prompt's ids with one placeholder for each span of audio, as they were before its length was known."""
    left: Iterator[int] = iter(span.tokens for span in encoded.clip.spans)
    ids: list[int] = []
    skip = 0
    for token in encoded.prompt:
        if token == audio_token and skip:
            skip -= 1
            continue
        assert skip == 0, "a span's placeholders stand side by side"
        if token == audio_token:
            skip = next(left) - 1
        ids.append(token)
    assert next(left, None) is None, "every span has its placeholders"
    return ids


def waveforms(lm: AudioLM, encoded: Encoded, audio: AudioRef) -> list[np.ndarray]:
    """Return the samples that each span of a row's clip was made of, float32 at the model's rate."""
    assert lm.clip(audio).key == encoded.clip.key, "the audio is the prompt's own"
    pieces, _ = load_pieces(audio, lm, f"audio {audio.path or audio.key[:12]!r}")
    return pieces[: len(encoded.clip.spans)]  # a last piece of less than one audio token is no span


def data_uri(samples: np.ndarray, sampling_rate: int) -> str:
    """Return samples as a WAV of 32-bit floats, which loses nothing, in a data URI."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, sampling_rate, format="WAV", subtype="FLOAT")
    return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def request_seed(seed: int, prompt: RolloutPrompt) -> int:
    """Return a request's seed in [0, 2**62): of the step's seed and the prompt; vLLM adds a sample's index to it."""
    digest = hashlib.sha256(f"{seed}\x00{prompt.id}\x00{prompt.samples.start}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 2


def first_difference(ours: Sequence[int], theirs: Sequence[int]) -> str | None:
    """Say where two rows of token ids part, or ``None`` where they are the same."""
    if list(ours) == list(theirs):
        return None
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    here, there = (str(row[at]) if at < len(row) else "nothing" for row in (ours, theirs))
    return f"{len(ours)} tokens here, {len(theirs)} there; at position {at} token {here} here, {there} there"
