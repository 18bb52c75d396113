"""What a vLLM server must be before it may sample for a run: told once, before anything is trained."""

from __future__ import annotations

from sari_data.errors import ResponderError
from sari_train.models.base import AudioLM
from sari_train.rollouts.client import Client, HttpError

HOW = "start it as docs/rollout-server.md says"


def served_model(client: Client) -> tuple[str, int]:
    """Return the name of the model that a server serves, and its context in tokens.

    Raises:
        ResponderError: No server, or one that serves no model, or none whose length is told.
    """
    answer = client.get("/v1/models")
    cards = answer.get("data") if isinstance(answer, dict) else None
    bases = [card for card in cards or [] if isinstance(card, dict) and not card.get("parent")]
    if not bases or not isinstance(bases[0].get("max_model_len"), int):
        raise ResponderError(f"{client.url}/v1/models names no model as vLLM does ({str(answer)[:120]}): {HOW}")
    return str(bases[0]["id"]), int(bases[0]["max_model_len"])


def check_server(client: Client, lm: AudioLM) -> str | None:
    """Return the server's weight-transfer backend, ``None`` where it was started without.

    Raises:
        ResponderError: Another architecture, log-probabilities of another kind, a backend that is not NCCL, or no
            development endpoints.
    """
    try:
        answer = client.get("/server_info?config_format=json")
        config = answer["vllm_config"]
        model = config["model_config"]
        mode, backend = model["logprobs_mode"], (config.get("weight_transfer_config") or {}).get("backend")
    except HttpError as error:
        raise ResponderError(
            f"the server at {client.url} has no development endpoints (/server_info: {error.detail}), through which it "
            f"would take weights: {HOW} (VLLM_SERVER_DEV_MODE=1)"
        ) from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ResponderError(f"{client.url}/server_info is not vLLM's: it must be vLLM 0.33 or newer") from error
    if mode != "processed_logprobs":
        raise ResponderError(
            f"the server at {client.url} returns {mode}, which leave out the temperature: start it with "
            "--logprobs-mode processed_logprobs"
        )
    # A part of a model (a thinker) is served as the whole.
    wanted = lm.full_class or type(lm.model).__name__.removeprefix("FSDP")
    served = str(model.get("hf_config", ""))
    if (
        "architectures" in served
        and wanted not in served
        and wanted.replace("ForConditionalGeneration", "Model") not in served
    ):
        raise ResponderError(
            f"the server at {client.url} serves another model ({model.get('model')}) than {wanted}: serve the model "
            "that the run starts from"
        )
    if backend not in (None, "nccl"):
        raise ResponderError(
            f"the server at {client.url} takes weights over {backend!r}; the trainer sends them over nccl or the disk: "
            f"{HOW}"
        )
    return backend
