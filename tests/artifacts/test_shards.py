"""Shards: the same bytes as the attack in one job, whatever their number; what may not be joined; kills; short memory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import toys
from infoadv import artifacts, cli, config
from infoadv.artifacts import ArtifactError, shards
from infoadv.artifacts.shards import ShardError
from infoadv.attacks import AttackError, foolbox
from infoadv.attacks.smaller_batches import in_pieces
from infoadv.pipeline import code_inputs, layout, status
from infoadv.registry import plugins
from infoadv.stages import attack as attack_stage

DDN = {"name": "ddn", "method": "ddn", "target": "untargeted", "options": {"steps": 5}}
MASKING = {
    "name": "masking",
    "method": "masking",
    "options": {"steps": 4},
}
NOISE = {"name": "noise", "method": "gaussian_noise", "options": {"like": "ddn"}}


@pytest.fixture
def attack(tmp_path):
    """Return a function that attacks a linear model, whole or one shard, and returns the path that it wrote."""
    data_path, model_path = toys.linear_artifacts(tmp_path)

    def run(name, specification=DDN, *, images=11, chunk=2, seed=0, **arguments):
        out = tmp_path / f"{name}.safetensors"
        inputs = {"data_path": data_path, "model_path": model_path, **arguments}
        attack_stage.run(
            specification=specification, images=images, chunk=chunk, seed=seed, device="cpu", out=out, **inputs
        )
        return out

    return run


def sharded(attack, count, name="gathered", **arguments):
    """Attack in ``count`` shards, the last one first, and return the path of what they are gathered into."""
    files = [attack(f"{name}-{number}", shard=(number, count), **arguments) for number in reversed(range(count))]
    out = files[0].with_name(f"{name}.safetensors")
    shards.gather(files, out)
    return out


# Equal bytes


@pytest.mark.parametrize("chunks", range(1, 9))
def test_chunks_are_dealt_out_evenly(chunks):
    for count in range(1, chunks + 1):
        dealt = [shards.chunks_of(number, count, chunks) for number in range(count)]
        assert [chunk for part in dealt for chunk in part] == list(range(chunks))
        assert {len(part) for part in dealt} <= {chunks // count, -(-chunks // count)}
        assert all(dealt)


@pytest.mark.parametrize(
    ("images", "chunk", "count"), [(11, 2, 1), (11, 2, 2), (11, 2, 3), (11, 2, 6), (12, 4, 3), (7, 3, 2)]
)
def test_shards_give_the_bytes_of_the_whole(attack, images, chunk, count):
    whole = attack("whole", images=images, chunk=chunk)
    assert sharded(attack, count, images=images, chunk=chunk).read_bytes() == whole.read_bytes()


def test_the_padding_of_the_last_shard_is_that_of_the_whole(attack, monkeypatch):
    batches = []

    def watched(model, images, labels, *, indices, **options):
        batches.append(indices.tolist())
        return foolbox.ddn(model, images, labels, indices=indices, **options)

    monkeypatch.setattr(plugins, "load", lambda folder, name: watched)
    attack("whole", images=7, chunk=4)
    sharded(attack, 2, images=7, chunk=4)
    first, last = batches[:2]
    assert batches[2:] == [last, first]
    assert last[3] == first[0]


def test_a_trace_of_the_run_is_kept_once(attack):
    whole = attack("whole", MASKING)
    assert sharded(attack, 3, specification=MASKING).read_bytes() == whole.read_bytes()
    tensors, _ = artifacts.load_tensors(whole, "attack")
    assert len(tensors["trace_step"]) != 11
    assert len(tensors["trace_margin"]) == 11


def test_a_control_and_what_it_is_like_may_both_be_sharded(attack):
    like = attack("whole")
    noise = attack("noise", NOISE, like=like)
    gathered = sharded(attack, 4)
    again = sharded(attack, 2, "control", specification=NOISE, like=gathered)
    assert again.read_bytes() == noise.read_bytes()


# What may not be joined


def altered(path, **changed):
    """Write a shard whose header says something else; return its path."""
    tensors, header = artifacts.load_tensors(path, "shard")
    out = path.with_name(f"altered-{path.name}")
    artifacts.save_tensors(out, tensors, {**header, **changed})
    return out


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"specification": NOISE}, "specification"),
        ({"dataset": "mnist"}, "dataset"),
        ({"model": "other"}, "model"),
        ({"seed": 1}, "seed"),
        ({"images": 12}, "images"),
        ({"chunk": 3}, "chunk"),
        ({"shards": 3}, "shards"),
        ({"inputs": {}}, "inputs"),
        ({"code": "0"}, "code"),
        ({"device": "cuda"}, "device"),
        ({"processor": "another"}, "processor"),
        ({"threads": 2}, "threads"),
        ({"version": "0.0.1"}, "version"),
        ({"libraries": {"torch": "1.0"}}, "libraries"),
    ],
)
def test_shards_that_differ_are_refused(attack, tmp_path, changed, key):
    first, second = (attack(str(number), shard=(number, 2)) for number in range(2))
    out = tmp_path / "out.safetensors"
    with pytest.raises(ShardError, match=rf"altered-1\.safetensors: {key} is .*remove the one .* and run again"):
        shards.gather([first, altered(second, **changed)], out)
    assert not out.exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"specification": {**DDN, "options": {"steps": 6}}},
        {"specification": {**DDN, "method": "fgsm", "options": {"epsilon": 0.1}}},
        {"seed": 1},
        {"images": 12},
        {"threads": 2},
        {"code": True},
        {"inputs": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_shards_that_were_made_otherwise_are_refused(attack, tmp_path, monkeypatch, changed):
    first = attack("first", shard=(0, 2))
    changed = dict(changed)
    if changed.pop("threads", None):
        monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    if changed.pop("code", None):
        monkeypatch.setattr(code_inputs, "file_digest", lambda path: "edited")
    if changed.pop("inputs", None):
        (tmp_path / "other").mkdir()
        changed["data_path"], changed["model_path"] = toys.linear_artifacts(tmp_path / "other", seed=1)
    second = attack("second", shard=(1, 2), **changed)
    with pytest.raises(ShardError, match="not shards of one attack"):
        shards.gather([first, second], tmp_path / "out.safetensors")


def test_missing_and_doubled_shards_and_other_files_are_refused(attack, tmp_path):
    files = [attack(str(number), shard=(number, 3)) for number in range(3)]
    out = tmp_path / "out.safetensors"
    gather = partial(shards.gather, out=out)
    with pytest.raises(ShardError, match=r"shard 1 of 3 is missing; make it with --shard 1/3"):
        gather([files[0], files[2]])
    with pytest.raises(ShardError, match=r"0\.safetensors: is shard 0 like .*0\.safetensors; give each shard once"):
        gather([*files, files[0]])
    with pytest.raises(ArtifactError, match="'attack' artefact, a 'shard' artefact is needed"):
        gather([files[0], attack("whole"), files[2]])
    files[1].write_bytes(files[1].read_bytes()[:-7])
    with pytest.raises(ArtifactError, match=r"1\.safetensors: truncated"):
        gather(files)
    assert not out.exists()


@pytest.mark.parametrize(
    "changed", [{"shard": None}, {"shard": -1}, {"shards": "2"}, {"chunks": True}, {"model": None}]
)
def test_a_shard_whose_header_says_less_is_refused(attack, tmp_path, changed):
    first = attack("0", shard=(0, 2))
    with pytest.raises(ArtifactError, match=rf"altered-0\.safetensors: its header .* {next(iter(changed))}; remove it"):
        shards.gather([altered(first, **changed)], tmp_path / "out.safetensors")


def test_a_shard_of_more_than_can_be_is_refused_at_once(attack, tmp_path):
    first = attack("0", shard=(0, 2))
    with pytest.raises(ShardError, match=r"shard 1, 2, 3, 4, 5, 6, 7, 8 of 1000000000000 is missing"):
        shards.gather([altered(first, shards=10**12)], tmp_path / "out.safetensors")


def test_a_commit_between_shards_is_no_other_code(attack, tmp_path):
    first, second = (attack(str(number), shard=(number, 2)) for number in range(2))
    shards.gather([altered(first, commit="earlier"), altered(second, commit="later")], tmp_path / "out.safetensors")
    assert artifacts.read_header(tmp_path / "out.safetensors", "attack")["commit"] == "later"


def test_the_code_of_a_shard_is_what_the_workflow_watches(trained_model):
    checked = config.Config(
        {
            "datasets": {"digits": {"source": "digits"}},
            "models": {"small": {"architecture": "small_cnn"}},
            "attacks": {"ddn": {"method": "ddn"}},
            "metrics": {"l2": {}},
        }
    )
    watched = code_inputs.digest(code_inputs.of_run(checked, "digits", "small", "ddn"))
    assert (
        code_inputs.digest(
            code_inputs.of_attack("ddn", code_inputs.networks_of_header(artifacts.read_header(trained_model)))
        )
        == watched
    )


@pytest.mark.parametrize("text", ["2/2", "0/0", "-1/2", "1", "a/b", "0/7"])
def test_shards_that_cannot_be_are_refused(attack, text, capsys):
    if text == "0/7":
        with pytest.raises(ShardError, match=r"an attack with 6 chunks; .*at most 6"):
            attack("shard", shard=(0, 7))
        return
    arguments = ["attack", "--data", "d", "--model", "m", "--spec", "{}", "--images", "1", "--chunk", "1", "--out", "o"]
    with pytest.raises(SystemExit):
        cli.main([*arguments, f"--shard={text}"])
    assert "is not K/N with K from 0 to N - 1" in capsys.readouterr().err


def test_gathering_needs_no_torch(attack, tmp_path):
    files = [str(attack(str(number), shard=(number, 2))) for number in range(2)]
    program = (
        "import sys\nfrom infoadv import cli\n"
        "status = cli.main(['gather', '--out', *sys.argv[1:]])\nsys.exit(status or 'torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "out.safetensors"), *files], check=True)
    assert (tmp_path / "out.safetensors").read_bytes() == attack("whole").read_bytes()


# The configuration


def test_shards_are_no_part_of_the_specification():
    raw = {
        "images": 5,
        "chunk": 2,
        "datasets": {"digits": {"source": "digits"}},
        "models": {"small": {"architecture": "small_cnn"}},
        "attacks": {"ddn": {"method": "ddn"}, "masking": {"method": "masking", "shards": 9}},
        "sweeps": {"masking": {"option": "confidence", "values": [1]}},
        "metrics": {"l2": {}},
    }
    checked = config.Config(raw)
    # As many as there are chunks at most; a point of a sweep is cut like its attack.
    assert [attack.shards for attack in checked.attacks.values()] == [1, 3, 3]
    before = checked.attacks["masking"].specification("digits")
    raw["attacks"]["masking"]["shards"] = 2
    assert config.Config(raw).attacks["masking"].specification("digits") == before
    raw["attacks"]["masking"]["shards"] = 0
    with pytest.raises(config.ConfigError, match=r"attacks\.masking\.shards: 0 is not allowed; give at least 1"):
        config.Config(raw)


def test_the_status_counts_shards_that_are_done(attack, tmp_path):
    checked = config.Config(
        {
            "images": 11,
            "chunk": 2,
            "datasets": {"digits": {"source": "digits"}},
            "models": {"small": {"architecture": "small_cnn"}},
            "attacks": {"ddn": {"method": "ddn", "shards": 3}},
            "metrics": {"l2": {}},
        }
    )
    (job,) = (job for job in layout.jobs(checked) if job.stage == "attacks")
    done = tmp_path / "results" / "shards" / "digits" / "small" / "ddn" / "1.safetensors"
    done.parent.mkdir(parents=True)
    attack("1", shard=(1, 3)).rename(done)
    assert status.standing(job, checked, tmp_path, time.time()).kept == "4 of 11 images kept"


# Kills


def test_a_killed_shard_goes_on_to_the_same_bytes(digits_data, trained_model, tmp_path):
    # Slow enough to be killed between its chunks.
    specification = {"name": "cw", "method": "cw_l2", "options": {"steps": 30, "binary_search_steps": 4}}
    resume = tmp_path / "resume.safetensors"

    def command(number, *more):
        return [
            *(sys.executable, "-m", "infoadv", "attack", "--data", digits_data, "--model", trained_model),
            *("--spec", json.dumps(specification), "--images", "35", "--chunk", "5", "--shard", f"{number}/2"),
            *("--out", tmp_path / f"{number}.safetensors", *more),
        ]

    process = subprocess.Popen(command(1, "--resume", resume), stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 600
        while not resume.is_file():
            assert process.poll() is None, "the shard ended before it could be killed"
            assert time.monotonic() < limit
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "1.safetensors").exists()
    again = subprocess.run(command(1, "--resume", resume), capture_output=True, text=True, check=True)
    assert "resumed after" in again.stderr
    assert not resume.exists()
    run = partial(attack_stage.run, digits_data, trained_model, specification, images=35, chunk=5, seed=0, device="cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(out=tmp_path / "0.safetensors", shard=(0, 2))
        run(out=tmp_path / "whole.safetensors")
    finally:
        torch.set_num_threads(threads)
    shards.gather([tmp_path / "0.safetensors", tmp_path / "1.safetensors"], tmp_path / "gathered.safetensors")
    assert (tmp_path / "gathered.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()


def test_a_resume_file_of_another_shard_is_ignored(attack, tmp_path, capsys):
    resume = tmp_path / "resume.safetensors"

    whole = attack("1", shard=(1, 2)).read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        # The resume file outlives the shard that it belongs to.
        patch.setattr(Path, "unlink", lambda path, missing_ok: None)
        attack("0", shard=(0, 2), resume=resume)
    assert resume.is_file()
    capsys.readouterr()
    assert attack("1", shard=(1, 2), resume=resume).read_bytes() == whole
    assert "resumed" not in capsys.readouterr().err


# Short memory


def short_of_memory(method, largest, sizes):
    """Return the attack ``method`` on a GPU that holds ``largest`` images; ``sizes`` notes what it was called with."""

    def run(model, images, labels, **options):
        sizes.append(len(images))
        if len(images) > largest:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return method(model, images, labels, **options)

    return run


@pytest.mark.parametrize(("largest", "piece"), [(8, None), (7, 4), (3, 2), (1, 1)])
def test_a_chunk_that_does_not_fit_runs_in_pieces(attack, monkeypatch, capsys, largest, piece):
    whole = attack("whole", images=11, chunk=8)
    load, sizes = plugins.load, []
    monkeypatch.setattr(plugins, "load", lambda *names: short_of_memory(load(*names), largest, sizes))
    capsys.readouterr()
    path = attack("pieces", images=11, chunk=8)
    told = capsys.readouterr().err
    if piece is None:
        assert path.read_bytes() == whole.read_bytes()
        assert "out of memory" not in told
        return
    tensors, header = artifacts.load_tensors(path, "attack")
    assert header["pieces"] == {"0": piece, "1": piece}
    assert told.count("out of memory with 8 images at once") == 2
    assert f"chunk 1 ran {piece} at a time" in told
    assert max(size for size in sizes if size <= largest) == piece
    expected, _ = artifacts.load_tensors(whole, "attack")
    assert tensors.keys() == expected.keys()
    for name in ("index", "label", "target", "success", "forwards"):
        np.testing.assert_array_equal(tensors[name], expected[name])
    np.testing.assert_allclose(tensors["adversarial"], expected["adversarial"], atol=1e-4)
    # Shards say of their chunks what the whole says of its own, also after an interruption.
    gathered = sharded(attack, 2, images=11, chunk=8)
    assert gathered.read_bytes() == path.read_bytes()


def test_a_trace_of_the_run_survives_pieces(attack, monkeypatch):
    load = plugins.load
    monkeypatch.setattr(plugins, "load", lambda *names: short_of_memory(load(*names), 2, []))
    tensors, _ = artifacts.load_tensors(attack("pieces", MASKING, images=9, chunk=8), "attack")
    assert tensors["trace_margin"].shape == (9, len(tensors["trace_step"]))


def test_pieces_are_remembered_by_the_resume_file(attack, tmp_path, monkeypatch):
    load, calls = plugins.load, []

    def short(*names):
        return short_of_memory(load(*names), 3, calls)

    def stopping(*names):
        def run(model, images, labels, **options):
            if len(calls) == 4:
                raise KeyboardInterrupt
            return short(*names)(model, images, labels, **options)

        return run

    monkeypatch.setattr(plugins, "load", short)
    whole = attack("whole", images=12, chunk=4).read_bytes()
    calls.clear()
    resume = tmp_path / "resume.safetensors"
    monkeypatch.setattr(plugins, "load", stopping)
    with pytest.raises(KeyboardInterrupt):
        attack("again", images=12, chunk=4, resume=resume)
    monkeypatch.setattr(plugins, "load", short)
    assert attack("again", images=12, chunk=4, resume=resume).read_bytes() == whole
    # A chunk takes three calls: four images, then two and two. One call was lost with the interruption.
    assert len(calls) == 3 + 1 + 6


def test_one_image_that_does_not_fit_is_an_error():
    def never(piece):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(AttackError, match=r"out of memory with a single image; .*set device to cpu"):
        in_pieces(never, np.arange(5))
