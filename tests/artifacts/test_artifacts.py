"""Artefacts: what is written is what is read, equal inputs give equal bytes, and every damage is named."""

from __future__ import annotations

import json
import math
import os
import resource
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from safetensors.numpy import save_file

from infoadv import InfoadvError, artifacts
from infoadv.artifacts import ArtifactError


def tensors():
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 256, (3, 1, 4, 5), dtype=np.uint8),
        "values": rng.normal(size=(6, 2)).astype(np.float32).T,
        "flags": np.array([True, False]),
        "scalar": np.array(7, dtype=np.int64),
        "empty": np.zeros((0, 3), dtype=np.float64),
    }


def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame({"name": ["a", "b"] * 100, "value": rng.normal(size=200), "success": [True, False] * 100})


def header(kind="sample"):
    return artifacts.provenance(kind, {"b": 2, "a": [1.5, None]}, seed=3)


def write(path):
    """Write the artefact that suits the suffix of ``path``."""
    if path.suffix == ".parquet":
        artifacts.save_rows(path, frame(), header())
    else:
        artifacts.save_tensors(path, tensors(), header())
    return path


def read(path, kind="sample"):
    return (artifacts.load_rows if path.suffix == ".parquet" else artifacts.load_tensors)(path, kind)


@pytest.fixture(params=["file.safetensors", "file.parquet"])
def path(request, tmp_path):
    return tmp_path / "deeper" / request.param


def refused(path, *parts, kind="sample"):
    """Assert that reading is refused in one line that names the file and holds every one of ``parts``."""
    with pytest.raises(ArtifactError) as caught:
        read(path, kind)
    message = str(caught.value)
    assert str(path) in message
    assert isinstance(caught.value, InfoadvError)
    for part in parts:
        assert part in message
    return message


def test_tensors_come_back_as_they_were(tmp_path):
    loaded, found = read(write(tmp_path / "file.safetensors"))
    assert set(loaded) == set(tensors())
    for name, array in tensors().items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)
    assert found == header() | {"payload": found["payload"]}


def test_rows_come_back_as_they_were(tmp_path):
    loaded, found = read(write(tmp_path / "file.parquet"))
    pd.testing.assert_frame_equal(loaded, frame())
    assert found == header() | {"payload": found["payload"]}


def test_equal_inputs_give_equal_bytes(path):
    first = write(path).read_bytes()
    path.unlink()
    assert write(path).read_bytes() == first
    reordered = dict(reversed(list(header().items())))
    if path.suffix == ".safetensors":
        artifacts.save_tensors(path, dict(reversed(list(tensors().items()))), reordered)
    else:
        artifacts.save_rows(path, frame(), reordered)
    assert path.read_bytes() == first


def test_header_is_read_alone(path):
    write(path)
    assert artifacts.read_header(path)["specification"] == {"a": [1.5, None], "b": 2}
    assert artifacts.read_header(path, "sample")["seed"] == 3


def test_missing_file(path):
    refused(path, "no such file", "check the path")
    with pytest.raises(ArtifactError, match="no such file"):
        artifacts.read_header(path)
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifacts.file_digest(path)


@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
def test_truncated_file(path, share):
    content = write(path).read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "truncated", "remove it")


def test_one_flipped_bit_is_found_wherever_it_is(path):
    content = write(path).read_bytes()
    found = read(path)[1]
    unread = 0
    for place in range(0, len(content), 3 if path.suffix == ".safetensors" else 7):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        loaded = None
        with suppress(ArtifactError):
            loaded, header = read(path)
        if loaded is None:
            refused(path)
            continue
        # Parquet holds statistics, hints and names of encoders that nothing reads: what is read is what was written.
        unread += 1
        assert header == found
        pd.testing.assert_frame_equal(loaded, frame())
    assert unread == 0 or path.suffix == ".parquet"


def test_a_valid_header_that_says_something_else_is_found(path):
    content = write(path).read_bytes()
    if path.suffix == ".safetensors":
        assert content.count(rb"\"seed\":3") == 1
        path.write_bytes(content.replace(rb"\"seed\":3", rb"\"seed\":2"))
    else:
        table = pyarrow.parquet.read_table(path)
        changed = {key: value.replace(b'"seed":3', b'"seed":2') for key, value in table.schema.metadata.items()}
        assert changed != table.schema.metadata
        pyarrow.parquet.write_table(table.replace_schema_metadata(changed), path)
    with pytest.raises(ArtifactError, match="provenance does not match its own digest"):
        artifacts.read_header(path)
    refused(path, "provenance", "remove it")


