"""Results in a model's card on the Hub: what is written, what is kept byte for byte, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import model_hub
import pytest
from bench_toys import right, wrong
from huggingface_hub import HfApi, ModelCard, parse_eval_result_entries, repocard
from huggingface_hub.repocard import RepoCard
from hypothesis import given, settings
from hypothesis import strategies as st

from sari_bench.benchmarks.base import Benchmark
from sari_bench.reporting.hub_results import merge_index, result_of, update_card
from sari_bench.reporting.leaderboard import Entry, make_boards
from sari_bench.running.runs import Run
from sari_data.errors import InputError

Of = Callable[[int], Benchmark]
Runs = Callable[..., Run]
Command = Callable[..., tuple[int, str, str]]

CARD = """---
# a comment that stays
license: apache-2.0
model-index:
- name: theirs
  results:
  - task: {type: automatic-speech-recognition}
    dataset: {name: LibriSpeech, type: librispeech_asr, config: clean, split: test}
    metrics:
    - {type: wer, value: 3.1}
tags: [audio, "quoted"]
---

# My model

Text with --- dashes and   spaces.
"""


def _entry(benchmark_of: Of, run_of: Runs, name: str = "m@direct", mode: str = "direct") -> Entry:
    run = run_of(benchmark_of(12), lambda q: right(q) if q.domain == "music" else wrong(q), name, mode)
    return make_boards([run], ["answer", "official"])[0].entries[0]


def _metadata(text: str) -> dict[str, Any]:
    return dict(vars(RepoCard(text).data))


def test_a_result_has_every_figure(benchmark_of: Of, run_of: Runs) -> None:
    entry = _entry(benchmark_of, run_of)
    result = result_of(entry)
    assert result["dataset"]["config"] == "direct"
    assert result["dataset"]["revision"] == entry.run.benchmark.version
    metrics = {metric["name"]: metric for metric in result["metrics"]}
    assert (metrics["accuracy, overall"]["value"], metrics["accuracy, music"]["value"]) == (33.33, 100.0)
    assert metrics["accuracy, overall"]["args"]["n"] == 12
    assert (
        metrics["accuracy, overall"]["args"]["interval"][0]
        < 33.33
        < metrics["accuracy, overall"]["args"]["interval"][1]
    )
    assert metrics["accuracy, speech, scorer official"]["value"] == 0.0
    assert not any(metric["verified"] for metric in metrics.values())


def test_the_hubs_own_client_reads_what_is_written(benchmark_of: Of, run_of: Runs) -> None:
    text = update_card(CARD, [result_of(_entry(benchmark_of, run_of))], "model")
    found = ModelCard(text).data.eval_results
    assert found is not None
    values = {(one.dataset_type, one.metric_name): one.metric_value for one in found}
    assert values["toy", "accuracy, overall"] == 33.33
    assert values["librispeech_asr", None] == 3.1


def test_all_else_stays_byte_for_byte(benchmark_of: Of, run_of: Runs) -> None:
    result = result_of(_entry(benchmark_of, run_of))
    text = update_card(CARD, [result], "model")
    assert text.endswith(CARD[CARD.index("---\n\n# My model") :])
    for line in ("# a comment that stays", "license: apache-2.0", 'tags: [audio, "quoted"]'):
        assert f"\n{line}\n" in text
    before, after = _metadata(CARD), _metadata(text)
    assert {k: v for k, v in after.items() if k != "model-index"} == {
        k: v for k, v in before.items() if k != "model-index"
    }
    (model,) = after["model-index"]
    assert model["name"] == "theirs"
    assert model["results"] == [before["model-index"][0]["results"][0], result]
    assert update_card(text, [result], "model") == text, "a second time changes nothing"


def test_own_results_of_the_same_version_and_mode_are_replaced(benchmark_of: Of, run_of: Runs) -> None:
    old = result_of(_entry(benchmark_of, run_of))
    stranger = {**old, "dataset": {**old["dataset"], "args": {}}}
    other_mode = {**old, "dataset": {**old["dataset"], "config": "structured"}}
    other_version = {**old, "dataset": {**old["dataset"], "revision": "v1"}}
    index = merge_index(None, [old, stranger, other_mode, other_version], "model")
    new = {**old, "metrics": [{"type": "accuracy", "value": 99.0}]}
    assert merge_index(index, [new], "model")[0]["results"] == [stranger, other_mode, other_version, new]
    assert index[0]["results"][0] == old, "what was given is not changed"


@pytest.mark.parametrize(
    "card",
    [
        "",
        "# Only text\n",
        "---\n---\nbody",
        "---\nlicense: mit\n---",
        "---\r\nlicense: mit\r\n---\r\nbody\r\n",
        "---\nmodel-index: []\nlicense: mit\n---\nbody\n",
        "---\nlicense: mit\nmodel-index:\n  - name: x\n    results: []\n# end\n---\nbody\n",
    ],
)
def test_cards_of_every_shape(card: str, benchmark_of: Of, run_of: Runs) -> None:
    result = result_of(_entry(benchmark_of, run_of))
    text = update_card(card, [result], "model")
    assert _metadata(text)["model-index"][0]["results"] == [result]
    assert _metadata(text).get("license") == (_metadata(card).get("license") if card else None)
    body = card.rpartition("---")[2].lstrip("\r\n") if card.startswith("---") else card
    assert text.endswith(body)


VALUES = st.text(st.characters(categories=["L", "N", "P"]) | st.just(" "), max_size=20)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["license", "tags", "a-b", "model"]), VALUES, max_size=4), st.text())
def test_any_metadata_and_text_are_kept(metadata: dict[str, str], body: str) -> None:
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in metadata.items())
    card = f"---\n{lines}---\n{body}"
    result = {"task": {"type": "t"}, "dataset": {"type": "d", "name": "n"}, "metrics": []}
    text = update_card(card, [result], "m")
    assert text.endswith(body)
    found = _metadata(text)
    assert found.pop("model-index") == [{"name": "m", "results": [result]}]
    assert found == metadata


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ("---\na: [\n---\n", "is not YAML keys"),
        ("---\n- a\n---\n", "is not YAML keys"),
        ("---\nmodel-index: text\n---\n", "is not a list of models"),
        ("---\nmodel-index:\n- name: x\n  results: text\n---\n", "results that are no list"),
        ("---\nmodel-index: &x\n- {name: x, results: []}\nother: *x\n---\n", "is not YAML keys"),
    ],
)
def test_a_card_that_cannot_be_kept_is_refused(card: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        update_card(card, [{"task": {}, "dataset": {"type": "d"}, "metrics": []}], "m")


def test_parts_and_unknown_revisions_are_called_so(benchmark_of: Of, run_of: Runs) -> None:
    entry = _entry(benchmark_of, run_of)

    def revision(name: str, version: str) -> tuple[str, str, str]:
        benchmark = replace(entry.run.benchmark, name=name, version=version)
        dataset = result_of(replace(entry, run=replace(entry.run, benchmark=benchmark)))["dataset"]
        return dataset["type"], dataset["split"], dataset["revision"]

    hub = ("gamma-lab-umd/MMAU-test-mini", "test-mini")
    assert revision("mmau-test-mini", "v05.15.25") == (*hub, "v05.15.25")
    assert revision("mmau-test-mini", "v05.15.25, 50 of 1000") == (*hub, "v05.15.25, 50 of 1000")
    assert revision("mmau-test-mini", "0123456789ab") == (*hub, "unregistered revision 0123456789ab")


def test_an_unfinished_run_is_not_published(benchmark_of: Of, run_of: Runs) -> None:
    entry = _entry(benchmark_of, run_of)
    with pytest.raises(InputError, match="is not finished"):
        result_of(replace(entry, run=replace(entry.run, meta={**entry.run.meta, "finished": None})))
    answers = dict(list(entry.run.answers.items())[1:])
    short = make_boards([replace(entry.run, answers=answers)])[0].entries[0]
    with pytest.raises(InputError, match="1 answer missing"):
        result_of(short)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A Hub with a model whose card is CARD, which the command talks to."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with model_hub.serving(CARD.encode()) as server:
        api = HfApi(endpoint=server.endpoint, token=model_hub.TOKEN)
        monkeypatch.setattr("sari_data.hub.hub_api", lambda: api)
        monkeypatch.setenv("HF_TOKEN", model_hub.TOKEN)
        yield server


@pytest.fixture
def folder(benchmark_of: Of, run_of: Runs) -> Path:
    return _entry(benchmark_of, run_of, "model").run.folder


@pytest.mark.parametrize("form", [["--push-to-hub", "zoe/model"], ["--push-to-hub"], ["--push-to-hub=model"]])
def test_push(run_command: Command, hub: model_hub.ModelHub, folder: Path, form: list[str]) -> None:
    code, _, said = run_command("sari-bench", "report", folder, *form)
    assert code == 0, said
    assert hub.card is not None
    (_, ours) = _metadata(hub.card.decode())["model-index"][0]["results"]
    assert ours["metrics"][0]["value"] == 33.33
    assert "+    - type: accuracy" in said
    assert f"wrote the card of {hub.endpoint}/zoe/model" in said
    code, _, said = run_command("sari-bench", "report", folder, *form)
    assert (code, len(hub.commits)) == (0, 1)
    assert "has these results already" in said


def test_a_dry_run_leaves_the_hub_alone(run_command: Command, hub: model_hub.ModelHub, folder: Path) -> None:
    code, printed, said = run_command("sari-bench", "report", folder, "--push-to-hub", "zoe/model", "--dry-run")
    assert (code, hub.log, hub.commits) == (0, [], [])
    shown = printed[printed.index("model-index:") :]
    assert _metadata(f"---\n{shown}\n---\n")["model-index"][0]["results"][0]["metrics"][0]["value"] == 33.33
    assert "nothing was written" in said


def test_a_model_without_a_card_gets_one(run_command: Command, hub: model_hub.ModelHub, folder: Path) -> None:
    hub.card = None
    code, _, said = run_command("sari-bench", "report", folder, "--push-to-hub")
    assert code == 0, said
    assert hub.card is not None
    assert set(_metadata(hub.card.decode())) == {"model-index"}


@pytest.mark.parametrize(
    ("change", "repo", "message"),
    [
        ({}, "zoe/other", "the Hub has no model 'zoe/other'"),
        ({"refuse_yaml": True}, "zoe/model", "does not accept the metadata"),
        ({"changed_meanwhile": True}, "zoe/model", "could not be written"),
    ],
)
def test_what_the_hub_refuses_is_one_sentence(
    run_command: Command, hub: model_hub.ModelHub, folder: Path, change: dict[str, bool], repo: str, message: str
) -> None:
    for name, value in change.items():
        setattr(hub, name, value)
    code, _, said = run_command("sari-bench", "report", folder, "--push-to-hub", repo)
    assert (code, hub.commits) == (2, [])
    assert message in said
    assert "Traceback" not in said


def test_the_newer_form_is_written_beside_the_card_on_request(
    run_command: Command, hub: model_hub.ModelHub, benchmark_of: Of, run_of: Runs
) -> None:
    folder = run_of(replace(benchmark_of(12), name="mmau-test-mini", version="v05.15.25"), right, "model").folder
    options = ("--push-to-hub", "zoe/model", "--eval-task", "overall")
    code, printed, _ = run_command("sari-bench", "report", folder, *options, "--dry-run")
    assert (code, hub.commits) == (0, [])
    assert "# .eval_results/sari-bench-mmau-test-mini-direct.yaml" in printed
    code, _, said = run_command("sari-bench", "report", folder, *options)
    assert (code, len(hub.commits)) == (0, 1), said
    text = hub.files[".eval_results/sari-bench-mmau-test-mini-direct.yaml"].decode()
    (found,) = parse_eval_result_entries(repocard.yaml.safe_load(text))
    assert (found.dataset_id, found.task_id, found.value) == ("gamma-lab-umd/MMAU-test-mini", "overall", 100.0)
    assert found.notes == "v05.15.25, mode direct, scorer answer of sari-bench"
    part = run_of(replace(benchmark_of(3), name="mmau-test-mini", version="v05.15.25, 3 of 1000"), right, "part").folder
    code, _, said = run_command("sari-bench", "report", part, *options)
    assert code == 2
    assert "takes a whole registered version" in said


def test_runs_of_two_models_do_not_share_a_card(
    run_command: Command, hub: model_hub.ModelHub, benchmark_of: Of, run_of: Runs
) -> None:
    folders = [_entry(benchmark_of, run_of, name).run.folder for name in ("model", "other")]
    code, _, said = run_command("sari-bench", "report", *folders, "--push-to-hub", "zoe/model")
    assert (code, hub.log) == (2, [])
    assert "these runs are of 2 (model, other)" in said
    code, _, said = run_command("sari-bench", "report", folders[0], "--repo", "zoe/model")
    assert code == 2
    assert "belong to --push-to-hub" in said
