"""The text models of the family over packed sequences and while decoding, against their own forward in float64."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from model_builders import stay_in_float64
from torch import Tensor

from sari_data.errors import CheckpointError
from sari_train.kernels.packing import pack
from sari_train.models.cache import SharedCache
from sari_train.models.text import packed_hidden, prepare_text_model
from sari_train.models.text_decode import TextDecoder

PROMPTS, COMPLETIONS = [5, 9], [[4, 3], [2]]
COMMON: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
MROPE = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "mlp_only_layers": [1]}
# Class, config's class, what is special; head sizes that are not hidden / heads too.
FAMILY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaModel", "LlamaConfig", {"head_dim": 8}),
    "mistral": ("MistralModel", "MistralConfig", {"sliding_window": None, "head_dim": 10}),
    "qwen2": ("Qwen2Model", "Qwen2Config", {}),
    "qwen2.5-omni": ("Qwen2_5OmniThinkerTextModel", "Qwen2_5OmniTextConfig", {"hidden_size": 32, "rope": MROPE}),
    "qwen3-omni": ("Qwen3OmniMoeThinkerTextModel", "Qwen3OmniMoeTextConfig", EXPERTS | {"head_dim": 8, "rope": MROPE}),
}


def build(kind: str, **changes: Any) -> Any:
    """A random model whose norms are not all ones, in float64."""
    from importlib import import_module

    module = {
        "qwen2.5-omni": "qwen2_5_omni",
        "qwen3-omni": "qwen3_omni_moe",
    }.get(kind, kind)
    place = f"transformers.models.{module}"
    model, config, special = FAMILY[kind]
    settings = COMMON | special | changes
    if "rope" in settings:
        settings["rope_parameters"] = settings.pop("rope")
    made = getattr(import_module(f"{place}.configuration_{module}"), config)(**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        found = getattr(import_module(f"{place}.modeling_{module}"), model)(made).double().eval()
        with torch.no_grad():
            for weight in found.parameters():
                weight.mul_(4) if weight.dim() > 1 else weight.add_(torch.rand_like(weight))
    if kind == "qwen3-omni":
        found.set_experts_implementation("eager")  # the default's products are not there for float64
    return found


@pytest.fixture(autouse=True)
def norms_in_their_own_type(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers' norms and routers go through float32; in float64 that would hide errors of 1e-8."""
    stay_in_float64(monkeypatch)


def embeddings(count: int) -> Tensor:
    return torch.randn(count, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def rows(model: Any, size: int) -> list[Tensor]:
    """Each prompt with each of its completions but for its last token, as a row of its own."""
    width, found, at = model.config.hidden_size, [], 0
    all_TH = embeddings(size)[:, :width]
    for prompt, completions in zip(PROMPTS, COMPLETIONS, strict=True):
        own = all_TH[at : at + prompt]
        at += prompt
        for count in completions:
            found.append(torch.cat([own, all_TH[at : at + count - 1]]))
            at += count - 1
    return found


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("kind", FAMILY)
def test_a_packed_sequence_gives_each_rows_hidden_states(kind: str, checkpointing: bool) -> None:
    model = build(kind)
    packing = pack(PROMPTS, COMPLETIONS, torch.device("cpu"))
    some = rows(model, packing.tokens)
    expected, predicted = [], [c for cs in COMPLETIONS for c in cs]
    for row, count in zip(some, predicted, strict=True):
        expected.append(model(inputs_embeds=row[None], use_cache=False).last_hidden_state[0, -count:])
    loss = torch.linspace(-1, 1, sum(predicted) * model.config.hidden_size, dtype=torch.float64)
    (torch.cat(expected).flatten() * loss).sum().backward()
    wanted = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    prepare_text_model(model, "x")
    embeds_TH = embeddings(packing.tokens)[:, : model.config.hidden_size]
    hidden_KH = packed_hidden(model, embeds_TH, packing, checkpointing=checkpointing)
    found = torch.cat([hidden_KH[at] for group in packing.predicting() for at in group])
    torch.testing.assert_close(found, torch.cat(expected), atol=1e-9, rtol=1e-9)
    (found.flatten() * loss).sum().backward()
    assert set(wanted) == {n for n, p in model.named_parameters() if p.grad is not None}
    for name, gradient in wanted.items():
        error = (dict(model.named_parameters())[name].grad - gradient).norm()
        assert error <= 1e-9 * gradient.norm() + 1e-12, name
    # The tolerance sees a norm of the heads, or of the layer, that is left out.
    part = next((n for n in wanted if "q_norm" in n), "layers.0.input_layernorm.weight")
    with torch.no_grad():
        dict(model.named_parameters())[part].mul_(1.001)
        changed = packed_hidden(model, embeds_TH, packing)
    assert (changed - hidden_KH).norm() > 1e-6 * hidden_KH.norm()


@pytest.mark.parametrize("kind", FAMILY)
@torch.no_grad()
def test_decoding_gives_the_same(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(kind)
    prompt, count = 7, 4
    embeds_TH = embeddings(prompt + count)[:, : model.config.hidden_size]
    expected = model(inputs_embeds=embeds_TH[None], use_cache=False).last_hidden_state[0, prompt - 1 :]
    prepare_text_model(model, "x")
    packing = pack([prompt], [()], torch.device("cpu"))
    cache = SharedCache(model.config.num_hidden_layers)
    found = [packed_hidden(model, embeds_TH[:prompt], packing, cache=cache)[-1]]
    cache.share(packing, [0, 0])
    decoder = TextDecoder(model, torch.nn.Linear(model.config.hidden_size, 3).double())
    for step in range(count):
        both = embeds_TH[prompt + step][None].repeat(2, 1)
        hidden_BH = decoder.step(both, torch.tensor([prompt + step] * 2), cache)
        torch.testing.assert_close(hidden_BH[0], hidden_BH[1], atol=1e-12, rtol=1e-12)
        found.append(hidden_BH[0])
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-9, rtol=1e-9)


def test_what_is_not_of_the_family_is_refused() -> None:
    with pytest.raises(CheckpointError, match="sliding-window"):
        prepare_text_model(build("mistral", sliding_window=8), "x")
    with pytest.raises(CheckpointError, match="sliding-window"):
        prepare_text_model(build("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1), "x")
    model = build("llama")
    model.layers[0].self_attn = torch.nn.Identity()
    with pytest.raises(CheckpointError, match=r"attends with Identity; supported are LlamaAttention"):
        prepare_text_model(model, "x")
