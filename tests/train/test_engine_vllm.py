"""Rollouts through a loopback server with vLLM's API: real answers, real weights on the way, and every fault told."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rollout_server import Loopback, Server
from train_helpers import make_clip, make_lm

from sari_data.config import load_tables
from sari_data.errors import InputError, RecipeError, ResponderError, SariError
from sari_data.prompting import render_prompt
from sari_data.responder import Sampling
from sari_data.types import AudioQuestion
from sari_train.batch import Encoded, Example, collate, encode_example
from sari_train.config import Grpo, Lora, RolloutEngine
from sari_train.logprobs import completion_logprobs
from sari_train.lora import add_lora
from sari_train.models.base import AudioLM
from sari_train.rollout import Completion, RolloutPrompt
from sari_train.rollouts import client as client_module
from sari_train.rollouts.client import Client
from sari_train.rollouts.engine import LocalEngine, make_engine
from sari_train.rollouts.transfer import EndpointTransport, NcclBroadcast, checkpoint_tensors, write_shards
from sari_train.rollouts.vllm import VllmEngine, collapse

SAMPLING = Sampling(temperature=0.7, max_new_tokens=8)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "FIRST_WAIT", 0.01)


@pytest.fixture
def lm(processor: Any) -> AudioLM:
    return make_lm(processor)


@pytest.fixture
def server(processor: Any) -> Iterator[Server]:
    """It starts from other weights than the trainer's."""
    with Server(make_lm(processor, seed=5)) as running:
        yield running


@pytest.fixture
def asked(lm: AudioLM, scene_questions: list[AudioQuestion]) -> tuple[list[RolloutPrompt], list[AudioQuestion]]:
    return make_prompts(lm, scene_questions[:3])


def make_prompts(lm: AudioLM, questions: list[AudioQuestion]) -> tuple[list[RolloutPrompt], list[AudioQuestion]]:
    rows = [encode_example(lm, Example(q.audio, render_prompt(q, "direct"))) for q in questions]
    return [
        RolloutPrompt(f"{i}:{q.id}", row, range(2)) for i, (q, row) in enumerate(zip(questions, rows, strict=True))
    ], questions


def connect(lm: AudioLM, server: Server, folder: Path, *, timeout: float = 20.0) -> VllmEngine:
    return VllmEngine(lm, SAMPLING, RolloutEngine(engine="vllm", url=server.url, timeout=timeout), folder=folder / "w")


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def assert_equal_states(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def test_samples_are_those_of_the_weights_that_were_sent(
    lm: AudioLM, server: Server, asked: Any, tmp_path: Path
) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 3)
    assert_equal_states(state(lm.model), state(server.lm.model))
    assert not (tmp_path / "w").exists()
    found = engine.sample(prompts, questions, seed=11)
    assert [(c.prompt_id, c.sample) for c in found] == [(p.id, s) for p in prompts for s in p.samples]
    row_of = {p.id: p.encoded for p in prompts}
    rows = [Encoded(row_of[c.prompt_id].clip, row_of[c.prompt_id].prompt, c.ids) for c in found]
    logps_BC = completion_logprobs(lm, collate(lm, rows), SAMPLING.temperature, banned=lm.banned_ids)[0].detach()
    for done, logps_C in zip(found, logps_BC, strict=True):
        np.testing.assert_allclose(done.logps, logps_C[: len(done.ids)].numpy(), atol=2e-5)
    assert len({c.ids for c in found}) > 3
    again = engine.sample(prompts, questions, seed=11)
    assert [c.ids for c in again] == [c.ids for c in found]
    assert [c.ids for c in engine.sample(prompts, questions, seed=12)] != [c.ids for c in found]
    # With the weights that it was started with, the server's numbers are others: the tolerance above sees that.
    lone = rows[0]
    other = completion_logprobs(make_lm(lm.processor, seed=5), collate(lm, [lone]), 0.7, banned=lm.banned_ids)[0]
    assert np.abs(other[0].detach().numpy() - found[0].logps).max() > 1e-2


