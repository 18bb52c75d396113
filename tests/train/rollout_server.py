"""A server on this machine that speaks vLLM's API as far as rollouts use it, with a model of its own behind it.

It samples with its own copy of the weights through the package's own rollout, tokenises nothing, extracts features
from the audio that it is sent, and takes weights through the endpoints or from a folder. It can be told to misbehave.
"""

from __future__ import annotations

import base64
import json
import queue
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import torch
from safetensors.torch import load_file

from sari_data.responder import Sampling
from sari_data.types import AudioRef
from sari_train.batch import Encoded
from sari_train.models.base import AudioLM
from sari_train.rollout import Rollout, RolloutPrompt

Answer = tuple[int, dict[str, str], bytes]


class Quiet(ThreadingHTTPServer):
    """Says nothing about a connection that was cut, which tests do on purpose."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing on the terminal."""


class Loopback:
    """The tensors' way from trainer to server inside one process, in place of NCCL."""

    def __init__(self) -> None:
        self.tensors: queue.Queue[torch.Tensor] = queue.Queue(maxsize=1)  # the sender waits for the receiver
        self.meeting = threading.Barrier(2, timeout=10)

    def init_info(self, world_size: int) -> dict[str, Any]:
        return {"rank_offset": 1, "world_size": world_size, "packed": False}

    def join(self, world_size: int) -> None:
        assert world_size == 2
        self.meeting.wait()

    def send(self, tensor: torch.Tensor) -> None:
        self.tensors.put(tensor.clone(), timeout=10)

    def finish(self) -> None:
        assert self.tensors.empty()


