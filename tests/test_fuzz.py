"""Whatever is in a file or a configuration, its reader takes it or refuses it with an ``InfoadvError`` that says where.

Nothing else may come out: no other exception, no hang, no memory out of proportion. The examples are the same at every
run; ``INFOADV_FUZZ=5000`` draws that many others for each test.
"""

from __future__ import annotations

import copy
import io
import json
import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers import ROOT
from infoadv import InfoadvError, artifacts, config, data, models
from infoadv.data import cifar10, mnist
from infoadv.data.npz import npz
from infoadv.pipeline import presentation

LONG = os.environ.get("INFOADV_FUZZ")


def examples(count):
    return settings(
        max_examples=int(LONG or count),
        derandomize=LONG is None,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def refused_or_read(read, *words):
    """Return what ``read`` returns, or None where it raises an ``InfoadvError`` of one line that holds ``words``."""
    try:
        return read()
    except InfoadvError as error:
        message = " ".join(str(error).split())
        assert len(message) > 10
        for word in words:
            assert str(word) in message
        return None


# --- Values and damage ------------------------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(
        ["..", "../x", "/etc/passwd", "os:system", "digits", "standard", "ddn", "a" * 300, "x\ny", "\0", "\ud800"]
    )
    | st.sampled_from([0, -1, 2**31, 2**63, 10**30, 1e308, float("nan")])
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), below, max_size=4),
    max_leaves=12,
)


@st.composite
def damaged(draw, content):
    """Return ``content`` with up to three things done to it that happen to files, or that somebody does to them."""
    result = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(result) - 1, 0)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "remove", "huge", "repeat", "zero"]))
        if not result:
            break
        if kind == "flip":
            result[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del result[place:]
        elif kind == "insert":
            result[place:place] = draw(st.binary(min_size=1, max_size=16))
        elif kind == "remove":
            del result[place : place + draw(st.integers(1, 64))]
        elif kind == "huge":
            number = draw(st.sampled_from([2**31 - 1, 2**32 - 1, 2**62, 2**64 - 1]))
            size = 4 if number < 2**32 else 8
            result[place : place + size] = number.to_bytes(size, draw(st.sampled_from(["little", "big"])))
        elif kind == "repeat":
            result += result[place:]
        else:
            result[place : place + 8] = bytes(8)
    return bytes(result)


def replaced(draw, value, by):
    """Put something drawn from ``by`` in the place of one value of a nested structure, rename a key, or take one away."""
    result = copy.deepcopy(value)
    below = result
    while True:
        keys = list(below) if isinstance(below, dict) else list(range(len(below)))
        key = draw(st.sampled_from(keys))
        deeper = isinstance(below[key], dict | list) and len(below[key]) > 0
        if deeper and draw(st.integers(0, 3)):
            below = below[key]
            continue
        action = draw(st.sampled_from(["replace", "replace", "remove", "rename"]))
        if action == "replace":
            below[key] = draw(by)
        elif action == "remove":
            del below[key]
        elif isinstance(below, dict):
            below[draw(st.text(max_size=8) | st.integers())] = below.pop(key)
        return result


# --- Artefacts --------------------------------------------------------------------------------------------------------


def header(kind, **extra):
    # Of format 1, which has no digest over it: so what lies behind is reached.
    return artifacts.provenance(kind, {"name": "a", "b": [1.5, None]}, inputs={}, seed=3, **extra) | {"format": 1}


def sample_tensors():
    return {"images": np.arange(60, dtype=np.uint8).reshape(3, 1, 4, 5), "values": np.ones((2, 2), np.float32)}


def data_tensors():
    rng = np.random.default_rng(0)
    pixels = {part: rng.integers(0, 256, (6, 1, 8, 8), dtype=np.uint8) for part in ("x_train", "x_test")}
    return pixels | {part: np.arange(6) % 3 for part in ("y_train", "y_test")}


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """Return the bytes of a sound artefact of each format, by suffix."""
    folder = tmp_path_factory.mktemp("sound")
    artifacts.save_tensors(folder / "a.safetensors", sample_tensors(), header("sample"))
    frame = pyarrow.table({"name": ["a", "b"] * 20, "value": np.arange(40.0), "flag": [True, False] * 20}).to_pandas()
    artifacts.save_rows(folder / "a.parquet", frame, header("sample"))
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def readers(path):
    yield artifacts.read_header
    if path.suffix == ".parquet":
        yield artifacts.load_rows
    else:
        yield artifacts.load_tensors
        yield artifacts.load_foreign_tensors


def read_all(path):
    for read in readers(path):
        refused_or_read(lambda read=read: read(path), path)


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
@examples(40)
@given(content=st.binary(max_size=400))
def test_random_bytes_as_an_artefact(tmp_path, suffix, content):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    read_all(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".parquet"])
@examples(80)
@given(drawn=st.data())
def test_a_damaged_artefact(tmp_path, contents, suffix, drawn):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(drawn.draw(damaged(contents[suffix])))
    read_all(path)