def test_a_renamed_column_is_found(tmp_path):
    path = tmp_path / "file.parquet"
    table = pyarrow.parquet.read_table(write(path))
    renamed = table.rename_columns(["name", "volume", "success"])
    pyarrow.parquet.write_table(renamed.replace_schema_metadata(table.schema.metadata), path)
    refused(path, "content", "remove it")


@pytest.mark.parametrize("damaged", [False, True])
def test_files_from_before_the_digests_are_read(damaged, path, monkeypatch):
    old = header() | {"format": 1}
    monkeypatch.setattr(
        artifacts.files, "_header_text", lambda header, payload: artifacts.canonical_json(header | {"payload": payload})
    )
    if path.suffix == ".parquet":
        artifacts.save_rows(path, frame(), old)
    else:
        artifacts.save_tensors(path, tensors(), old)
    if damaged and path.suffix == ".safetensors":
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        refused(path, "altered", "remove it")
    else:
        assert read(path)[1]["format"] == 1


def test_text_file(path):
    path.parent.mkdir()
    path.write_text("epoch,loss\n1,0.5\n" * 20)
    refused(path, "not an artefact", "remove it")


def test_file_of_another_program_has_no_provenance(path):
    path.parent.mkdir()
    if path.suffix == ".parquet":
        frame().to_parquet(path)
    else:
        save_file({"weight": np.ones(3, np.float32)}, path)
    refused(path, "no provenance", "remove it")


def test_another_kind(path):
    write(path)
    refused(path, "'sample'", "'model'", "needed here", kind="model")


def test_another_format(path, monkeypatch):
    monkeypatch.setattr(artifacts.files, "FORMAT", artifacts.FORMAT + 1)
    write(path)
    monkeypatch.undo()
    refused(path, f"format {artifacts.FORMAT + 1}", "remove it")


def test_foreign_tensors_need_no_provenance(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": np.ones(3, np.float32)}, path)
    np.testing.assert_array_equal(artifacts.load_foreign_tensors(path)["weight"], np.ones(3))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"weights\.safetensors: truncated"):
        artifacts.load_foreign_tensors(path)


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_else(path):
    content = write(path).read_bytes()

    def fail():
        with artifacts.atomic_path(path) as temporary:
            assert temporary.suffix == path.suffix
            assert temporary.parent == path.parent
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_a_writer_that_fails_the_first_time_leaves_no_file(path):
    save, content = (artifacts.save_rows, frame()) if path.suffix == ".parquet" else (artifacts.save_tensors, tensors())
    with pytest.raises(ValueError, match="JSON"):
        save(path, content, header() | {"accuracy": math.nan})
    assert not path.exists()


def test_a_disk_that_is_full_is_named_and_leaves_the_old_file(path):
    content = write(path).read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(content) // 2, before[1]))
    try:
        with pytest.raises(ArtifactError) as caught:
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"{path}: cannot be written (File too large); make room" in str(caught.value)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_other_errors_of_a_writer_are_passed_on(path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), artifacts.atomic_path(path):
        Path("elsewhere/missing").read_text()


def test_text_has_newline_ends(tmp_path):
    artifacts.write_text(tmp_path / "new" / "table.csv", "a\nb é\n")
    assert (tmp_path / "new" / "table.csv").read_bytes() == "a\nb é\n".encode()


def test_provenance_holds_what_made_it_and_no_clock_or_host(tmp_path):
    path = write(tmp_path / "file.safetensors")
    found = artifacts.provenance(
        "model",
        {"epochs": 3},
        inputs={"data": path},
        libraries=("torch", "no-such-library"),
        device="cuda",
        clean_accuracy=0.5,
    )
    assert set(found) == {
        "kind",
        "format",
        "version",
        "commit",
        "specification",
        "inputs",
        "libraries",
        "device",
        "clean_accuracy",
    }
    assert found["inputs"] == {"data": artifacts.file_digest(path)}
    assert found["libraries"]["numpy"] == np.__version__
    assert found["libraries"]["no-such-library"] == "absent"
    text = json.dumps(found)
    assert socket.gethostname() not in text
    assert str(tmp_path) not in text
    assert str(os.getpid()) not in text.replace(found["inputs"]["data"], "").replace(found["commit"] or "", "")


def test_canonical_json_is_one_string_for_equal_values():
    assert artifacts.canonical_json({"b": (1, 2), "a": {"d": "é", "c": None}}) == artifacts.canonical_json(
        {"a": {"c": None, "d": "é"}, "b": [1, 2]}
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_canonical_json_refuses_what_json_has_not(value):
    with pytest.raises(ValueError, match="JSON"):
        artifacts.canonical_json({"loss": [value]})
