"""Progress: the same text as lines in a log and as a bar on a terminal, with rates that a resumed run keeps right."""

from __future__ import annotations

import pytest

from helpers.toys import linear_artifacts
from infoadv.execution import progress
from infoadv.execution.progress import Progress
from infoadv.stages import attack as attack_stage


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until it is told."""

    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    stopped = Clock()
    monkeypatch.setattr(progress.time, "monotonic", stopped)
    return stopped


@pytest.fixture
def lines(capsys):
    """Return a function that gives the lines said since it was last called."""
    return lambda: capsys.readouterr().err.splitlines()


@pytest.fixture
def become_terminal(monkeypatch):
    """Return a function that makes of standard error, as the test has it, a terminal of 80 columns."""

    def become():
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        monkeypatch.setenv("COLUMNS", "80")

    return become


def test_a_log_has_a_line_at_once_then_every_ten_seconds_and_one_at_the_end(clock, lines):
    work = Progress(100, "images")
    assert lines() == ["0/100 images  0%"]
    said = []
    for done in range(1, 101):
        clock.now += 0.5
        work.update(done, f"success {done / 100:.1%}")
        said += lines()
    assert len(said) == 5
    assert said[0] == "20/100 images  20%  success 20.0%  2.0 images/s  40 s left"
    assert said[-1] == "100/100 images  100%  success 100.0%  2.0 images/s  in 50 s"


def test_what_an_earlier_run_did_is_no_part_of_the_rate(clock, lines):
    work = Progress(100, "images", done=60, note="success 90.0%")
    assert lines() == ["60/100 images  60%  success 90.0%"]
    clock.now += 20
    work.update(70)
    assert lines() == ["70/100 images  70%  30.0 images/min  60 s left"]


def test_a_long_unit_gives_signs_of_life_and_the_time_left_runs_down(clock, lines):
    work = Progress(10, "images")
    clock.now += 60
    work.update(5, "success 80.0%")
    lines()
    clock.now += 9
    work.alive("chunk 2/2: 9 forward passes")
    assert not work.due()
    assert lines() == []
    clock.now += 11
    work.alive("chunk 2/2: 20 forward passes")
    assert lines() == ["5/10 images  50%  success 80.0%  5.0 images/min  40 s left  chunk 2/2: 20 forward passes"]
    clock.now += 100
    work.alive("chunk 2/2: 120 forward passes")
    # Slower than the first half was: it is not less than nothing that is left.
    assert "  0 s left  " in lines()[0]


def test_nothing_to_do_and_nothing_left_to_do(clock, lines):
    Progress(0, "steps")
    Progress(5, "steps", done=5)
    assert lines() == ["0/0 steps", "5/5 steps  100%"]


def test_a_terminal_has_a_bar_of_the_same_text_that_fits_its_width(become_terminal, clock, capsys):
    become_terminal()
    work = Progress(4, "images")
    for done in (1, 2, 3, 4):
        clock.now += 1
        work.alive("x" * 100)
        work.update(done, "success 50.0%")
    text = capsys.readouterr().err
    states = text.removesuffix("\n").split("\r")
    assert {len(state) for state in states} == {79}
    assert states[0].rstrip() == "[" + "." * 20 + "] 0/4 images  0%"
    assert states[-1].rstrip() == "[" + "#" * 20 + "] 4/4 images  100%  success 50.0%  1.0 images/s  in 4 s"
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_an_error_is_not_written_over_a_bar(become_terminal, capsys):
    become_terminal()
    Progress(4, "images")
    capsys.readouterr()
    progress.clear_line()
    assert capsys.readouterr().err == " " * 79 + "\r"


def test_no_terminal_is_cleared_where_there_is_none(capsys):
    progress.clear_line()
    assert capsys.readouterr().err == ""


def test_an_attack_tells_images_success_and_passes_and_its_bytes_stay_the_same(tmp_path, monkeypatch, lines):
    data_path, model_path = linear_artifacts(tmp_path)
    specification = {"name": "ddn", "method": "ddn", "options": {"steps": 4}}
    made = []
    # Never, in the second run: it may take longer than ten seconds.
    for interval in (0.0, float("inf")):
        monkeypatch.setattr(progress, "LOG_INTERVAL", interval)
        out = tmp_path / f"{interval}.safetensors"
        attack_stage.run(data_path, model_path, specification, images=6, chunk=4, seed=0, device="cpu", out=out)
        made.append(out.read_bytes())
        said = [line for line in lines() if " images  " in line]
        assert said[0] == "0/6 images  0%"
        assert said[-1].startswith("6/6 images  100%  success 100.0%  ")
        if interval == 0:
            assert said[1] == "0/6 images  0%  chunk 1/2: 1 forward passes"
            assert said[2].endswith("chunk 1/2: 2 forward passes")
            assert any(line.startswith("4/6 images  67%  success ") and "chunk 2/2: " in line for line in said)
        else:
            assert len(said) == 2
    assert made[0] == made[1]