@examples(60)
@given(drawn=st.data())
def test_a_safetensors_header_that_somebody_wrote(tmp_path, contents, drawn):
    content = contents[".safetensors"]
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size])
    if drawn.draw(st.booleans()):
        text = json.dumps(replaced(drawn.draw, entries, VALUES), default=str)
    else:
        told = drawn.draw(
            st.sampled_from(["[" * 100_000, '{"kind":NaN}', '{"kind":1,"kind":2}', "9" * 5000, "null", '"x"', "{", ""])
        )
        text = json.dumps(entries | {"__metadata__": {"infoadv": told}})
    made = text.encode("utf-8", "surrogatepass")
    length = drawn.draw(st.sampled_from([len(made), len(made) + 1, 0, 2**63, 2**64 - 1]) | st.just(len(made)))
    path = tmp_path / "file.safetensors"
    path.write_bytes(struct.pack("<Q", length) + made + content[8 + size :])
    read_all(path)


SAMPLES = {
    "data": (header("data", class_names=["a", "b", "c"]), data_tensors()),
    "model": (
        header("model", dataset_shape=[1, 16, 16], classes=3)
        | {"specification": {"architecture": "fitnet4", "options": {"stages": [[2], [2], [2]], "dense": 4}}},
        {"mean": np.zeros((1, 1, 1, 1), np.float32)},
    ),
}


@pytest.mark.parametrize("kind", list(SAMPLES))
@examples(60)
@given(drawn=st.data())
def test_a_provenance_that_somebody_wrote(tmp_path, kind, drawn):
    """The digest is right and the file whole, so that what it says reaches the stage."""
    told, tensors = SAMPLES[kind]
    if drawn.draw(st.booleans()):
        told = replaced(drawn.draw, told, VALUES)
    else:
        name = drawn.draw(st.sampled_from(list(tensors)))
        shape = drawn.draw(st.lists(st.integers(0, 6), max_size=5))
        dtype = drawn.draw(st.sampled_from([np.uint8, np.int64, np.uint64, np.float32, np.bool_]))
        tensors = tensors | {name: np.full(shape, drawn.draw(st.integers(0, 255)), dtype)}
    path = tmp_path / "file.safetensors"
    text = json.dumps(told | {"payload": artifacts.files._payload_digest(tensors)}, default=str)
    from safetensors.numpy import save

    path.write_bytes(save(tensors, metadata={"infoadv": text}))
    load = {"data": data.load, "model": models.load}[kind]
    refused_or_read(lambda: load(path), path)


COLUMNS = st.sampled_from(
    [
        pyarrow.array([1, 2, 3]),
        pyarrow.array(["a", None, "c"]),
        pyarrow.array([b"a", b"b", b"c"]),
        pyarrow.array([[1], [2, 3], []]),
        pyarrow.array([{"a": 1}, {"a": 2}, None]),
        pyarrow.array([None, None, None]),
        pyarrow.array(["a", "b", "a"]).dictionary_encode(),
        pyarrow.array([1, 2, 3], pyarrow.timestamp("ns")),
        pyarrow.array([1, 2, 3], pyarrow.decimal128(5)),
    ]
)


@examples(40)
@given(columns=st.lists(st.tuples(st.sampled_from("abcd"), COLUMNS), max_size=4), told=VALUES, left=VALUES)
def test_a_parquet_file_that_somebody_wrote(tmp_path, columns, told, left):
    path = tmp_path / "file.parquet"
    table = pyarrow.table([column for _, column in columns], names=[name for name, _ in columns])
    valid = header("sample") if not isinstance(told, dict) else header("sample") | {str(key): told[key] for key in told}
    metadata = {"infoadv": json.dumps(valid, default=str), "pandas": json.dumps(left, default=str)}
    table = table.replace_schema_metadata({k: v.encode("utf-8", "surrogatepass") for k, v in metadata.items()})
    pyarrow.parquet.write_table(table, path)
    read_all(path)


