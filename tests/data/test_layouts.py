"""Layouts of folders as users and corpora have them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_asc import audio
from edge_asc.data.dataset import OTHER, Dataset
from edge_asc.data.huggingface import write_rows
from edge_asc.errors import DatasetError


def sounds(root: Path, names: Iterable[str]) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".wav":
            audio.write(path, np.full(800, 0.1, np.float32))
        else:
            path.write_bytes(b"x")


def listed(dataset: Dataset) -> dict[str, str]:
    return {clip.filename: clip.label for clip in dataset.clips}


def held_out(dataset: Dataset) -> dict[int, list[str]]:
    return {number: [clip.filename for clip in fold.evaluate] for number, fold in dataset.folds.items()}


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    sounds(tmp_path, ["my dog/1.wav", "my dog/a b.WAV.wav", "cat/1.wav", "Silence/x.wav", "_unknown_/y.wav"])
    sounds(
        tmp_path,
        ["cat/._1.wav", "cat/.DS_Store", "cat/Thumbs.db", "__MACOSX/cat/1.wav", ".git/hidden.wav", "cat/a.zip"],
    )
    dataset = Dataset.open(tmp_path)
    assert (dataset.layout, dataset.labels, dataset.problems) == ("folders", ("cat", "my dog", OTHER), ())
    assert listed(dataset) == {
        "Silence/x.wav": OTHER,
        "_unknown_/y.wav": OTHER,
        "cat/1.wav": "cat",
        "my dog/1.wav": "my dog",
        "my dog/a b.WAV.wav": "my dog",
    }
    assert {clip.group for clip in dataset.clips if clip.label == "cat"} == {"cat/1"}
    (note,) = dataset.notes
    assert note == "cat/a.zip is an archive, which is left out: unpack it if it holds recordings"
    dataset.check()


@pytest.mark.parametrize("above", ["", "audio/", "data/train/"])
def test_class_folders_in_another_folder(tmp_path: Path, above: str) -> None:
    sounds(tmp_path, [f"{above}dog/1.wav", f"{above}cat/1.wav", "README.md"])
    assert set(listed(Dataset.open(tmp_path)).values()) == {"cat", "dog"}


def test_split_folders_are_a_fold(tmp_path: Path) -> None:
    sounds(tmp_path, ["train/dog/1.wav", "train/cat/1.wav", "validation/cat/3.wav", "test/dog/2.wav", "test/cat/2.wav"])
    dataset = Dataset.open(tmp_path)
    assert dataset.labels == ("cat", "dog")
    assert held_out(dataset) == {1: ["test/cat/2.wav", "test/dog/2.wav"]}
    assert len(dataset.folds[1].train) == 3


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    sounds(tmp_path, ["train/1.wav", "wind/1.wav"])
    assert Dataset.open(tmp_path).labels == ("train", "wind")
    sounds(tmp_path / "sub", ["train/1.wav", "test/1.wav"])
    assert Dataset.open(tmp_path / "sub").labels == ("test", "train")


def test_folders_below_a_class_are_groups(tmp_path: Path) -> None:
    sounds(tmp_path, ["dog/monday/1.wav", "dog/monday/2.wav", "dog/tuesday/1.wav", "dog/3.wav", "cat/wav/1.wav"])
    groups = {clip.filename: clip.group for clip in Dataset.open(tmp_path).clips}
    assert groups == {
        "dog/monday/1.wav": "dog/monday",
        "dog/monday/2.wav": "dog/monday",
        "dog/tuesday/1.wav": "dog/tuesday",
        "dog/3.wav": "dog/3",
        "cat/wav/1.wav": "cat/wav/1",
    }


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.wav", "b.wav"], "2 sound files lie in one folder, without labels; expected a folder for each class"),
        (["dog/notes.txt", "cat/x.pdf"], "holds no sound files"),
        (["dog/all.zip"], "dog/all.zip is an archive, which is left out: unpack it"),
        (["sounds.tar"], "sounds.tar is an archive"),
    ],
)
def test_folders_without_classes(tmp_path: Path, names: list[str], message: str) -> None:
    sounds(tmp_path, names)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


def test_an_empty_class_is_a_problem(tmp_path: Path) -> None:
    sounds(tmp_path, ["dog/1.wav", "cat/notes.txt", "stray.wav", "runs/dog/checkpoint.json"])
    dataset = Dataset.open(tmp_path)
    assert dataset.problems == (
        "cat/: holds no sound file; expected recordings of cat: add some, or remove the folder",
    )
    assert "1 sound files beside the folders of the classes are left out, such as stray.wav" in dataset.notes[0]


def test_esc50(tmp_path: Path) -> None:
    rows = [
        ("1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"),
        ("1-100032-B-0.wav", 1, 0, "dog", True, 100032, "B"),
        ("2-5000-A-1.wav", 2, 1, "rooster", False, 5000, "A"),
    ]
    text = "filename,fold,target,category,esc10,src_file,take\n" + "".join(
        ",".join(map(str, row)) + "\n" for row in rows
    )
    sounds(tmp_path, [f"audio/{row[0]}" for row in rows])
    sounds(tmp_path, ["README.md", "LICENSE", "requirements.txt", "tests/test_dataset.py"])
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text(text)
    dataset = Dataset.open(tmp_path)
    assert dataset.layout == "table"
    assert listed(dataset) == {f"audio/{row[0]}": row[3] for row in rows}
    assert [clip.group for clip in dataset.clips] == ["src_file 100032", "src_file 100032", "src_file 5000"]
    assert held_out(dataset) == {
        1: ["audio/1-100032-A-0.wav", "audio/1-100032-B-0.wav"],
        2: ["audio/2-5000-A-1.wav"],
    }
    dataset.check()


def test_urbansound8k(tmp_path: Path) -> None:
    rows = [
        ("100032-3-0-0.wav", 100032, 0.0, 0.317551, 1, 5, 3, "dog_bark"),
        ("100263-2-0-117.wav", 100263, 58.5, 62.5, 1, 5, 2, "children_playing"),
        ("7061-6-0-0.wav", 7061, 12.0, 14.0, 1, 10, 6, "gun_shot"),
    ]
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
    sounds(tmp_path, [f"audio/fold{row[5]}/{row[0]}" for row in rows])
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/UrbanSound8K.csv").write_text(
        header + "".join(",".join(map(str, row)) + "\n" for row in rows)
    )
    dataset = Dataset.open(tmp_path)
    assert dataset.labels == ("children_playing", "dog_bark", "gun_shot")
    assert held_out(dataset) == {
        5: ["audio/fold5/100032-3-0-0.wav", "audio/fold5/100263-2-0-117.wav"],
        10: ["audio/fold10/7061-6-0-0.wav"],
    }
    assert [clip.group for clip in dataset.clips] == ["fsid 100032", "fsid 100263", "fsid 7061"]
    assert all(clip.start == 0.0 and clip.end is None for clip in dataset.clips)  # the slices are files already
    dataset.check()


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na b.wav,dog\nc.wav,cat\n",
        "\ufefffile;label;note\r\na b.wav;dog;x\r\nc.wav;cat;\r\n",
        'File\tClass Name\n"a b.wav"\t"dog"\n"c.wav"\t"cat"\n\n',
        'label, path\ndog, "clips\\a b.wav"\ncat, c.wav\n',
        "fname,category\na b,dog\nc,cat\n",
    ],
)
@pytest.mark.parametrize("name", ["labels.csv", "meta.csv", "clips/list.tsv"])
def test_tables_of_any_form(tmp_path: Path, text: str, name: str) -> None:
    sounds(tmp_path, ["clips/a b.wav", "clips/c.wav", "clips/unlisted.wav"])
    (tmp_path / name).write_bytes(text.encode())
    dataset = Dataset.open(tmp_path)
    assert listed(dataset) == {"clips/a b.wav": "dog", "clips/c.wav": "cat"}
    assert dataset.notes == ("1 sound files that no table lists are left out, such as clips/unlisted.wav",)


def test_a_table_of_a_spreadsheet_in_utf16(tmp_path: Path) -> None:
    sounds(tmp_path, ["a.wav", "b.wav"])
    (tmp_path / "list.csv").write_bytes("file\tlabel\na.wav\tVögel\nb.wav\tnoise\n".encode("utf-16"))
    assert listed(Dataset.open(tmp_path)) == {"a.wav": "Vögel", "b.wav": OTHER}


def test_tables_of_a_split(tmp_path: Path) -> None:
    sounds(tmp_path, ["a.wav", "b.wav", "c.wav"])
    (tmp_path / "train.csv").write_text("file,label\na.wav,dog\nb.wav,cat\n")
    (tmp_path / "test.csv").write_text("file,label\nc.wav,cat\n")
    assert held_out(Dataset.open(tmp_path)) == {1: ["c.wav"]}
    (tmp_path / "more.csv").write_text("file,label\nc.wav,cat\n")
    with pytest.raises(DatasetError, match=r"3 tables list its files: more\.csv, test\.csv, train\.csv"):
        Dataset.open(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,kind\na.wav,dog\n", "has no column of labels, or no rows; got the columns file, kind"),
        ("id,label\n1,dog\n", "has no column of file names"),
        ("file,label\nx.wav,dog\n", r"lists 1 files, none of which is in .*, such as x\.wav"),
        ("file,label\na.wav,dog,cat\n", "has 3 cells; expected the 2 of the first line"),
        (b"file,label\na.wav,V\xf6gel\n", "is not UTF-8 text"),
    ],
)
def test_tables_that_do_not_fit(tmp_path: Path, text: str | bytes, message: str) -> None:
    sounds(tmp_path, ["a.wav"])
    (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


def test_what_is_wrong_within_a_table(tmp_path: Path) -> None:
    sounds(tmp_path, ["a.wav", "b.wav"])
    (tmp_path / "labels.csv").write_text("file,label\na.wav,dog\na.wav,cat\n,dog\nb.wav,\nlost.wav,dog\n")
    dataset = Dataset.open(tmp_path)
    assert dataset.problems == (
        "labels.csv:4: names no file; expected one in the column file",
        "a.wav: is listed with the labels dog, cat; expected one label for each file",
    )
    with pytest.raises(DatasetError) as caught:
        dataset.check()
    assert "b.wav has no label" in str(caught.value)
    assert "lost.wav: no such file" in str(caught.value)


def test_a_table_about_something_else(tmp_path: Path) -> None:
    sounds(tmp_path, ["dog/a.wav", "cat/b.wav"])
    (tmp_path / "notes.csv").write_text("file,comment\na.wav,loud\n")
    assert Dataset.open(tmp_path).layout == "folders"


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_audiofolder(tmp_path: Path, suffix: str) -> None:
    sounds(tmp_path, ["train/a.wav", "train/b.wav", "test/c.wav"])
    rows = {"train": [("a.wav", "dog"), ("b.wav", "cat")], "test": [("c.wav", "cat")]}
    for part, pairs in rows.items():
        lines = (
            ["file_name,label", *map(",".join, pairs)]
            if suffix == "csv"
            else [json.dumps({"file_name": file, "label": label}) for file, label in pairs]
        )
        (tmp_path / part / f"metadata.{suffix}").write_text("\n".join(lines) + "\n")
    dataset = Dataset.open(tmp_path)
    assert dataset.layout == "audiofolder"
    assert listed(dataset) == {"train/a.wav": "dog", "train/b.wav": "cat", "test/c.wav": "cat"}
    assert held_out(dataset) == {1: ["test/c.wav"]}


def test_audiofolder_with_one_table(tmp_path: Path) -> None:
    sounds(tmp_path, ["train/a.wav", "test/a.wav"])
    (tmp_path / "metadata.csv").write_text("file_name,label,speaker\ntrain/a.wav,dog,ann\ntest/a.wav,cat,ben\n")
    dataset = Dataset.open(tmp_path)
    assert held_out(dataset) == {1: ["test/a.wav"]}
    assert dataset.columns["speaker"] == {"train/a.wav": "ann", "test/a.wav": "ben"}


@pytest.mark.parametrize("line", ["{", "[1]"])
def test_lines_that_are_not_objects(tmp_path: Path, line: str) -> None:
    sounds(tmp_path, ["a.wav"])
    (tmp_path / "metadata.jsonl").write_text(line + "\n")
    with pytest.raises(DatasetError, match=r"metadata\.jsonl:1: .*expected one object in each line"):
        Dataset.open(tmp_path)


def test_the_tau_layout_comes_first(tmp_path: Path) -> None:
    sounds(tmp_path, ["dog/a.wav", "cat/b.wav"])
    (tmp_path / "meta.csv").write_text("filename\tscene_label\ndog/a.wav\tx\ncat/b.wav\ty\n")
    (tmp_path / "labels.csv").write_text("file,label\na.wav,z\n")
    assert Dataset.open(tmp_path).layout == "tau"
    (tmp_path / "meta.csv").unlink()
    assert Dataset.open(tmp_path).layout == "table"
    (tmp_path / "labels.csv").unlink()
    assert Dataset.open(tmp_path).layout == "folders"


class Rows:
    """What `datasets.Dataset` looks like from here."""

    def __init__(self, labels: list[Any], names: list[str] | None) -> None:
        kind = type("Feature", (), {"names": names} if names else {})
        self.features = {"audio": object(), "label": kind}
        self._labels = labels

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Any:
        for number, label in enumerate(self._labels):
            sound = {"array": np.full((2, 400 + number), 0.5), "sampling_rate": 8000, "path": None}
            yield {"audio": sound, "label": label}


def test_data_sets_of_hugging_face(tmp_path: Path) -> None:
    parts = {"train": Rows([0, 1], ["cat", "noise"]), "test": Rows([1], ["cat", "noise"])}
    dataset = write_rows(parts, tmp_path / "written")
    assert listed(dataset) == {"train/000000.wav": "cat", "train/000001.wav": OTHER, "test/000000.wav": OTHER}
    assert held_out(dataset) == {1: ["test/000000.wav"]}
    assert audio.measure(dataset.path(dataset.clips[1])) == audio.Measures(401 / 8000, 8000, 1)
    plain = write_rows(Rows(["dog", "cat"], None), tmp_path / "plain")
    assert (plain.labels, dict(plain.folds)) == (("cat", "dog"), {})
    with pytest.raises(DatasetError, match="is not empty"):
        write_rows(parts, tmp_path / "plain")
    with pytest.raises(DatasetError, match="has no column sound; got audio, label"):
        write_rows(parts, tmp_path / "third", columns=("sound", "label"))
