"""The table, from the folder that TAU's archives give to the figures beside the paper's."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from edge_asc.data import Dataset
from edge_asc.data.generated import write_scenes
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.accuracy import LengthResult
from edge_asc.reproduction.grid import Grid, Unit, UnitResult
from edge_asc.reproduction.table1 import BACKBONES, PAPER, list_units, make_table
from edge_asc.training.log import LOG
from edge_asc.training.recipe import PAPER as RECIPE

CITIES = ("barcelona", "helsinki", "london")
TINY = ["--set", "epochs=2", "--set", "batch=8", "--set", "warmup=0"]


def command(*arguments: Any) -> list[str]:
    return [sys.executable, "-c", "from edge_asc.cli import main; main()", "reproduce", *map(str, arguments)]


def reproduce(folder: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EDGE_ASC_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grid")
    write_scenes(folder / "scenes", 2, seed=0, seconds=1.5, folds=2)
    return folder


def write_tau(folder: Path) -> None:
    """TAU Urban Acoustic Scenes 2019 as it is unpacked, of three generated clips a label: 48 kHz, 24 bit, stereo."""
    root = "TAU-urban-acoustic-scenes-2019-development"
    rows = []
    setup: dict[str, list[str]] = {"train": [], "evaluate": [], "test": []}
    source = folder / "source"
    (source / "audio").mkdir(parents=True)
    (source / "evaluation_setup").mkdir()
    for number, label in enumerate(TAU_LABELS):
        for place, city in enumerate(CITIES):
            name = f"audio/{label}-{city}-{3 * number + place}-{100 + place}-a.wav"
            left = generate_scene(label, 7 * number + place, 10.0, 48000)
            stereo = np.stack([left, 0.7 * left], axis=1)
            soundfile.write(source / name, stereo, 48000, subtype="PCM_24")
            rows.append(f"{name}\t{label}\t{city}-{3 * number + place}\ta")
            part = "evaluate" if place == 2 else "train"
            setup[part].append(f"{name}\t{label}")
            if part == "evaluate":
                setup["test"].append(name)
    header = "filename\tscene_label"
    (source / "meta.csv").write_text("\n".join([f"{header}\tidentifier\tsource_label", *rows]) + "\n")
    for part, lines in setup.items():
        text = "\n".join(["filename" if part == "test" else header, *lines]) + "\n"
        (source / f"evaluation_setup/fold1_{part}.csv").write_text(text)
    for archive, wanted in (("audio.1.zip", "audio"), ("meta.zip", "")):
        with zipfile.ZipFile(folder / f"{root}.{archive}", "w") as file:
            for path in sorted(source.rglob("*.*")):
                inside = path.relative_to(source)
                if path.is_file() and (inside.parts[0] == "audio") == (wanted == "audio"):
                    file.write(path, f"{root}/{inside}")
        with zipfile.ZipFile(folder / f"{root}.{archive}") as file:
            file.extractall(folder)


def test_tau_from_archive_to_table(tmp_path: Path) -> None:
    write_tau(tmp_path)
    root = tmp_path / "TAU-urban-acoustic-scenes-2019-development"
    dataset = Dataset.open(root)
    dataset.check()
    assert (dataset.name, dataset.labels, len(dataset.clips)) == ("tau2019", TAU_LABELS, 30)
    assert dataset.clips[0].group == "barcelona-0"
    options = ["--subset", "fuse:cnn,multi,multi-aux", "--seeds", 2, "--set", "epochs=1", "--set", "batch=10"]
    done = reproduce(tmp_path, "table1", root, "--output", tmp_path / "runs", *options, "--json")
    assert done.returncode == 0, done.stderr
    assert "6/6 fuse-windowed-multi-aux/fold1/seed1" in done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "runs/table1.json").read_text())
    assert (found["data"], found["folds"], found["clips"]) == ("tau2019", [1], {"1": 10})
    assert found["recipe"]["stages"][0]["frames"] == [312, 312]
    assert found["seconds"] == {"whole": pytest.approx(9.984), "crop": 1.0}
    rows = {row["variant"]: row for row in found["rows"]}
    assert {name: row["paper"] for name, row in rows.items()} == {
        "cnn": {"whole": 74.38, "crop": 49.35},
        "multi": {"whole": 74.82, "crop": 63.09},
        "multi-aux": {"whole": 77.76, "crop": 66.88},
    }
    assert {name: row["parameters"] for name, row in rows.items()} == {
        "cnn": 130578,
        "multi": 146710,
        "multi-aux": 147800,
    }
    for row in rows.values():
        assert row["seeds"] == [0, 1]
        assert row["whole"]["mean"] == pytest.approx(sum(row["whole"]["accuracies"]) / 2)
    one = json.loads((tmp_path / "runs/fuse-windowed-multi/fold1/seed1/result.json").read_text())
    assert one["whole"]["count"] == one["crop"]["count"] == 10
    assert one["crop"]["accuracy"] == rows["multi"]["crop"]["accuracies"][1]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_table_in_one_process_and_in_two(scenes: Path) -> None:
    options = ["table1", scenes / "scenes", "--subset", "fuse:single,single-aux", "--seeds", 1, *TINY, "--json"]
    options += ["--fold", 1, "--fold", 2]
    alone = reproduce(scenes, *options, "--output", scenes / "alone")
    assert alone.returncode == 0, alone.stderr
    expected = json.loads(alone.stdout)
    assert expected["clips"] == {"1": 10, "2": 10}
    assert [row["variant"] for row in expected["rows"]] == ["single", "single-aux"]
    assert [row["paper"] for row in expected["rows"]] == [None, None]
    together = reproduce(scenes, *options, "--output", scenes / "together", "--jobs", 2)
    assert json.loads(together.stdout) == expected
    assert_same_weights(scenes / "alone", scenes / "together", 4)


@pytest.mark.slow
def test_ray_trains_the_same_models_and_reports_failures(scenes: Path) -> None:
    pytest.importorskip("ray", reason="no Ray: install edge-asc[ray]")
    options = ["table1", scenes / "scenes", "--subset", "fuse:cnn,single", "--seeds", 1, *TINY, "--json"]
    alone = reproduce(scenes, *options, "--output", scenes / "here")
    damaged = Path("fuse-windowed-single/fold1/seed0")
    shutil.copytree(scenes / "here" / damaged, scenes / "cluster" / damaged)
    (scenes / "cluster" / damaged / "weights.safetensors").write_bytes(b"damaged")
    cluster = reproduce(scenes, *options, "--output", scenes / "cluster", "--engine", "ray")
    assert cluster.returncode == 2
    assert "1 of 2 trainings failed" in cluster.stderr
    assert "the file is damaged" in cluster.stderr
    assert json.loads(cluster.stdout)["rows"] == json.loads(alone.stdout)["rows"][:1]
    shutil.rmtree(scenes / "cluster" / damaged)
    shutil.rmtree(scenes / "here" / damaged)
    assert_same_weights(scenes / "here", scenes / "cluster", 1)


def assert_same_weights(folder: Path, other: Path, count: int) -> None:
    paths = [path.relative_to(folder) for path in folder.rglob("weights.safetensors")]
    assert len(paths) == count
    for path in paths:
        assert (folder / path).read_bytes() == (other / path).read_bytes()


def test_a_killed_grid_resumes(scenes: Path) -> None:
    options = ["table1", scenes / "scenes", "--subset", "fuse:cnn,multi", "--seeds", 1, "--set", "epochs=4", *TINY[2:]]
    whole = reproduce(scenes, *options, "--output", scenes / "whole")
    assert whole.returncode == 0, whole.stderr
    assert "fuse-windowed-cnn" not in whole.stdout
    killed = scenes / "killed"
    environment = {**os.environ, "EDGE_ASC_CACHE": str(scenes / "cache"), "OMP_NUM_THREADS": "1"}
    with (scenes / "killed.log").open("w") as log:
        process = subprocess.Popen(command(*options, "--output", killed), stdout=log, stderr=log, env=environment)
        second = killed / "fuse-windowed-multi/fold1/seed0"
        deadline = time.monotonic() + 120
        while not (second / LOG).exists():
            assert process.poll() is None, (scenes / "killed.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (killed / "table1.json").exists()
    first = killed / "fuse-windowed-cnn/fold1/seed0/checkpoint.json"
    made = first.stat().st_mtime_ns
    again = reproduce(scenes, *options, "--output", killed)
    assert again.returncode == 0, again.stderr
    assert first.stat().st_mtime_ns == made
    assert (killed / "table1.json").read_text() == (scenes / "whole/table1.json").read_text()
    assert not list(killed.rglob("training-state.pt"))


@pytest.mark.slow
def test_more_seeds_use_what_is_there(scenes: Path) -> None:
    options = ["table1", scenes / "scenes", "--output", scenes / "more", *TINY, "--json"]
    one = json.loads(reproduce(scenes, *options, "--subset", "fuse:cnn", "--seeds", 1).stdout)
    assert one["rows"][0]["whole"]["deviation"] is None
    begun = time.time_ns()
    done = reproduce(scenes, *options, "--subset", "fuse:cnn", "--subset", "resnet:cnn", "--seeds", 2, "--jobs", 2)
    two = json.loads(done.stdout)
    assert [(row["backbone"], row["seeds"]) for row in two["rows"]] == [("resnet", [0, 1]), ("fuse", [0, 1])]
    assert two["rows"][1]["whole"]["accuracies"][0] == one["rows"][0]["whole"]["mean"]
    assert (scenes / "more/fuse-windowed-cnn/fold1/seed0/weights.safetensors").stat().st_mtime_ns < begun
    other = reproduce(scenes, *options, "--subset", "fuse:cnn", "--seeds", 1, "--set", "learning_rate=0.01")
    assert other.returncode == 2
    assert "holds a checkpoint of another recipe" in other.stderr


def test_a_training_that_fails_does_not_take_the_others_with_it(scenes: Path) -> None:
    options = ["table1", scenes / "scenes", "--output", scenes / "failing", *TINY]
    assert reproduce(scenes, *options, "--subset", "fuse:cnn", "--seeds", 1).returncode == 0
    (scenes / "failing/fuse-windowed-cnn/fold1/seed0/weights.safetensors").write_bytes(b"damaged")
    done = reproduce(scenes, *options, "--subset", "fuse:cnn,single", "--seeds", 1, "--jobs", 2)
    assert done.returncode == 2
    assert "1 of 2 trainings failed" in done.stderr
    assert "the file is damaged" in done.stderr
    found = json.loads((scenes / "failing/table1.json").read_text())
    assert [row["variant"] for row in found["rows"]] == ["single"]
    assert list(found["failures"]) == ["fuse-windowed-cnn/fold1/seed0"]


def test_a_fold_or_a_row_that_is_not_there(scenes: Path) -> None:
    options = ["table1", scenes / "scenes", "--output", scenes / "none"]
    for wrong, message in (
        (["--subset", "fuse:gru"], "'fuse:gru' is not a part of the table; expected BACKBONE"),
        (["--subset", "vgg"], "with resnet, bcresnet, fuse and cnn, single, single-aux, multi, multi-aux"),
        (["--fold", "3"], "no fold 3"),
        (["--set", "epochs=0"], "recipe epochs: expected `int` >= 1"),
        (["--device", "cuda"], "device 'cuda' is not available here"),
    ):
        done = reproduce(scenes, *options, *wrong)
        assert done.returncode == 2
        assert message in done.stderr
    assert not (scenes / "none/table1.json").exists()


def test_the_whole_grid_is_the_papers() -> None:
    grid = list_units()
    assert len(grid) == 3 * 5 * 5
    assert len(set(grid)) == len({unit.path for unit in grid}) == 75
    assert [unit.seed for unit in grid] == sorted(unit.seed for unit in grid)
    assert set(PAPER) == set(BACKBONES)
    assert str(grid[-1].path) == "fuse-windowed-multi-aux/fold1/seed4"
    assert not grid[0].config(10).auxiliary
    assert grid[0].config(10).head == "gap"


def test_seeds_with_a_missing_fold_do_not_count(tmp_path: Path) -> None:
    grid = Grid(tmp_path, tmp_path, tmp_path, RECIPE)

    def part(right: int, seconds: float) -> LengthResult:
        decided = np.array([0] * right + [1] * (10 - right))
        return LengthResult.of(seconds, decided, np.zeros(10, np.intp), ("a", "b"))

    def result(right: int) -> UnitResult:
        return UnitResult(7, ("a",), whole=part(right, 5.0), crop=part(right - 1, 1.0), computed_with="torch")

    found = {
        Unit("fuse", variant, "causal", fold, seed): result(right)
        for variant, rights in (("multi", (4, 6, 5)), ("multi-aux", (7, 9, 3)))
        for (fold, seed), right in zip(((1, 0), (2, 0), (1, 1)), rights, strict=True)
    }
    failed = {Unit("fuse", "multi", "causal", 2, 1): "out of memory"}
    value = make_table(grid, found, "scenes", failed)
    assert [row.whole.accuracies for row in value.rows] == [(0.5,), (0.8,)]
    (effect,) = value.auxiliary
    assert (effect.backbone, effect.variant, effect.seeds) == ("fuse", "multi", (0,))
    for gain in (effect.whole, effect.crop):
        expected: Any = ((pytest.approx(0.3),), pytest.approx(0.3))
        assert (gain.gains, gain.mean) == expected
        assert (gain.deviation, gain.better) == (None, 1)
    assert value.failures == {"fuse-causal-multi/fold2/seed1": "out of memory"}
    with pytest.raises(EdgeAscError, match="not a part of the table"):
        list_units(["fuse:"], "causal") and list_units(["fuse:none"])


def test_a_folder_is_not_taken_for_another_data_sets(scenes: Path) -> None:
    options = ["--output", scenes / "owned", "--subset", "fuse:cnn", "--seeds", 1, *TINY]
    assert reproduce(scenes, "table1", scenes / "scenes", *options).returncode == 0
    write_scenes(scenes / "others", 2, seed=7, seconds=1.5, folds=2)
    done = reproduce(scenes, "table1", scenes / "others", *options)
    assert done.returncode == 2
    assert "holds a checkpoint of another clips" in done.stderr
