"""What may be published and in which form; what arrives is what `datasets` and the viewer read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus_examples import CARD, question, tone
from push_examples import api, noise, uploaded, write
from push_server import HubServer

from sari_data.errors import InputError
from sari_data.publishing import publish
from sari_data.store import check_corpus, read_manifest, write_corpus
from sari_data.types import AudioRef, Provenance

CLEAN = {"contamination": {"checked": True, "contaminated": 0}}


def foreign(number: int) -> Any:
    source = Provenance("videos", f"v{number}", "theirs", {}, f"yt{number}", 30.0, 30.5)
    return question(number, audio=AudioRef(path=f"clip{number}.wav", data=tone(300 + number)), provenance=source)


def send(folder: Path, server: HubServer, **options: Any) -> dict[str, bytes]:
    publish(folder, "zoe/c", api=api(server), **options)
    return {name: server.content(name) for name in server.files}


@pytest.mark.usefixtures("online")
def test_what_is_published_opens_with_its_audio_types_and_sizes(hub: HubServer, tmp_path: Path) -> None:
    import datasets

    questions = [question(n, provenance=Provenance("scenes", "s", "CC0-1.0")) for n in range(3)]
    corpus = write(tmp_path / "c", questions)
    found = send(corpus, hub)
    assert {k: v for k, v in found.items() if k != "README.md"} == {
        k: v for k, v in uploaded(corpus).items() if k != "README.md"
    }
    assert b'load_dataset("zoe/c")' in found["README.md"]
    there = hub.checkout(tmp_path / "there")
    assert check_corpus(there) == []
    loaded = datasets.load_dataset(str(there), cache_dir=str(tmp_path / "cache"))["rl"]
    assert isinstance(loaded.features["audio"], datasets.Audio)
    row = loaded.cast_column("audio", datasets.Audio(decode=False))[1]
    assert row["audio"] == {"bytes": tone(101), "path": "1.wav"}
    streamed = datasets.load_dataset(str(there), streaming=True)["rl"]
    assert streamed.features == loaded.features
    rows = list(streamed.cast_column("audio", datasets.Audio(decode=False)))
    assert [row["id"] for row in rows] == ["q0000", "q0001", "q0002"]
    assert datasets.load_dataset_builder(str(there)).info.splits["rl"].num_examples == 3


@pytest.mark.usefixtures("online")
def test_audio_goes_along_only_where_its_source_allows_it(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = write(tmp_path / "c", [foreign(1), question(2), foreign(3)], **CLEAN)
    found = send(corpus, hub)
    assert json.loads(found["manifest.json"])["without_audio"] == 2
    assert tone(302) not in found["data/rl-00000.parquet"]
    assert "2 questions of videos go without their audio: nothing says that it may be shared" in capsys.readouterr().err
    head = yaml.safe_load(found["README.md"].decode()[4:].split("\n---\n")[0])
    assert "audio_name" in [feature["name"] for feature in head["dataset_info"]["features"]]
    assert b"hf download zoe/c" in found["README.md"]
    assert check_corpus(hub.checkout(tmp_path / "there")) == []
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c", "hub", "there"]  # nothing is left beside the corpus
    assert "without_audio" not in read_manifest(corpus)
    # The same form is the same bytes, so it is not sent again.
    hub.received.clear()
    send(corpus, hub)
    assert not hub.received
    assert len(hub.commits) == 1
    assert json.loads(send(corpus, hub, audio="none")["manifest.json"])["without_audio"] == 3
    assert "without_audio" not in json.loads(send(corpus, hub, audio="all")["manifest.json"])


@pytest.mark.usefixtures("online")
def test_what_a_manifest_says_of_a_data_set_decides(hub: HubServer, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [foreign(1)], **CLEAN)
    manifest = read_manifest(corpus)
    manifest["sources"]["videos"]["share_audio"] = True
    (corpus / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    assert "without_audio" not in json.loads(send(corpus, hub)["manifest.json"])


REFUSED = {
    "contaminated": (
        {"contamination": {"checked": True, "contaminated": 3}},
        "3 of its questions are also in a benchmark",
    ),
    "never compared": ({}, "compared with no benchmark, .* audio of videos"),
}


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("name", REFUSED)
def test_a_contaminated_corpus_goes_only_when_told(hub: HubServer, tmp_path: Path, name: str) -> None:
    about, sentence = REFUSED[name]
    corpus = write(tmp_path / "c", [foreign(1)], **about)
    with pytest.raises(InputError, match=sentence):
        send(corpus, hub)
    assert hub.log == []
    card = send(corpus, hub, allow_contaminated=True)["README.md"].decode()
    assert ("**Contaminated.** 3" if about else "**Not compared with any benchmark.**") in card


@pytest.mark.usefixtures("online")
def test_composed_scenes_need_no_comparison_but_the_card_says_that_there_was_none(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = send(write(tmp_path / "c", [question(1)]), hub)
    assert b"**Not compared with any benchmark.**" in found["README.md"]
    assert "it was compared with no benchmark" in capsys.readouterr().err


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize(
    "about", [{"made_by": {"caption": {"model:rehearsal": 1}}}, {"calibrations": [{"responder": "rehearsal"}]}]
)
def test_a_rehearsal_is_never_published(
    hub: HubServer, tmp_path: Path, about: dict[str, Any], run_command: Callable[..., tuple[int, str, str]]
) -> None:
    corpus = write(tmp_path / "c", [question(1)], **CLEAN, **about)
    assert "it is a rehearsal" in run_command("sari-data", "check", corpus)[1]
    with pytest.raises(InputError, match="made up by the responder 'rehearsal'"):
        send(corpus, hub, allow_contaminated=True)
    assert hub.log == []


@pytest.mark.usefixtures("online")
def test_secrets_in_the_recipe_stay_here(hub: HubServer, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [question(1)], recipe={"annotate": {"options": {"api_key": "sk-secret", "n": 1}}})
    found = send(corpus, hub)
    assert not any(b"sk-secret" in content for content in found.values())
    assert json.loads(found["manifest.json"])["recipe"]["annotate"]["options"] == {"api_key": "(removed)", "n": 1}
    assert check_corpus(hub.checkout(tmp_path / "there")) == []


@pytest.mark.usefixtures("online")
def test_somebodys_own_card_is_kept_with_a_head_that_fits(hub: HubServer, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [foreign(1), question(2)], **CLEAN)
    text = (corpus / "README.md").read_text(encoding="utf-8")
    (corpus / "README.md").write_text(text.replace("# c\n", "# Mine\n") + "\nMy words.\n", encoding="utf-8")
    card = send(corpus, hub)["README.md"].decode()
    assert "# Mine\n" in card
    assert card.endswith("My words.\n")
    head = yaml.safe_load(card[4:].split("\n---\n")[0])
    assert "audio_name" in [feature["name"] for feature in head["dataset_info"]["features"]]
    assert card.count("\ndataset_info:") == card.count("\nconfigs:") == 1


@pytest.mark.usefixtures("online")
def test_a_corpus_of_paths_goes_with_its_audio_inside(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(tone(100))
    scene = question(1, audio=AudioRef(path=str(tmp_path / "one.wav")))
    write_corpus(tmp_path / "c", {"rl": [scene]}, {"name": "c"}, card=CARD, embed=False)
    found = send(tmp_path / "c", hub)
    assert str(tmp_path).encode() not in found["data/rl-00000.parquet"]
    assert json.loads(found["manifest.json"])["embedded"] is True
    assert check_corpus(hub.checkout(tmp_path / "there")) == []


@pytest.mark.usefixtures("online")
def test_a_form_that_is_none_is_one_sentence(hub: HubServer, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [noise(1, 10)])
    with pytest.raises(InputError, match="--audio must be one of shareable, all, none; found 'some'"):
        send(corpus, hub, audio="some")