def test_text_and_reason_are_those_of_the_local_engine(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    """The same tokens mean the same completion, whoever sampled them."""
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    by_id = {prompt.id: prompt for prompt in prompts}
    for done in engine.sample(prompts, questions, seed=1):
        stopped = done.ids[-1] in lm.stop_ids or engine.rollout.ends(done.ids)
        assert done.finish_reason == ("stop" if stopped else "length")
        twin = engine.rollout.completion(by_id[done.prompt_id], done.sample, list(done.ids), list(done.logps), stopped)
        assert twin.text == done.text


def test_every_update_reaches_the_server_bit_for_bit(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    seen = []
    for step in range(3):
        with torch.no_grad():
            for weight in lm.model.parameters():
                weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(step)))
        engine.update_weights(lm, step)
        assert_equal_states(state(lm.model), state(server.lm.model))
        seen.append([c.ids for c in engine.sample(prompts, questions, seed=0)])
    assert seen[0] != seen[1] != seen[2]
    assert server.asked("/reset_prefix_cache") == [None] * 3
    assert [body["new_version"] for body in server.asked("/update_weight_version")] == ["step-0", "step-1", "step-2"]


def test_the_weight_transfer_endpoints(lm: AudioLM, processor: Any, asked: Any, tmp_path: Path) -> None:
    loopback = Loopback()
    prompts, questions = asked
    with Server(make_lm(processor, seed=5), backend="nccl", loopback=loopback) as server:
        client = Client(server.url, timeout=20)
        settings = RolloutEngine(engine="vllm", url=server.url, timeout=20)
        transport = EndpointTransport(client, loopback)
        engine = VllmEngine(lm, SAMPLING, settings, folder=tmp_path / "w", transport=transport)
        for step in range(2):
            with torch.no_grad():
                lm.model.model.multi_modal_projector.linear.weight.mul_(1.5)
            engine.update_weights(lm, step)
            assert_equal_states(state(lm.model), state(server.lm.model))
        assert len(engine.sample(prompts, questions, seed=0)) == 6
        engine.close()
        order = [path for path, _ in server.calls if "weight" in path or path in ("/pause", "/resume")]
        assert order == [
            "/pause", "/init_weight_transfer_engine", "/start_weight_update", "/update_weights",
            "/finish_weight_update", "/resume", "/pause", "/start_weight_update", "/update_weights",
            "/finish_weight_update", "/resume", "/shutdown_weight_transfer_engine",
        ]  # fmt: skip
        info = server.asked("/update_weights")[0]["update_info"]
        assert info["names"] == [name for name, _ in checkpoint_tensors(lm)]


def test_nccl_needs_a_gpu(lm: AudioLM, processor: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="over NCCL, but the model that learns is on cpu"):
        NcclBroadcast(torch.device("cpu"))
    with Server(make_lm(processor), backend="nccl") as server, pytest.raises(InputError, match="NCCL"):
        connect(lm, server, tmp_path)


