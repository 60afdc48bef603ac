"""``chunk: auto``: as many images as fit, the same on machines of about the same size."""

from __future__ import annotations

import pytest

from helpers import ROOT
from infoadv.config import Config, memory
from infoadv.config.errors import ConfigError
from infoadv.config.reading import read

SMALL, PHOTOGRAPHS = {"source": "digits", "size": 32}, {"source": "folder", "size": 224}
MANY = 10_000


@pytest.fixture
def machine(monkeypatch):
    """Return a function that gives this process a machine of so many megabytes and cores, and maybe a GPU."""

    def is_now(megabytes, cores, gpu=None):
        monkeypatch.setattr(memory, "of_machine", lambda: megabytes)
        monkeypatch.setattr(memory, "of_gpu", lambda: gpu)
        monkeypatch.setattr(memory.os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)

    return is_now


def test_jobs_of_all_cores_fit_into_memory_together(machine):
    for megabytes in (8_000, 24_000, 64_000):
        for cores in (1, 2, 8):
            machine(megabytes, cores)
            for sizes in ([SMALL], [PHOTOGRAPHS], [SMALL, PHOTOGRAPHS]):
                datasets = dict(enumerate(sizes))
                chosen = memory.chunk("cpu", 1, datasets, MANY)
                each = chosen * memory.CHUNK_IMAGE * max(memory.times(entry, 64) for entry in sizes)
                assert chosen.bit_count() == 1
                assert chosen == 1 or cores * (memory.BASE + each) <= megabytes
                # No more than twice as many would fit, up to the largest chunk.
                assert chosen == 256 or cores * (memory.BASE + 2 * each) > 0.7 * megabytes


def test_threads_and_a_gpu_leave_more_for_a_job(machine):
    machine(16_000, 8)
    photographs = {"clothing": PHOTOGRAPHS}
    assert memory.chunk("cpu", 4, photographs, MANY) > memory.chunk("cpu", 1, photographs, MANY)
    assert memory.chunk("auto", 1, photographs, MANY) == memory.chunk("cpu", 1, photographs, MANY)
    machine(16_000, 8, gpu=80_000)
    assert memory.chunk("cuda", 1, photographs, MANY) == 256
    assert memory.chunk("auto", 1, photographs, MANY) == 256


def test_the_memory_of_this_machine_is_known():
    assert 500 < memory.of_machine() < 50e6


def test_a_configuration_holds_the_number(machine):
    machine(24_000, 2)
    raw = read(ROOT / "config" / "config.yaml")
    raw["images"] = 1000
    settings = Config(raw | {"chunk": "auto"})
    assert settings.chunk == settings.values["chunk"] == 256
    # A chunk is filled up: no larger one than there are images, or than a shard has.
    assert Config(raw | {"chunk": "auto", "images": 64}).chunk == 64
    raw["attacks"]["ddn"]["shards"] = 4
    sharded = Config(raw | {"chunk": "auto", "images": 64})
    assert (sharded.chunk, sharded.attacks["ddn"].shards) == (16, 4)
    with pytest.raises(ConfigError, match="chunk"):
        Config(raw | {"chunk": "all"})


def test_the_size_of_the_images_has_to_be_known(machine):
    machine(24_000, 2)
    assert memory.chunk("cpu", 1, {"mnist": {"source": "mnist"}}, MANY) == 256
    for dataset in ({"source": "npz", "path": "a.npz"}, {"source": "torchvision", "size": None}):
        with pytest.raises(
            ConfigError, match=r"chunk: auto needs the size of the images, and datasets\.mine names none"
        ):
            memory.chunk("cpu", 1, {"mine": dataset}, MANY)
