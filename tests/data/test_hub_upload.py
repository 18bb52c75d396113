"""The upload: by the Hub's LFS protocol, through every fault, never twice, and never a shard in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from push_examples import api, noise, serving, uploaded, write
from push_server import Fault, HubServer

from sari_data import uploading
from sari_data.errors import CorpusError, InputError, StorageError
from sari_data.hub import push_corpus
from sari_data.shard_reader import Megabytes, ShardReader

SIZE = 20_000


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four shards of about 20 kB."""
    return write(tmp_path / "c", [noise(n, SIZE) for n in range(4)], shard_bytes=1)


def push(folder: Path, server: HubServer, **options: Any) -> str:
    return push_corpus(folder, "zoe/c", api=api(server), **options)


def is_whole(server: HubServer, folder: Path) -> bool:
    return {name: server.content(name) for name in server.files} == uploaded(folder)


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("part", [None, 7_000])
def test_every_shard_goes_up_once_and_card_and_manifest_come_with_the_one_commit(
    tmp_path: Path, corpus: Path, part: int | None
) -> None:
    with serving(tmp_path, part=part) as server:
        assert push(corpus, server) == f"{server.endpoint}/datasets/zoe/c"
        assert is_whole(server, corpus)
        assert len(server.commits) == 1
        assert server.commits[0][-2:] == ["README.md", "manifest.json"]
        sizes = [p.stat().st_size for p in (corpus / "data").iterdir()]
        assert sorted(server.received.values()) == sorted(sizes)
        assert server.count("PUT /objects/") == (4 if part is None else sum(-(-size // part) for size in sizes))
        assert server.count("GET /api/datasets/zoe/c/xet-write-token") == 1


@pytest.mark.usefixtures("online")
def test_a_second_push_of_the_same_sends_and_commits_nothing(hub: HubServer, corpus: Path) -> None:
    push(corpus, hub)
    hub.received.clear()
    push(corpus, hub)
    assert not hub.received
    assert len(hub.commits) == 1


@pytest.mark.usefixtures("online")
def test_a_server_that_wants_small_files_in_the_commit_gets_them_there(tmp_path: Path, corpus: Path) -> None:
    with serving(tmp_path, lfs=False) as server:
        push(corpus, server)
        assert is_whole(server, corpus)
        push(corpus, server)
        assert len(server.commits) == 1


FAULTS = {
    "a cut connection": Fault("PUT /objects/", skip=1, cut=9_000),
    "500 for an object": Fault("PUT /objects/", skip=2, status=500),
    "an expired address": Fault("PUT /objects/", skip=1, expire=True),
    "429 from the batch": Fault("objects/batch", skip=1, status=429, headers={"Retry-After": "7"}),
    "500 at verify": Fault("/verify/", status=503),
    "429 at the commit": Fault("/commit/", status=429, headers={"Retry-After": "9"}),
    "a lost reply of the commit": Fault("/commit/", lose_reply=True),
    "a cut connection at the commit": Fault("/commit/", cut=0),
    "500 at the list of files": Fault("/tree/", skip=1, status=500),
    "500 at the making of the repository": Fault("/repos/create", status=502),
    "a lost reply of an object": Fault("PUT /objects/", lose_reply=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_middle_is_gone_through(hub: HubServer, corpus: Path, online: list[float], name: str) -> None:
    fault = FAULTS[name]
    hub.faults.append(Fault(**vars(fault)))
    push(corpus, hub)
    assert hub.faults[0].times == 0, "the fault came"
    assert is_whole(hub, corpus)
    assert len(hub.commits) == 1
    if "Retry-After" in fault.headers:
        assert max(online) >= int(fault.headers["Retry-After"])


@pytest.mark.usefixtures("online")
def test_the_fault_of_one_part_sends_that_part_again_and_no_other(tmp_path: Path, corpus: Path) -> None:
    with serving(tmp_path, part=7_000) as server:
        server.faults.append(Fault("PUT /objects/", skip=4, status=500))
        push(corpus, server)
        assert is_whole(server, corpus)
        parts = sum(-(-p.stat().st_size // 7_000) for p in (corpus / "data").iterdir())
        assert server.count("PUT /objects/") == parts + 1


def test_an_expired_address_is_asked_for_anew(hub: HubServer, corpus: Path, online: list[float]) -> None:
    hub.faults.append(Fault("PUT /objects/", expire=True))
    push(corpus, hub)
    assert hub.count("objects/batch") == 5
    assert len(online) == 1


def test_a_fault_that_stays_ends_in_one_sentence_and_the_next_push_goes_on(
    hub: HubServer, corpus: Path, online: list[float]
) -> None:
    hub.faults.append(Fault("PUT /objects/", skip=2, times=10_000, status=403))
    with pytest.raises(StorageError, match=r"could not be pushed to zoe/c .*403.*push it again with `sari-data push`"):
        push(corpus, hub)
    assert hub.count("PUT /objects/") == 2 + uploading.TRIES
    assert len(online) == uploading.TRIES - 1
    assert hub.commits == []
    there, hub.faults = set(hub.received), []
    hub.received.clear()
    push(corpus, hub)
    assert is_whole(hub, corpus)
    assert len(hub.received) == 2
    assert not there & set(hub.received)


def test_what_the_hub_refuses_is_not_asked_for_again(hub: HubServer, corpus: Path, online: list[float]) -> None:
    hub.faults.append(Fault("/commit/", times=100, status=403))
    with pytest.raises(StorageError, match="403"):
        push(corpus, hub)
    assert hub.count("/commit/") == 1
    assert online == []


def test_an_hour_that_the_hub_asks_for_is_left_to_the_user(hub: HubServer, corpus: Path, online: list[float]) -> None:
    hub.faults.append(Fault("/commit/", times=100, status=429, headers={"Retry-After": "3600"}))
    with pytest.raises(StorageError, match="429"):
        push(corpus, hub)
    assert online == []


@pytest.mark.usefixtures("online")
def test_shards_of_an_earlier_push_go_in_the_commit_that_brings_the_new_ones(
    tmp_path: Path, hub: HubServer, corpus: Path
) -> None:
    push(corpus, hub)
    hub.put("notes.txt", b"somebody's own")
    hub.put("data/extra/other.parquet", b"not ours")
    smaller = write(tmp_path / "c", [noise(n, SIZE) for n in (0, 9)], shard_bytes=1)
    hub.received.clear()
    push(smaller, hub)
    assert len(hub.received) == 1  # the first shard is as it was
    assert len(hub.commits) == 2
    assert {name for name in hub.files if name.endswith(".parquet")} == {
        "data/rl-00000.parquet",
        "data/rl-00001.parquet",
        "data/extra/other.parquet",
    }
    assert hub.content("notes.txt") == b"somebody's own"


@pytest.mark.usefixtures("online")
def test_a_shard_that_changed_on_disk_is_not_published(hub: HubServer, corpus: Path) -> None:
    path = corpus / "data" / "rl-00002.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorpusError, match="found another SHA-256"):
        push(corpus, hub)
    assert hub.commits == []


@pytest.mark.usefixtures("online")
@pytest.mark.parametrize("xet", [True, False])
def test_files_go_by_xet_where_the_hub_offers_it_and_by_lfs_elsewhere(
    hub: HubServer, corpus: Path, monkeypatch: pytest.MonkeyPatch, xet: bool
) -> None:
    ways: list[type] = []

    def upload(**options: Any) -> None:
        ways.extend(type(addition.path_or_fileobj) for addition in options["additions"])
        raise InputError("enough is known")

    hub.xet = xet
    monkeypatch.setattr("huggingface_hub._commit_api._upload_files", upload)
    with pytest.raises(InputError, match="enough is known"):
        push(corpus, hub)
    assert ways == [str if xet else ShardReader]


@pytest.mark.usefixtures("online")
def test_private_is_kept_or_refused(hub: HubServer, corpus: Path) -> None:
    push(corpus, hub, private=True)
    assert hub.private
    hub.private = False
    with pytest.raises(InputError, match="is public: make it private"):
        push(corpus, hub, private=True)


def test_a_reader_reads_like_a_file_and_is_open_only_while_it_is_read(tmp_path: Path) -> None:
    path, content = tmp_path / "f", bytes(range(256)) * 10
    path.write_bytes(content)
    reader, seen = ShardReader(path), []
    reader.advance = seen.append
    assert b"".join(iter(lambda: reader.read(100), b"")) == content
    assert reader._file is None
    assert sum(seen) == len(content)
    assert (reader.seek(-6, 2), reader.read(4), reader.seek(1, 1), reader.tell()) == (
        2554,
        content[2554:2558],
        2559,
        2559,
    )
    assert (reader.seek(5), reader.read(), reader.read(3)) == (5, content[5:], b"")


def test_megabytes_add_up_however_they_come() -> None:
    steps: list[int] = []
    moved = Megabytes(steps.append)
    for _ in range(30):
        moved(100_001)
    assert sum(steps) == 3
