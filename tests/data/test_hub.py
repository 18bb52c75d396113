"""Pushing by command: the real Hub client in a process of its own talks to a server on this machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus_examples import question
from push_examples import arguments, command, environment, noise, uploaded, write
from push_server import TOKEN, Fault, HubServer

from sari_data.errors import CorpusError
from sari_data.hub import push_corpus
from sari_data.store import read_manifest

SHARD = 8_000_000  # more than the buffers between client and server hold
SMALL = ["--set", "build.sft=2", "--set", "build.dev=2", "--set", "calibrate.responder=none"]
SMALL += [part for d in ("sound", "music", "speech") for part in ("--set", f"build.scenes.questions.{d}=2")]


def test_a_build_is_pushed_as_it_is_on_disk_to_the_users_own_repository(hub: HubServer, tmp_path: Path) -> None:
    done = command(tmp_path, hub.endpoint, "build", *SMALL, "--push-to-hub", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["url"] == f"{hub.endpoint}/datasets/zoe/corpus"
    assert hub.repo == "zoe/corpus"
    assert hub.created["type"] == "dataset"
    assert len(hub.commits) == 1
    made = {name: data for name, data in uploaded(tmp_path / "corpus").items() if name != "README.md"}
    assert made == {name: hub.content(name) for name in hub.files if name != "README.md"}
    assert b'load_dataset("zoe/corpus")' in hub.content("README.md")
    assert "compared with no benchmark" in done.stderr


def test_the_repository_may_follow_the_flag(hub: HubServer, tmp_path: Path) -> None:
    done = command(tmp_path, hub.endpoint, "build", *SMALL, "--push-to-hub", "lab/scenes", "--private")
    assert done.returncode == 0, done.stderr
    assert f"dataset: {hub.endpoint}/datasets/lab/scenes" in done.stdout
    assert hub.repo == "lab/scenes"
    assert hub.private


@pytest.mark.parametrize(
    ("token", "words", "sentence"),
    [
        (None, ["--push-to-hub"], "pushing to the Hub needs a token, found none"),
        ("hf_wrong", ["--push-to-hub"], "the Hub does not accept the token"),
        (TOKEN, ["--push-to-hub", "a/b/c"], "expected a repository as owner/name, found 'a/b/c'"),
        (TOKEN, ["--push-to-hub", "--audio", "some"], "--audio must be one of"),
        (
            TOKEN,
            ["--push-to-hub", "--set", "build.source=avqa"],
            "a corpus from avqa is published once it was compared",
        ),
        (
            TOKEN,
            ["--push-to-hub", "--set", "annotate.caption.responder=rehearsal"],
            "what the responder 'rehearsal' makes up is not published",
        ),
    ],
)
def test_what_keeps_a_push_from_working_is_said_before_anything_is_built(
    hub: HubServer, tmp_path: Path, token: str | None, words: list[str], sentence: str
) -> None:
    done = command(tmp_path, hub.endpoint, "build", *SMALL, *words, token=token)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "corpus").exists()


def test_a_hub_that_cannot_be_reached_is_one_sentence(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [question(1)])
    done = command(tmp_path, "http://127.0.0.1:9", "push", str(corpus))
    assert done.returncode == 2
    assert "the Hub at http://127.0.0.1:9 cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_push_says_what_it_does_shard_by_shard_and_a_refused_one_leaves_the_corpus_whole(
    hub: HubServer, tmp_path: Path
) -> None:
    write(tmp_path / "c", [noise(n, 1000) for n in range(2)], shard_bytes=1)
    hub.faults.append(Fault("PUT /objects/", status=500))
    done = command(tmp_path, hub.endpoint, "push", "c", "scenes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["repo"] == hub.repo == "zoe/scenes"
    assert "push: data/rl-00001.parquet (2 of 2, 0.0 MB) sent" in done.stderr
    assert "binary IO buffer" not in done.stderr
    refused = command(tmp_path, hub.endpoint, "push", "c", "forbidden/scenes")
    assert refused.returncode == 2
    assert "c could not be pushed to forbidden/scenes" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert read_manifest(tmp_path / "c")["splits"]["rl"]["rows"] == 2


def test_only_a_complete_corpus_is_pushed(tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [question(1)])
    (corpus / "manifest.json").unlink()
    with pytest.raises(CorpusError, match="incomplete or no corpus"):
        push_corpus(corpus, "zoe/c")


def test_a_push_that_was_killed_goes_on_without_sending_what_arrived(hub: HubServer, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c", [noise(n, SHARD) for n in range(5)], shard_bytes=1)
    shas = [entry["sha256"] for entry in read_manifest(corpus)["files"]]
    hub.slow = 0.004
    process = subprocess.Popen(
        arguments("push", "c"), cwd=tmp_path, env=environment(tmp_path, hub.endpoint), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not hub.received[shas[2]] and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while hub.busy and time.monotonic() < deadline:
        time.sleep(0.005)
    assert 0 < hub.received[shas[2]] < SHARD
    assert hub.commits == []
    sizes = {p.name: p.stat().st_size for p in (corpus / "data").iterdir()}
    assert [hub.received[sha] for sha in shas[:2]] == [sizes["rl-00000.parquet"], sizes["rl-00001.parquet"]]
    hub.slow = 0.0
    hub.received.clear()
    done = command(tmp_path, hub.endpoint, "push", "c")
    assert done.returncode == 0, done.stderr
    assert "data/rl-00001.parquet (2 of 5, 8.0 MB) is there already" in done.stderr
    assert {sha: hub.received[sha] for sha in shas} == dict(
        zip(shas, [0, 0, *(sizes[f"rl-0000{n}.parquet"] for n in (2, 3, 4))], strict=True)
    )
    assert len(hub.commits) == 1
    made = {name: data for name, data in uploaded(corpus).items() if name != "README.md"}
    assert made == {name: hub.content(name) for name in hub.files if name != "README.md"}


MEASURED = """
import resource, sys
from huggingface_hub import HfApi
from sari_data.publishing import publish
api = HfApi(endpoint=sys.argv[1])
peaks = []
for folder in sys.argv[2:]:
    publish(folder, "zoe/c", api=api)
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
print(*peaks)
"""


def test_memory_does_not_grow_with_the_corpus_or_its_shards(hub: HubServer, tmp_path: Path) -> None:
    small = write(tmp_path / "small", [noise(1, 1000)])
    # Three shards of 70 MB: one of them held whole would already be more than what is allowed.
    block = noise(1, 7 * 10**6)
    large = write(tmp_path / "large", [block.replace(id=f"q{n}") for n in range(30)], shard_bytes=7 * 10**7)
    assert len(read_manifest(large)["files"]) == 3
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, hub.endpoint, str(small), str(large)],
        env=environment(tmp_path, hub.endpoint),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    before, after = map(float, done.stdout.split())
    assert sum(hub.received.values()) > 2 * 10**8
    assert hub.largest_body < 10**6
    assert after - before < 50, f"{before:.0f} MiB before, {after:.0f} MiB at the peak"
    print(f"peak {before:.0f} -> {after:.0f} MiB")