def test_a_parquet_file_that_expands_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("infoadv.artifacts.schemas._ALLOWANCE", 1 << 20)
    path = tmp_path / "bomb.parquet"
    table = pyarrow.table({"value": np.zeros(1_000_000)})
    table = table.replace_schema_metadata({"infoadv": artifacts.canonical_json(header("sample"))})
    pyarrow.parquet.write_table(table, path, compression="zstd", row_group_size=len(table))
    del table
    assert path.stat().st_size < 1 << 16
    before = pyarrow.default_memory_pool().bytes_allocated()
    with pytest.raises(artifacts.ArtifactError, match="claims 1000000 rows, which no file of its size holds"):
        artifacts.load_rows(path)
    assert pyarrow.default_memory_pool().bytes_allocated() <= before


# --- Data sources -----------------------------------------------------------------------------------------------------


@examples(80)
@given(drawn=st.data(), dimensions=st.sampled_from([1, 3]))
def test_idx_files(tmp_path, drawn, dimensions):
    sizes = (5, 4, 3)[:dimensions]
    sound = bytes([0, 0, 8, dimensions]) + struct.pack(f">{dimensions}I", *sizes) + bytes(int(np.prod(sizes)))
    path = tmp_path / "train-ubyte"
    path.write_bytes(drawn.draw(damaged(sound) | st.binary(max_size=40)))
    array = refused_or_read(lambda: mnist.read_idx(path, dimensions), path)
    assert array is None or (array.dtype == np.uint8 and array.ndim == dimensions)


@examples(40)
@given(drawn=st.data())
def test_binary_files(tmp_path, drawn):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(drawn.draw(damaged(bytes(range(1, 8)) * 439 * 2) | st.binary(max_size=40)))
    read = refused_or_read(lambda: cifar10.read_records(path), path)
    assert read is None or (read[0].shape[1:] == (3, 32, 32) and len(read[0]) == len(read[1]))


def npy(array, **changed):
    """Return an array as .npy, with entries of its header ``changed``."""
    buffer = io.BytesIO()
    if array.dtype.hasobject:
        np.save(buffer, array, allow_pickle=True)
        return buffer.getvalue()
    fields = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape} | changed
    text = (repr(fields) + "\n").encode("utf-8", "replace")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", min(len(text), 65535)) + text + array.tobytes()


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def npz_members():
    return {f"{name}.npy": npy(array[:, 0] if array.ndim == 4 else array) for name, array in data_tensors().items()}


ARRAYS = st.sampled_from(
    [
        np.array(["cat", None], dtype=object),
        np.array([10**15]),
        np.array([2**64 - 1], np.uint64),
        np.array([-1]),
        np.zeros((0, 8, 8), np.uint8),
        np.zeros((6, 8, 8), np.float64),
        np.array("2020-01-01", dtype="datetime64[D]"),
        np.zeros(3, dtype=[("a", "i4"), ("b", "u1")]),
        np.array(["text"]),
    ]
)
SHAPES = st.lists(st.sampled_from([-1, 0, 1, 6, 8, 2**31, 2**62, 10**30]), max_size=4).map(tuple)


@examples(80)
@given(drawn=st.data())
def test_npz_files(tmp_path, drawn):
    path = tmp_path / "mine.npz"
    members = npz_members()
    name = drawn.draw(st.sampled_from(list(members)))
    kind = drawn.draw(st.sampled_from(["array", "shape", "descr", "member", "missing", "file", "random"]))
    if kind == "array":
        members[name] = npy(drawn.draw(ARRAYS))
    elif kind == "shape":
        members[name] = npy(np.zeros(6, np.uint8), shape=drawn.draw(SHAPES | VALUES))
    elif kind == "descr":
        members[name] = npy(
            np.zeros(6, np.uint8), descr=drawn.draw(st.sampled_from(["|O", "<f9", "|V0", "|S0"]) | VALUES)
        )
    elif kind == "member":
        members[name] = drawn.draw(damaged(members[name]))
    elif kind == "missing":
        del members[name]
    zipped(path, members, drawn.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])))
    if kind == "file":
        path.write_bytes(drawn.draw(damaged(path.read_bytes())))
    elif kind == "random":
        path.write_bytes(drawn.draw(st.binary(max_size=200)))
    dataset = refused_or_read(lambda: npz(None, path=str(path)), path)
    if dataset is not None:
        refused_or_read(lambda: data.check(dataset, "mine"), "mine")


