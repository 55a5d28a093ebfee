from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edge_asc import audio
from edge_asc.data.dataset import Clip, Dataset, list_layouts
from edge_asc.data.layouts.tau import TAU_LABELS
from edge_asc.data.split import group_split
from edge_asc.errors import SHOWN, DatasetError

META = """filename\tscene_label\tidentifier\tsource_label
audio/a-1.wav\tsea\tone\ta
audio/a-2.wav\tsea\tone\tb
audio/b-1.wav\tbar\ttwo\ta
audio/b-2.wav\tbar\tthree\ta
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / "meta.csv", META)
    write(
        tmp_path / "evaluation_setup/fold1_train.csv",
        "filename\tscene_label\naudio/b-1.wav\tbar\naudio/a-2.wav\tsea\naudio/a-1.wav\tsea\n",
    )
    write(tmp_path / "evaluation_setup/fold1_evaluate.csv", "filename\tscene_label\naudio/b-2.wav\tbar\n")
    write(tmp_path / "evaluation_setup/fold1_test.csv", "filename\naudio/b-2.wav\n")
    for name in ("a-1", "a-2", "b-1", "b-2"):
        audio.write(tmp_path / f"audio/{name}.wav", np.zeros(800, np.float32))
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def names(clips: tuple[Clip, ...]) -> list[str]:
    return [clip.filename for clip in clips]


def test_open(root: Path) -> None:
    dataset = Dataset.open(root)
    assert dataset.name == root.name
    assert dataset.labels == ("bar", "sea")
    assert dataset.clips[1] == Clip("audio/a-2.wav", "sea", "one", "b")
    assert tuple(dataset.folds) == (1,)
    assert names(dataset.split(1, "train")) == ["audio/b-1.wav", "audio/a-2.wav", "audio/a-1.wav"]
    assert names(dataset.split(1, "evaluate")) == ["audio/b-2.wav"]
    assert dataset.path(dataset.clips[0]) == root / "audio/a-1.wav"
    dataset.check()


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    write(
        tmp_path / "meta.csv",
        '\ufeffnote\tsource_label \tscene_label\tfilename\r\n"\tc\tbus\taudio/"5 o\'clock".wav\r\n\r\n',
    )
    (clip,) = Dataset.open(tmp_path).clips
    assert clip == Clip('audio/"5 o\'clock".wav', "bus", 'audio/"5 o\'clock"', "c")


@pytest.mark.parametrize(
    ("filename", "group"),
    [
        ("audio/metro_station-paris-17-103-a.wav", "paris-17"),
        ("audio/metro_station-lisbon-1000-40000-0-s2.wav", "lisbon-1000"),
        ("audio/metro_station 3.wav", "audio/metro_station 3"),
    ],
)
def test_group_without_identifier(tmp_path: Path, filename: str, group: str) -> None:
    write(tmp_path / "meta.csv", f"filename\tscene_label\n{filename}\tmetro_station\n")
    assert Dataset.open(tmp_path).clips == (Clip(filename, "metro_station", group, ""),)


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("TAU-urban-acoustic-scenes-2019-development", "tau2019"),
        ("TAU-urban-acoustic-scenes-2020-mobile-development", "tau2020-mobile"),
        ("TAU-urban-acoustic-scenes-2022-mobile-development", "tau2022-mobile"),
        ("tau2019", "tau2019"),
        ("TAU-urban-acoustic-scenes-2019-mobile-development", None),
        ("restaurants2019", None),
    ],
)
def test_guessed_name(tmp_path: Path, folder: str, name: str | None) -> None:
    write(tmp_path / folder / "meta.csv", "filename\tscene_label\naudio/bus-x-1-2-a.wav\tbus\n")
    dataset = Dataset.open(tmp_path / folder)
    assert dataset.name == (name or folder)
    assert dataset.labels == (TAU_LABELS if name else ("bus",))


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        ("", "no column filename or scene_label; got an empty file"),
        ("filename\tscene_label\n", "lists no clips"),
        ("filename\tlabel\nx.wav\tbus\n", "no column scene_label; got filename, label; expected at least"),
        ("filename,scene_label\nx.wav,bus\n", "separated by commas; expected tabs"),
        (
            "filename\tscene_label\nx.wav\t\udce9".encode("utf-8", "surrogateescape"),
            "not tab-separated UTF-8",
        ),
    ],
)
def test_bad_meta(tmp_path: Path, meta: str | bytes, message: str) -> None:
    (tmp_path / "evaluation_setup").mkdir()  # only the TAU layout has it
    (tmp_path / "meta.csv").write_bytes(meta if isinstance(meta, bytes) else meta.encode())
    with pytest.raises(DatasetError, match=message):
        Dataset.open(tmp_path)


def test_a_folder_without_meta(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no such folder; expected the folder of a data set"):
        Dataset.open(tmp_path / "absent")
    with pytest.raises(DatasetError) as caught:
        Dataset.open(tmp_path)
    lines = str(caught.value).splitlines()
    assert "not a data set in a known layout" in lines[0]
    assert lines[1:] == [f"  {layout.title}: {layout.expects}" for layout in list_layouts()]
    assert any("TAU Urban Acoustic Scenes: meta.csv" in line for line in lines)
    (tmp_path / "evaluation_setup").mkdir()
    with pytest.raises(DatasetError, match=r"meta\.csv: cannot be read \(No such file"):
        Dataset.open(tmp_path)


def test_foreign_label_under_a_tau_name(root: Path) -> None:
    named = root.rename(root.parent / "tau2019")
    with pytest.raises(DatasetError, match="labels bar, sea are not among those of tau2019"):
        Dataset.open(named)


def test_unknown_fold(root: Path) -> None:
    with pytest.raises(DatasetError, match="no fold 2; this data set has: 1"):
        Dataset.open(root).split(2, "train")


def test_fold_naming_an_unknown_clip(root: Path) -> None:
    write(root / "evaluation_setup/fold1_evaluate.csv", "filename\naudio/z.wav\n")
    with pytest.raises(DatasetError, match=r"fold1_evaluate\.csv: names 1 clips that meta\.csv lacks"):
        Dataset.open(root).split(1, "evaluate")


def test_check_lists_everything_at_once(root: Path) -> None:
    write(root / "meta.csv", META + "audio/b-2.wav\tbar\tthree\ta\naudio/c.wav\t\tc\ta\n../d.wav\tbar\td\ta\n")
    write(
        root / "evaluation_setup/fold1_evaluate.csv",
        "filename\tscene_label\naudio/a-2.wav\tsea\naudio/b-2.wav\tsea\naudio/b-2.wav\tbar\nz.wav\tbar\n",
    )
    write(root / "evaluation_setup/fold2_train.csv", "filename\tscene_label\naudio/b-1.wav\tbar\n")
    write(root / "audio/b-1.wav", "no audio")
    whole = (root / "audio/a-1.wav").read_bytes()
    (root / "audio/a-1.wav").write_bytes(whole[:900])
    with pytest.raises(DatasetError) as caught:
        Dataset.open(root).check()
    first, *problems, advice = str(caught.value).splitlines()
    assert first == f"{root}: problems found ({len(problems)}):"
    assert advice.startswith("Repair")
    expected = [
        "audio/b-2.wav is listed 2 times",
        "audio/c.wav has no label",
        "fold1_evaluate.csv:3: audio/b-2.wav is 'sea' here and 'bar' in meta.csv",
        "fold1_evaluate.csv:4: audio/b-2.wav is listed twice",
        "fold1_evaluate.csv:5: z.wav is not in meta.csv",
        "fold2_evaluate.csv: cannot be read",
        "fold 1: group one is in both train and evaluate",
        "audio/a-1.wav: is truncated",
        "audio/b-1.wav: cannot be decoded",
        "audio/c.wav: no such file",
        "'../d.wav': not a path inside the data set",
    ]
    assert len(problems) == len(expected)
    for problem, text in zip(problems, expected, strict=True):
        assert text in problem


def test_check_caps_the_list(root: Path) -> None:
    rows = "".join(f"audio/missing-{i}.wav\tbar\t{i}\ta\n" for i in range(SHOWN + 7))
    write(root / "meta.csv", META + rows)
    with pytest.raises(DatasetError) as caught:
        Dataset.open(root).check()
    lines = str(caught.value).splitlines()
    assert f"({SHOWN + 7})" in lines[0]
    assert sum("no such file" in line for line in lines) == SHOWN
    assert lines[-2] == "  and 7 more"


CREDITS = """scene_label\tfilename\tlicence\tauthor\tfreesound_url
sea\taudio/a-1.wav\tCC0\tann\thttp://a
sea\taudio/a-2.wav\tCC-BY-NC\tbob\thttp://b
bar\taudio/b-1.wav\t\t\t
"""


def test_credits(root: Path) -> None:
    write(root / "credits.csv", CREDITS)
    dataset = Dataset.open(root)
    credit = dataset.credits["audio/a-1.wav"]
    assert (credit.licence, credit.author, credit.url) == ("CC0", "ann", "http://a")
    assert names(dataset.licensed(dataset.clips, {"CC0", "CC-BY"})) == ["audio/a-1.wav"]
    assert names(dataset.licensed(dataset.clips, {"CC0", "CC-BY-NC", ""})) == [
        "audio/a-1.wav",
        "audio/a-2.wav",
    ]
    with pytest.raises(DatasetError, match="no clip has the licence CC-0; this data set has: CC-BY-NC, CC0"):
        dataset.licensed(dataset.clips, ["CC-0"])


def test_bad_credits(root: Path) -> None:
    dataset = Dataset.open(root)
    assert dataset.credits == {}
    with pytest.raises(DatasetError, match="no clip has the licence CC0; this data set has: no licences at all"):
        dataset.licensed(dataset.clips, ["CC0"])
    write(root / "credits.csv", CREDITS + "sea\taudio/a-1.wav\tCC-BY\tann\thttp://a\n")
    with pytest.raises(DatasetError, match=r"credits\.csv:5: audio/a-1\.wav is listed twice"):
        Dataset.open(root)


def clips_in_groups(sizes: dict[str, list[int]]) -> list[Clip]:
    return [
        Clip(f"{label}-{group}-{i}.wav", label, f"{label}-{group}", "")
        for label, groups in sizes.items()
        for group, size in enumerate(groups)
        for i in range(size)
    ]


def test_unrelated_clips(root: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(root)
    clips = dataset.clips
    assert dataset.unrelated(clips, dataset, clips[:1]) == tuple(c for c in clips if c.group != clips[0].group)
    names = [f"{clip.filename}\tCC0\tauthor {i}" for i, clip in enumerate(clips)]
    names[-1] = f"{clips[-1].filename}\tCC0\tauthor 0"
    (root / "credits.csv").write_text("\n".join(["filename\tlicence\tauthor", *names]) + "\n")
    dataset = Dataset.open(root)
    apart = dataset.unrelated(clips, dataset, clips[:1])
    assert apart == tuple(c for c in clips[:-1] if c.group != clips[0].group)


def test_group_split() -> None:
    clips = clips_in_groups({"bar": [1, 8, 3, 2, 2, 1, 1, 2], "sea": [2] * 10, "fog": [40, 3], "one": [5]})
    held_out: set[tuple[Clip, ...]] = set()
    for seed in range(20):
        train, validation = group_split(clips, 0.2, seed)
        assert sorted(train + validation, key=clips.index) == clips
        assert list(validation) == sorted(validation, key=clips.index)
        assert not {clip.group for clip in train} & {clip.group for clip in validation}
        counts = Counter(clip.label for clip in validation)
        assert 2 <= counts["bar"] <= 6
        assert counts["sea"] == 4
        assert counts["fog"] == 3
        assert counts["one"] == 0
        held_out.add(validation)
        again = group_split(clips[::-1], 0.2, seed)
        assert set(again[1]) == set(validation)
    assert len(held_out) > 10


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_group_split_refuses_fraction(fraction: float) -> None:
    with pytest.raises(DatasetError, match="more than 0 and less than 1"):
        group_split(clips_in_groups({"sea": [1, 1]}), fraction, 0)


def test_group_split_refuses_single_groups() -> None:
    with pytest.raises(DatasetError, match="no label has two groups"):
        group_split(clips_in_groups({"sea": [4], "bar": [3]}), 0.2, 0)


def test_real_recordings(scenes10: Path) -> None:
    dataset = Dataset.open(scenes10)
    dataset.check()
    assert (len(dataset.clips), len(dataset.labels), tuple(dataset.folds)) == (319, 10, (1, 2, 3, 4))
    evaluated = [clip for fold in dataset.folds for clip in dataset.split(fold, "evaluate")]
    assert sorted(names(tuple(evaluated))) == sorted(names(dataset.clips))
    free = dataset.licensed(dataset.clips, {"CC0", "CC-BY"})
    unlicensed = {name for name, credit in dataset.credits.items() if not credit.licence}
    assert len(unlicensed) == 1
    assert 0 < len(free) < 319
    assert not unlicensed & set(names(free))
    _, validation = group_split(dataset.split(1, "train"), 0.15, 0)
    assert set(dataset.labels) == {clip.label for clip in validation}


def test_tables_quoted_as_r_writes_them(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text(
        '"filename"\t"scene_label"\t"identifier"\n"audio/a \\"1\\".wav"\t"park"\t"x"\n"audio/b.wav"\t"bus"\t"y"\n'
    )
    clips = Dataset.open(tmp_path).clips
    assert [(clip.filename, clip.label, clip.group) for clip in clips] == [
        ('audio/a "1".wav', "park", "x"),
        ("audio/b.wav", "bus", "y"),
    ]


def test_tables_of_another_form_name_the_reason(tmp_path: Path) -> None:
    (tmp_path / "evaluation_setup").mkdir()
    (tmp_path / "meta.csv").write_text("filename;scene_label\na.wav;bus\n")
    with pytest.raises(DatasetError, match="separated by semicolons"):
        Dataset.open(tmp_path)
    (tmp_path / "meta.csv").write_text('"filename"\t"scene_label"\n"1"\t"a.wav"\t"bus"\n')
    with pytest.raises(DatasetError, match="write the file without row names"):
        Dataset.open(tmp_path)


def test_tables_written_on_windows(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_bytes(b"\xef\xbb\xbffilename\tscene_label\r\naudio\\a.wav\tbus\r\n")
    assert [clip.filename for clip in Dataset.open(tmp_path).clips] == ["audio/a.wav"]


def test_names_with_composed_and_decomposed_accents_are_one(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("filename\tscene_label\nStra\u00dfe Caf\u00e9.wav\tbus\n")
    audio.write(tmp_path / "Stra\u00dfe Cafe\u0301.wav", np.zeros(800, np.float32))
    dataset = Dataset.open(tmp_path)
    dataset.check()
    assert dataset.path(dataset.clips[0]).exists()


def test_files_of_one_name_in_two_folders_are_two_recordings(tmp_path: Path) -> None:
    (tmp_path / "meta.csv").write_text("filename\tscene_label\nbus/rec 12.wav\tbus\npark/rec 12.wav\tpark\n")
    assert [clip.group for clip in Dataset.open(tmp_path).clips] == ["bus/rec 12", "park/rec 12"]