class Server:
    """Use as a context manager; ``url`` is where it listens.

    Attributes:
        lm: Its model.
        calls: (path, body) of every request that it has seen.
        faults: What is done, one after another, in place of answering a request for samples; ``None`` answers it.
        change: Applied to the answer of every request for samples.
    """

    def __init__(self, lm: AudioLM, *, backend: str | None = None, loopback: Loopback | None = None) -> None:
        self.lm, self.backend, self.loopback = lm, backend, loopback
        self.calls: list[tuple[str, Any]] = []
        self.faults: list[Callable[[Any], Answer | None] | None] = []
        self.change: Callable[[dict[str, Any]], object] = lambda answer: None
        self.logprobs_mode = "processed_logprobs"
        self.version = "default"
        self.paused = self.updating = self.stale = False
        self.missing: set[str] = set()
        self.max_model_len = lm.context_length
        self.lock = threading.Lock()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(None)

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                self.reply(json.loads(self.rfile.read(size)) if size else None)

            def reply(self, body: Any) -> None:
                found = owner.answer(urlsplit(self.path).path, body)
                if found is None:  # cut the connection
                    self.connection.close()
                    return
                status, headers, data = found
                try:
                    self.send_response(status)
                    for name, value in ({"Content-Length": str(len(data))} | headers).items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # the client has gone

            def log_message(self, *args: object) -> None:
                """Nothing on the terminal."""

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"

    def __enter__(self) -> Server:
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.http.shutdown()
        self.http.server_close()

    def asked(self, path: str) -> list[Any]:
        """Bodies of the requests for ``path``."""
        return [body for where, body in self.calls if where == path]

    def answer(self, path: str, body: Any) -> Answer | None:
        with self.lock:
            self.calls.append((path, body))
        if path in self.missing:
            return 404, {}, b'{"detail": "Not Found"}'
        try:
            if path == "/inference/v1/generate":
                return self.generate(body)
            act = getattr(self, "do_" + path.strip("/").replace("/", "_"))
            return 200, {}, json.dumps(act(body)).encode()
        except Exception as error:
            return 500, {}, json.dumps({"error": {"message": f"{type(error).__name__}: {error}"}}).encode()

    def do_v1_models(self, body: Any) -> Any:
        return {"object": "list", "data": [{"id": "served", "parent": None, "max_model_len": self.max_model_len}]}

    def do_server_info(self, body: Any) -> Any:
        architecture = type(self.lm.model).__name__
        model = {
            "model": "somewhere/served",
            "logprobs_mode": self.logprobs_mode,
            "hf_config": f'Qwen2AudioConfig {{"architectures": ["{architecture}"]}}',
        }
        transfer = None if self.backend is None else {"backend": self.backend}
        return {"vllm_config": {"model_config": model, "weight_transfer_config": transfer}}

    def do_pause(self, body: Any) -> Any:
        self.paused, self.stale = True, False
        return {"status": "paused"}

    def do_resume(self, body: Any) -> Any:
        assert not self.stale, "resumed with a stale prefix cache"
        self.paused = False
        return {"status": "resumed"}

    def do_reset_prefix_cache(self, body: Any) -> Any:
        self.stale = False
        return {"success": True}

    def do_reset_encoder_cache(self, body: Any) -> Any:
        return None

    def do_get_world_size(self, body: Any) -> Any:
        return {"world_size": 1}

    def do_init_weight_transfer_engine(self, body: Any) -> Any:
        assert self.loopback is not None
        assert body["init_info"] == {"rank_offset": 1, "world_size": 2, "packed": False}
        self.loopback.meeting.wait()
        return {"message": "Weight transfer initialized"}

    def do_start_weight_update(self, body: Any) -> Any:
        assert self.paused
        assert not self.updating
        self.updating, self.received = True, {}
        return {"message": "Weight update started"}

    def do_update_weights(self, body: Any) -> Any:
        assert self.updating
        assert self.loopback is not None
        info = body["update_info"]
        for name, dtype, shape in zip(info["names"], info["dtype_names"], info["shapes"], strict=True):
            tensor = self.loopback.tensors.get(timeout=10)
            assert tensor.dtype == getattr(torch, dtype)
            assert list(tensor.shape) == shape
            self.received[name] = tensor
        return {"message": "Weights updated"}

    def do_finish_weight_update(self, body: Any) -> Any:
        self.load(self.received)
        self.updating, self.version = False, body["weight_version"]
        return {"message": "Weight update finished"}

    def do_shutdown_weight_transfer_engine(self, body: Any) -> Any:
        return {"message": "Weight transfer shut down"}

    def do_collective_rpc(self, body: Any) -> Any:
        assert self.paused
        assert body["method"] == "reload_weights"
        folder = Path(body["kwargs"]["weights_path"])
        index = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
        tensors = {k: v for file in sorted(folder.glob("*.safetensors")) for k, v in load_file(file).items()}
        assert index.keys() == tensors.keys()
        self.load(tensors)
        return {"results": [None]}

    def do_update_weight_version(self, body: Any) -> Any:
        self.version = body["new_version"]
        return {"success": True}

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take weights in a checkpoint's layout, as transformers reads one; nothing may lack or be left over."""
        cls = type(self.lm.model)
        model, info = cls.from_pretrained(
            None, config=self.lm.model.config, state_dict=tensors, dtype=self.lm.dtype, output_loading_info=True
        )
        assert not info["missing_keys"], f"missing {sorted(info['missing_keys'])}"
        assert not info["unexpected_keys"], f"unexpected {sorted(info['unexpected_keys'])}"
        self.lm.model.load_state_dict(model.state_dict())
        self.stale = True

    def generate(self, body: dict[str, Any]) -> Answer | None:
        with self.lock:
            fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return fault(body)
        if self.paused:
            return 503, {}, b'{"error": {"message": "paused"}}'
        if body["model"] != "served":
            return 404, {}, b'{"error": {"message": "The model does not exist."}}'
        with self.lock:
            answer = self.sample(body)
        self.change(answer)
        return 200, {}, json.dumps(answer).encode()

    def sample(self, body: dict[str, Any]) -> dict[str, Any]:
        """Put in the audio's placeholders and sample; all that the request holds is used or checked."""
        lm, asked = self.lm, dict(body["sampling_params"])
        audio = [base64.b64decode(part["url"].split(",", 1)[1]) for part in body["content_parts"]]
        clips = [lm.clip(AudioRef(path=f"{i}.wav", data=data)) for i, data in enumerate(audio)]
        left = iter(clips)
        prompt = [t for i in body["token_ids"] for t in ([i] * next(left).tokens if i == lm.audio_token_id else [i])]
        assert next(left, None) is None
        sampling = Sampling(
            temperature=asked["temperature"], top_p=asked["top_p"], top_k=asked["top_k"], min_p=asked["min_p"],
            max_new_tokens=asked["max_tokens"], stop=tuple(asked["stop"]),
        )  # fmt: skip
        assert tuple(asked["stop_token_ids"]) == lm.stop_ids
        assert {int(t) for t in asked["logit_bias"]} == set(lm.banned_ids)
        assert (asked["logprobs"], asked["skip_special_tokens"], asked["repetition_penalty"]) == (0, False, 1.0)
        encoded = Encoded(clips[0], tuple(prompt))
        rows = [RolloutPrompt(str(asked["seed"] + i), encoded) for i in range(asked["n"])]  # vLLM counts the seed up
        choices = []
        for index, done in enumerate(Rollout(lm, sampling).generate(rows, seed=0)):
            content = [
                {"token_id": t, "logprob": float(x), "rank": 1, "top_logprobs": []}
                for t, x in zip(done.ids, np.asarray(done.logps, dtype=np.float64), strict=True)
            ]
            choices.append(
                {
                    "index": index,
                    "finish_reason": done.finish_reason,
                    "token_ids": list(done.ids),
                    "logprobs": {"content": content},
                    "weight_versions": [{"version": self.version, "start": 0, "end": len(done.ids)}],
                }
            )
        return {"request_id": "r", "prompt_token_ids": prompt, "choices": choices[::-1], "output_mode": "tokens"}