def test_names_are_those_of_a_saved_checkpoint(lm: AudioLM, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    lm.model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    sent = dict(checkpoint_tensors(lm))
    assert sent.keys() == saved.keys()
    assert all(torch.equal(sent[name], saved[name]) for name in saved)
    assert any(name.startswith("language_model.model.layers.0.") for name in sent)


@pytest.mark.parametrize("kind", ["qwen2.5-omni", "qwen3-omni"])
def test_a_thinker_is_sent_as_the_part_of_the_whole_that_is_served(kind: str, tmp_path: Path) -> None:
    """vLLM serves thinkers under the full model's names; a mixture's experts go apart, as they are saved."""
    from model_builders import full_omni, omni_lm, omni_processor
    from safetensors import safe_open

    processor = omni_processor(kind, ["What is this?"])
    full_omni(kind, processor).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        saved = {name: file.get_slice(name).get_shape() for name in file.keys() if name.startswith("thinker.")}  # noqa: SIM118
    assert {name: list(tensor.shape) for name, tensor in checkpoint_tensors(omni_lm(kind, processor))} == saved


def test_adapters_are_sent_merged_and_stay_apart(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    add_lora(lm, Lora(rank=4, alpha=12), seed=0)
    with torch.no_grad():
        for name, weight in lm.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(generator=torch.Generator().manual_seed(1), std=0.1)
    before = state(lm.model)
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    assert_equal_states(before, state(lm.model))
    merged = copy.deepcopy(lm.adapter).merge_and_unload()
    assert_equal_states(state(merged), state(server.lm.model))
    plain = {k.replace(".base_layer", ""): v for k, v in before.items() if ".lora_" not in k}
    changed = [k for k, v in state(server.lm.model).items() if not torch.equal(v, plain[k])]
    assert changed
    assert all("_proj" in name and "language_model" in name for name in changed)
    prompts, questions = asked
    assert len(engine.sample(prompts, questions, seed=0)) == 6


def test_shards_hold_every_tensor_once(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    tensors = {f"t{i}": torch.arange(64.0) + i for i in range(5)}
    write_shards(iter(tensors.items()), tmp_path, shard_bytes=500)
    files = sorted(tmp_path.glob("*.safetensors"))
    assert len(files) == 3
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 5 * 64 * 4
    for name, tensor in tensors.items():
        assert torch.equal(load_file(tmp_path / index["weight_map"][name])[name], tensor)


def test_placeholders_collapse_to_one_a_clip(lm: AudioLM, asked: Any) -> None:
    prompts, _ = asked
    row = prompts[0].encoded
    ids = collapse(row, lm.audio_token_id)
    assert ids.count(lm.audio_token_id) == 1
    at = ids.index(lm.audio_token_id)
    assert [*ids[:at], *[lm.audio_token_id] * row.clip.tokens, *ids[at + 1 :]] == list(row.prompt)


# What the server does wrong, and what is said.


def fault_of(status: int, message: str = "no", **headers: str) -> Callable[[Any], Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda body: (status, named, json.dumps({"error": {"message": message}}).encode())


@pytest.mark.parametrize(
    "faults",
    [[fault_of(500)], [fault_of(503), fault_of(502)], [fault_of(429, Retry_After="0.05")], [lambda body: None] * 3],
    ids=["500", "503-502", "429", "cut"],
)
def test_a_passing_fault_is_asked_again_and_nothing_else_is(
    lm: AudioLM, server: Server, asked: Any, tmp_path: Path, faults: list[Any]
) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    undisturbed = [c.ids for c in engine.sample(prompts, questions, seed=4)]
    server.calls.clear()
    server.faults = list(faults)
    assert [c.ids for c in engine.sample(prompts, questions, seed=4)] == undisturbed
    assert len(server.asked("/inference/v1/generate")) == len(prompts) + len(faults)


def test_retry_after_is_heeded(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    server.faults = [fault_of(429, Retry_After="0.3")]
    started = time.monotonic()
    engine.sample(asked[0][:1], asked[1][:1], seed=0)
    assert time.monotonic() - started >= 0.3


def test_a_lasting_fault_stops_the_run(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    server.faults = [fault_of(500, "CUDA out of memory")] * 50
    with pytest.raises(ResponderError, match="status 500: CUDA out of memory"):
        engine.sample(prompts[:1], questions[:1], seed=0)
    assert len(server.asked("/inference/v1/generate")) == 1 + client_module.RETRIES


def test_a_request_that_is_wrong_is_asked_once(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    server.faults = [fault_of(400, "temperature must be in [0, 2]")]
    with pytest.raises(ResponderError, match="status 400: temperature must be"):
        engine.sample(asked[0][:1], asked[1][:1], seed=0)
    assert len(server.asked("/inference/v1/generate")) == 1


def test_a_timeout_is_told_and_calls_the_rest_off(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path, timeout=20.0)
    engine.update_weights(lm, 0)
    release = threading.Event()

    def slow(body: Any) -> Any:
        release.wait(10)
        return None

    engine.client.timeout = 0.3
    server.faults = [slow, slow, slow]
    started = time.monotonic()
    with pytest.raises(ResponderError, match=r"no whole answer after 0\.3 s: raise rollout\.timeout"):
        engine.sample(prompts, questions, seed=0)
    assert time.monotonic() - started < 5
    release.set()
    assert len(server.asked("/inference/v1/generate")) == 3


def test_one_failure_calls_off_what_is_under_way(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    release = threading.Event()
    started = time.monotonic()

    def slow(body: Any) -> None:
        release.wait(15)

    server.faults = [slow, fault_of(400, "broken"), slow]
    with pytest.raises(ResponderError, match="broken"):
        engine.sample(prompts, questions, seed=0)
    assert time.monotonic() - started < 5
    release.set()


def first(answer: dict[str, Any]) -> dict[str, Any]:
    return min(answer["choices"], key=lambda choice: choice["index"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.update(prompt_token_ids=a["prompt_token_ids"][:-3]), "another prompt than the trainer's"),
        (lambda a: a["prompt_token_ids"].__setitem__(4, 1), "at position 4 token"),
        (lambda a: a.update(prompt_token_ids=None), "without the ids of its prompt"),
        (lambda a: first(a).update(logprobs=None), "without a log-probability for each"),
        (lambda a: first(a)["logprobs"]["content"].pop(), "without a log-probability for each"),
        (lambda a: first(a)["logprobs"]["content"][0].update(token_id=3), "without a log-probability for each"),
        (lambda a: first(a)["logprobs"]["content"][0].update(logprob=float("nan")), "log-probabilities that are none"),
        (lambda a: a["choices"].pop(), "with 1 samples; 2 were asked for"),
        (lambda a: first(a).update(index=7), "with 2 samples; 2 were asked for"),
        (lambda a: first(a).update(finish_reason="abort"), "the reason 'abort'"),
        (lambda a: a.pop("choices"), "in a form that is not vLLM's"),
        (lambda a: first(a)["weight_versions"][0].update(version="step-7"), "let no other run use it"),
    ],
)
def test_an_answer_that_is_not_what_was_asked(
    lm: AudioLM, server: Server, asked: Any, tmp_path: Path, change: Any, said: str
) -> None:
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    server.change = change
    with pytest.raises(ResponderError, match=said):
        engine.sample(asked[0][:1], asked[1][:1], seed=0)
    assert len(server.asked("/inference/v1/generate")) == 1


def test_tokens_that_no_response_may_hold(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    def put(token: int) -> Callable[[dict[str, Any]], None]:
        def change(answer: dict[str, Any]) -> None:
            first(answer)["token_ids"][0] = first(answer)["logprobs"]["content"][0]["token_id"] = token

        return change

    for token in (lm.banned_ids[0], lm.head_size, -1):
        engine = connect(lm, server, tmp_path)
        engine.update_weights(lm, 0)
        server.change = put(token)
        with pytest.raises(ResponderError, match="1 of them tokens that no response may hold"):
            engine.sample(asked[0][:1], asked[1][:1], seed=0)


def test_an_end_that_is_none(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    """A server that ends at tokens of its own would pass cut responses off as whole ones."""
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)

    def cut(answer: dict[str, Any]) -> None:
        choice = first(answer)
        choice["token_ids"], choice["finish_reason"] = choice["token_ids"][:1], "stop"
        choice["logprobs"]["content"] = choice["logprobs"]["content"][:1]

    server.change = cut
    with pytest.raises(ResponderError, match="--generation-config vllm"):
        engine.sample(asked[0][:1], asked[1][:1], seed=0)


def test_a_question_that_is_not_the_prompts(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    prompts, questions = asked
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    with pytest.raises(AssertionError, match="the audio is the prompt's own"):
        engine.sample(prompts, questions[1:] + questions[:1], seed=0)


def test_audio_of_another_length_is_seen_in_the_prompt(
    lm: AudioLM, server: Server, scene_questions: list[AudioQuestion], tmp_path: Path
) -> None:
    """What the server hears is cut: its placeholders are fewer than the trainer's."""
    row = encode_example(lm, Example(make_clip(1, 2.0), "What is it?"))
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    whole = server.lm.clip

    def cut(audio: Any) -> Any:
        return whole(audio.__class__(path=audio.path, data=audio.data, duration=1.0))

    server.lm.clip = cut  # type: ignore[method-assign]
    question = scene_questions[0].replace(audio=make_clip(1, 2.0))
    with pytest.raises(ResponderError, match="no setting that cuts audio or prompts"):
        engine.sample([RolloutPrompt("q", row)], [question], seed=0)


# What the server lacks.


def test_no_server(lm: AudioLM, tmp_path: Path) -> None:
    settings = RolloutEngine(engine="vllm", url="http://127.0.0.1:9")
    with pytest.raises(ResponderError, match=r"no server answers at http://127\.0\.0\.1:9 .*start `vllm serve`"):
        VllmEngine(lm, SAMPLING, settings, folder=tmp_path)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://host", "http://", "http://host:port"])
def test_an_address_that_is_none(url: str) -> None:
    """It is told with the recipe's other problems, before a model is loaded."""
    with pytest.raises(InputError, match=r"rollout\.url must look like http://host:8000"):
        Client(url, timeout=1.0)
    with pytest.raises(RecipeError, match=r"grpo\.rollout\.url: expected an address such as http://127\.0\.0\.1:8000"):
        load_tables(None, {"grpo": Grpo}, [f"grpo.rollout.url={url}"])


def test_a_server_that_lacks_something(lm: AudioLM, server: Server, asked: Any, tmp_path: Path) -> None:
    server.logprobs_mode = "raw_logprobs"
    with pytest.raises(ResponderError, match="--logprobs-mode processed_logprobs"):
        connect(lm, server, tmp_path)
    server.logprobs_mode = "processed_logprobs"
    server.missing = {"/server_info"}
    with pytest.raises(ResponderError, match="VLLM_SERVER_DEV_MODE=1"):
        connect(lm, server, tmp_path)
    server.missing = {"/inference/v1/generate"}
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    with pytest.raises(ResponderError, match="--enable-scale-out"):
        engine.sample(*asked, seed=0)
    server.missing = {"/collective_rpc"}
    engine = connect(lm, server, tmp_path)
    with pytest.raises(ResponderError, match=r"did not take the weights of step 2: .*it stays paused"):
        engine.update_weights(lm, 2)
    assert server.paused
    server.missing, server.backend = set(), "ipc"
    with pytest.raises(ResponderError, match="takes weights over 'ipc'"):
        connect(lm, server, tmp_path)
    server.backend, server.max_model_len = None, 40
    engine = connect(lm, server, tmp_path)
    engine.update_weights(lm, 0)
    with pytest.raises(ResponderError, match="--max-model-len"):
        engine.sample(*asked, seed=0)


def test_another_model(lm: AudioLM, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = server.do_server_info(None)
    told["vllm_config"]["model_config"]["hf_config"] = 'LlamaConfig {"architectures": ["LlamaForCausalLM"]}'
    monkeypatch.setattr(server, "do_server_info", lambda body: told)
    with pytest.raises(ResponderError, match="serves another model"):
        connect(lm, server, tmp_path)


def test_weights_that_do_not_fit_are_refused(lm: AudioLM, server: Server, tmp_path: Path) -> None:
    engine = connect(lm, server, tmp_path)
    lm.model.model.multi_modal_projector.extra = torch.nn.Linear(2, 2)
    with pytest.raises(ResponderError, match=r"did not take the weights.*unexpected .*extra"):
        engine.update_weights(lm, 0)


def test_something_else_at_the_address(lm: AudioLM, server: Server, tmp_path: Path) -> None:
    server.do_v1_models = lambda body: {"hello": 1}  # type: ignore[method-assign]
    with pytest.raises(ResponderError, match="names no model as vLLM does"):
        connect(lm, server, tmp_path)
    page = b"<html>It works!</html>"
    server.answer = lambda path, body: (200, {}, page)  # type: ignore[method-assign]
    with pytest.raises(ResponderError, match=r"not JSON.*It works!"):
        connect(lm, server, tmp_path)
    server.answer = lambda path, body: (200, {"Content-Length": "500"}, page)  # type: ignore[method-assign]
    with pytest.raises(ResponderError, match=r"no server answers.*IncompleteRead"):
        connect(lm, server, tmp_path)


def test_the_bearer_token_is_sent(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "k3y")
    assert Client(server.url, timeout=5)._headers["Authorization"] == "Bearer k3y"
    monkeypatch.delenv("VLLM_API_KEY")
    assert "Authorization" not in Client(server.url, timeout=5)._headers


def test_the_local_engine_samples_what_the_rollout_does(lm: AudioLM, asked: Any) -> None:
    prompts, questions = asked
    engine = LocalEngine(lm, SAMPLING)
    engine.update_weights(lm, 0)
    found = engine.sample(prompts, questions, seed=3)
    alone: list[Completion] = [done for p in prompts for done in engine.rollout.generate([p], seed=3)]
    assert [c.ids for c in found] == [c.ids for c in alone]
    assert engine.sample([], [], seed=3) == []


def test_the_engine_that_a_recipe_names(lm: AudioLM, server: Server, tmp_path: Path) -> None:
    from sari_train.config import Grpo

    assert isinstance(make_engine(lm, Grpo(out=str(tmp_path / "run"))), LocalEngine)
    table = Grpo(out=str(tmp_path / "run"), rollout=RolloutEngine(engine="vllm", url=server.url))
    engine = make_engine(lm, table)
    assert isinstance(engine, VllmEngine)
    assert engine.transport.folder == tmp_path / ".run.weights"
    hot = table.model_copy(update={"temperature": 2.5})
    with pytest.raises(SariError, match="temperatures up to 2"):
        make_engine(lm, hot)