@pytest.mark.parametrize("kind", ["header", "zip", "labels"])
def test_an_npz_that_asks_for_memory_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("infoadv.data.npz._ALLOWANCE", 1 << 20)
    path = tmp_path / "bomb.npz"
    members = npz_members()
    if kind == "header":
        members["x_train.npy"] = npy(np.zeros(6, np.uint8), shape=(2**40, 8, 8))
    elif kind == "zip":
        pixels = np.zeros((64, 256, 256), np.uint8)
        members["x_train.npy"] = npy(pixels)
        del pixels
    else:
        members["y_train.npy"] = npy(np.array([0, 1, 2, 0, 1, 10**15]))
    zipped(path, members)
    members.clear()
    tracemalloc.start()
    try:
        with pytest.raises(InfoadvError, match=r"bomb\.npz") as caught:
            npz(None, path=str(path))
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert {"header": "another number of bytes", "zip": "expands to", "labels": "label 1000000000000000"}[kind] in str(
        caught.value
    )


# --- The configuration ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def raw():
    """Return a configuration with every kind of section, but few entries, so that it is checked fast."""
    given = yaml.safe_load((ROOT / "tests" / "workflow" / "config.yaml").read_text())
    given["datasets"]["mine"] = {"source": "npz", "path": "mine.npz", "class_names": ["a", "b"]}
    own = {"datasets": ["digits"], "factory": "nets:net", "weights": "w.safetensors", "options": {"depth": 3}}
    given["models"] |= {"theirs": own, "both": {"datasets": ["digits"], "members": ["standard", "theirs"]}}
    given["metrics"]["lpips"] = {"backbone": "alex"}
    return given


def test_the_configuration_that_is_changed_below_is_sound(raw):
    assert config.Config(raw).runs


@examples(80)
@given(drawn=st.data())
def test_a_changed_configuration(raw, drawn):
    changed = raw
    for _ in range(drawn.draw(st.integers(1, 2))):
        changed = replaced(drawn.draw, changed, VALUES)
    checked = refused_or_read(lambda: config.Config(changed))
    if checked is not None:
        names = [*checked.datasets, *checked.models, *checked.attacks]
        assert not any({"/", "\\", "\n", "\0"} & set(name) or name.startswith(".") for name in names)
        artifacts.canonical_json(presentation.of_attacks(checked))


@examples(40)
@given(value=VALUES)
def test_any_value_as_a_configuration(value):
    refused_or_read(lambda: config.Config(value))


@examples(60)
@given(drawn=st.data())
def test_a_damaged_configuration_file(tmp_path, drawn):
    sound = (ROOT / "tests" / "workflow" / "config.yaml").read_bytes()[:600]
    path = tmp_path / "config.yaml"
    path.write_bytes(
        drawn.draw(damaged(sound) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))
    )
    refused_or_read(lambda: config.load(path), path)


TEXTS = {
    "deep": "[" * 600,
    "aliases": "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
    + "".join(
        f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "mapped aliases": "a: &a {x: 1}\n"
    + "".join(
        f"{new}: &{new} {{{', '.join(f'k{n}: *{old}' for n in range(9))}}}\n"
        for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "itself": "&a {datasets: *a}",
    "date": "seed: 2020-99-99",
    "object": "seed: !!python/object/apply:os.system ['true']",
    "set": "seed: !!set {a, b}",
    "key": "? [1, 2]\n: 3",
    "long integer": "seed: " + "9" * 5000,
    "large": "#" * (2 << 20),
    "code": "__use_yte__: true\nseed: ?__import__('os').getpid()",
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_a_configuration_that_is_meant_to_harm(tmp_path, name):
    path = tmp_path / "config.yaml"
    path.write_text(TEXTS[name])
    with pytest.raises(config.ConfigError, match=r"config\.yaml"):
        config.load(path)
