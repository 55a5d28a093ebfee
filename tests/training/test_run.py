from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.dataset import OTHER, Credit
from edge_asc.data.generated import write_scenes
from edge_asc.errors import EdgeAscError
from edge_asc.evaluation.document import HELD_OUT
from edge_asc.frontend import FrontEnd
from edge_asc.models import ModelConfig
from edge_asc.training.card import card
from edge_asc.training.card import credits as list_credits
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.training.leakage import trained_on
from edge_asc.training.listener import Listener
from edge_asc.training.material import OtherSounds
from edge_asc.training.recipe import PAPER, STAGED
from edge_asc.training.run import Run, cross_validate, fit, train
from edge_asc.training.scoring import LEVELS
from edge_asc.training.state import STATE

RECIPE = STAGED.override(
    {
        "trunk.epochs": 1,
        "trunk.batch": 20,
        "trunk.frames": [16, 24],
        "trunk.long_share": 0,
        "head.epochs": 1,
        "head.views": 1,
        "head.frames": [24, 24],
    }
)
WHOLE = PAPER.override({"epochs": 1, "batch": 20, "frames": [16, 24]})


def recorded(*given: Any) -> dict[str, Any]:
    given[-1].note("recorded")  # reports its progress
    return {"recorded": len(given[2])}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Dataset, FeatureCache]:
    folder = tmp_path_factory.mktemp("run")
    dataset = write_scenes(folder / "data", 2, 0, seconds=1.0, folds=2)
    return dataset, FeatureCache(folder / "cache", FrontEnd())


def run_of(dataset: Dataset, output: Path, **options: Any) -> Run:
    chosen = {k: options.pop(k) for k in ("form", "head", "auxiliary") if k in options}
    config = ModelConfig(classes=len(dataset.labels) + ("other" in options), **chosen)
    return Run(dataset, config, options.pop("recipe", RECIPE), output, name="tiny", **options)


def test_cross_validation_judges_every_clip_once_by_a_model_that_has_not_seen_it(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    run = run_of(dataset, tmp_path / "cv")
    final = cross_validate(run, cache, Listener(), resume=False, record=recorded)
    assert set(final.evaluation["levels_db"]) == {str(level) for level in LEVELS}
    assert final.evaluation["levels_db"]["0"]["lengths"][0]["count"] == len(dataset.clips)
    assert "2 folds pooled" in final.evaluation["protocol"]
    assert final.quantisation == {"recorded": 16}  # the fewest: the training was short
    assert final.training["clips"] == len(dataset.clips)
    for fold in (1, 2):
        part = Checkpoint.load(tmp_path / f"cv/fold{fold}")
        held_out = [clip.filename for clip in dataset.split(fold, "evaluate")]
        assert part.name == f"tiny-fold{fold}"
        assert trained_on(part.training, held_out) == 0
        assert trained_on(final.training, held_out) == len(held_out)
        assert part.quantisation == {}
        document = json.loads((tmp_path / f"cv/fold{fold}" / HELD_OUT).read_text())
        assert {clip["file"] for clip in document["predictions"][0]["clips"]} == set(held_out)
    assert not list((tmp_path / "cv").rglob(STATE))
    document = json.loads((tmp_path / "cv" / HELD_OUT).read_text())
    (predictions,) = document["predictions"]
    assert predictions["held_out"]
    assert predictions["temperature"] == final.temperature
    judged = {clip["file"]: clip["fold"] for clip in predictions["clips"]}
    assert judged == {clip.filename: fold for fold in (1, 2) for clip in dataset.split(fold, "evaluate")}
    assert json.loads(json.dumps(predictions["confusions"])) == json.loads(json.dumps(final.evaluation["confusions"]))
    assert (tmp_path / "cv" / document["folder"]).resolve() == dataset.root.resolve()
    assert dataset.clips[0].filename not in (tmp_path / "cv/checkpoint.json").read_text()  # it is published

    again = cross_validate(run, cache, Listener(), resume=True, record=recorded)
    assert again.evaluation == final.evaluation
    text = card(final)
    assert "| 0 dB, %" in text
    assert "| -30 dB |" in text
    assert "the expected calibration error is" in text
    assert "Stages: trunk (1 epochs, muon), then head (1 epochs, adamw)." in text
    assert final.unknown is None
    assert final.temperature == pytest.approx(final.evaluation["calibration"]["temperature"], abs=1e-3)
    assert set(final.evaluation["calibration"]) == {
        "temperature",
        "ece_before",
        "ece_after",
        "nll_before",
        "nll_after",
    }

    taught = run_of(dataset, tmp_path / "student", teachers=(tmp_path / "cv",), initial=tmp_path / "cv", fold=1)
    assert taught.of_same_fold(tmp_path / "cv") == tmp_path / "cv/fold1"
    student = train(taught, cache, Listener(), resume=False, record=recorded)
    assert student.front_end == Checkpoint.load(tmp_path / "cv/fold1").front_end
    assert student.training["teachers"] == ["cv"]


def test_pretraining_has_not_seen_what_the_other_data_set_holds_out(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    wide = write_scenes(tmp_path / "wide", 2, 0, seconds=1.0, folds=2)
    wide = replace(wide, name="wide", labels=(*wide.labels, "zoo"))
    pretrained = run_of(wide, tmp_path / "pre", folds_of=dataset)
    final = cross_validate(pretrained, cache, Listener(), resume=False, record=recorded)
    assert final.evaluation == {}
    assert final.training["clips"] == len(wide.clips)
    for fold in (1, 2):
        part = Checkpoint.load(tmp_path / f"pre/fold{fold}")
        assert trained_on(part.training, [clip.filename for clip in dataset.split(fold, "evaluate")]) == 0
        assert trained_on(part.training, [clip.filename for clip in dataset.split(fold, "train")]) > 0
    tuned = train(
        run_of(dataset, tmp_path / "tuned", initial=tmp_path / "pre", fold=1),
        cache,
        Listener(),
        resume=False,
        record=recorded,
    )
    assert tuned.labels == dataset.labels
    assert tuned.front_end == Checkpoint.load(tmp_path / "pre/fold1").front_end
    heard = {"name": "pre", "data": "wide", "clips": tuned.training["clips"], "licences": []}
    assert tuned.training["before"] == [heard]
    again = train(
        run_of(dataset, tmp_path / "again", initial=tmp_path / "tuned", fold=1),
        cache,
        Listener(),
        resume=False,
        record=recorded,
    )
    assert [earlier["name"] for earlier in again.training["before"]] == ["tuned", "pre"]
    assert f"; started from pre ({tuned.training['clips']} clips of wide)" in card(again)


def test_a_finished_or_interrupted_training_is_not_overwritten(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    run = run_of(dataset, tmp_path / "model", fold=1)

    class Interrupted(Listener):
        def ended(self, epoch: Any) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(run, cache, Interrupted(), resume=False, record=recorded)
    assert (tmp_path / "model" / STATE).exists()
    with pytest.raises(EdgeAscError, match="holds an interrupted training; add --resume"):
        train(run, cache, Listener(), resume=False, record=recorded)
    resumed = train(run, cache, Listener(), resume=True, record=recorded)
    with pytest.raises(EdgeAscError, match="holds a checkpoint already"):
        train(run, cache, Listener(), resume=False, record=recorded)
    whole = train(replace(run, output=tmp_path / "whole"), cache, Listener(), resume=False, record=recorded)
    pairs = zip(resumed.model.state_dict().values(), whole.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_windowed_model_is_evaluated_on_windows(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    run = run_of(dataset, tmp_path / "windowed", form="windowed", fold=2, decision="last", recipe=WHOLE)
    found = train(run, cache, Listener(), resume=False, record=recorded).evaluation["levels_db"]["0"]
    assert [row["seconds"] for row in found["lengths"]] == [1]
    assert found["lengths"][0]["count"] == len(dataset.split(2, "evaluate"))


def test_a_baseline_is_saved_without_evaluation(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    run = run_of(dataset, tmp_path / "gap", head="gap", auxiliary=False, fold=1, recipe=WHOLE)
    found = train(run, cache, Listener(), resume=False, record=recorded)
    assert found.evaluation == {}
    assert found.quantisation == {}
    assert "Not evaluated on held-out clips" in card(found)
    with pytest.raises(EdgeAscError, match="needs a model that streams"):
        cross_validate(run_of(dataset, tmp_path / "x", head="gap"), cache, Listener(), resume=False, record=recorded)


def test_credits_and_licences(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    credits = {
        clip.filename: Credit("CC0" if i % 4 else "CC-BY-NC", f"author {i % 3}", f"http://example.invalid/{i}/")
        for i, clip in enumerate(dataset.clips)
    }
    run = run_of(replace(dataset, credits=credits), tmp_path / "licensed", licences=("CC0",))
    checkpoint = train(run, cache, Listener(), resume=False, record=recorded)
    assert checkpoint.training["clips"] == 15
    assert "[CREDITS.md](CREDITS.md)" in card(checkpoint)
    text = list_credits(checkpoint)
    assert "## CC0 (15 recordings)" in text
    assert "CC-BY-NC" not in text
    assert "- author 1: [" in text
    assert json.loads((tmp_path / "licensed/checkpoint.json").read_text())["training"]["licences"] == ["CC0"]


@pytest.mark.parametrize("use", ["initial", "teachers"])
def test_what_was_trained_on_the_held_out_clips_is_not_built_on(data: Any, tmp_path: Path, use: str) -> None:
    dataset, cache = data
    train(run_of(dataset, tmp_path / "all"), cache, Listener(), resume=False, record=recorded)
    path: Any = tmp_path / "all" if use == "initial" else (tmp_path / "all",)
    with pytest.raises(EdgeAscError, match=r"was trained on 10 of the 10 clips that fold 1 holds out"):
        train(
            run_of(dataset, tmp_path / "one", fold=1, **{use: path}), cache, Listener(), resume=False, record=recorded
        )
    assert not (tmp_path / "one").exists()
    taught = run_of(dataset, tmp_path / "pupil", teachers=(tmp_path / "all",))
    pupil = train(taught, cache, Listener(), resume=False, record=recorded)
    names = [clip.filename for clip in dataset.clips]
    assert "clips_seen_by_teachers" in pupil.training or pupil.training["clips_seen"]
    assert trained_on(pupil.training, names) == len(names)


def test_a_recording_on_both_sides_of_a_fold_is_an_error(data: Any, tmp_path: Path) -> None:
    """Under two names, in two data sets: the folds of one are followed while the other is trained on."""
    dataset, cache = data
    shutil.copytree(dataset.root, tmp_path / "copy")
    renamed = []
    for i, clip in enumerate(dataset.clips):
        name = f"audio/renamed-{i}.wav"
        (tmp_path / "copy" / clip.filename).rename(tmp_path / "copy" / name)
        renamed.append(replace(clip, filename=name, group=f"renamed {i}"))
    copy = replace(dataset, root=tmp_path / "copy", clips=tuple(renamed))
    run = run_of(copy, tmp_path / "one", fold=1, folds_of=dataset)
    with pytest.raises(EdgeAscError, match=r"10 of the 10 recordings that fold 1 holds out are trained on under ano"):
        train(run, cache, Listener(), resume=False, record=recorded)
    train(run_of(copy, tmp_path / "all"), cache, Listener(), resume=False, record=recorded)
    run = run_of(dataset, tmp_path / "two", fold=1, initial=tmp_path / "all")
    with pytest.raises(EdgeAscError, match=r"was trained on 10 of the 10 clips that fold 1 holds out"):
        train(run, cache, Listener(), resume=False, record=recorded)


def test_what_is_left_out_is_neither_trained_on_nor_built_on(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    test = replace(dataset, name="test", clips=dataset.clips[:2])
    trained = train(run_of(dataset, tmp_path / "one", left_out=test), cache, Listener(), resume=False, record=recorded)
    assert trained_on(trained.training, [clip.filename for clip in test.clips]) == 0
    groups = {clip.group for clip in test.clips}
    assert trained.training["clips"] == sum(clip.group not in groups for clip in dataset.clips)
    assert "no recording and no author of the 2 clips of test" in card(trained)
    train(run_of(dataset, tmp_path / "all"), cache, Listener(), resume=False, record=recorded)
    built = run_of(dataset, tmp_path / "two", initial=tmp_path / "all", left_out=test)
    with pytest.raises(EdgeAscError, match=r"was trained on 2 of the 2 clips that --leave-out names"):
        train(built, cache, Listener(), resume=False, record=recorded)


def test_a_pupil_credits_the_clips_of_its_teacher(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    teacher = train(run_of(dataset, tmp_path / "teacher"), cache, Listener(), resume=False, record=recorded)
    heard = {"CC-BY": {"somebody": ["http://example.invalid/1/"]}}
    replace(teacher, training={**teacher.training, "credits": heard}).save(tmp_path / "teacher")
    taught = run_of(dataset, tmp_path / "pupil", teachers=(tmp_path / "teacher",))
    pupil = train(taught, cache, Listener(), resume=False, record=recorded)
    assert pupil.training["credits"] == heard
    assert "- somebody: [1](http://example.invalid/1/)" in list_credits(pupil)


def test_a_trunk_alone_is_not_evaluated(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    notes: list[str] = []

    class Notes(Listener):
        def note(self, text: str) -> None:
            notes.append(text)

    run = run_of(dataset, tmp_path / "trunk", fold=1, recipe=RECIPE.only(("trunk",)))
    trunk = train(run, cache, Notes(), resume=False, record=recorded)
    assert (trunk.evaluation, trunk.quantisation) == ({}, {})
    assert any("no stage has trained the head" in note for note in notes)
    head = run_of(dataset, tmp_path / "head", fold=1, recipe=RECIPE.only(("head",)), initial=tmp_path / "trunk")
    final = train(head, cache, Notes(), resume=False, record=recorded)
    assert final.evaluation["levels_db"]["0"]["lengths"]
    for name, value in trunk.model.state_dict().items():
        assert torch.equal(value, final.model.state_dict()[name]) != name.startswith(("gru", "output"))


def test_a_linear_head_gives_its_rows_to_a_recurrent_one(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    linear = run_of(dataset, tmp_path / "linear", head="linear", fold=1, recipe=RECIPE.without_head())
    trunk = train(linear, cache, Listener(), resume=False, record=recorded)
    assert trunk.evaluation["levels_db"]["0"]["lengths"]  # a model of its own
    ten = replace(dataset, labels=tuple(reversed(dataset.labels)))
    run = run_of(ten, tmp_path / "gru", fold=1, recipe=RECIPE.only(("head",)), initial=tmp_path / "linear")
    head = train(run, cache, Listener(), resume=False, record=recorded)
    expected = trunk.model.state_dict()["output.weight"].flip(0)
    assert torch.equal(head.model.state_dict()["auxiliary.weight"], expected)


def test_new_labels_are_learned_beside_known_ones(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    trunk_recipe = RECIPE.without_head()
    train(
        run_of(dataset, tmp_path / "wide", head="linear", recipe=trunk_recipe),
        cache,
        Listener(),
        resume=False,
        record=recorded,
    )
    labels = (*dataset.labels[:4], "quarry")
    clips = tuple(
        replace(clip, label="quarry" if clip.label == dataset.labels[9] else clip.label)
        for clip in dataset.clips
        if clip.label in dataset.labels[:4] or clip.label == dataset.labels[9]
    )
    own = replace(dataset, labels=labels, clips=clips)
    head = RECIPE.only(("head",)).for_linear_head()
    run = run_of(own, tmp_path / "own", head="linear", recipe=head, initial=tmp_path / "wide")
    found = train(run, cache, Listener(), resume=False, record=recorded).model.state_dict()
    start = Checkpoint.load(tmp_path / "wide").model.state_dict()
    assert torch.equal(found["output.weight"][:4], start["output.weight"][:4])
    assert not torch.equal(found["output.weight"][4], start["output.weight"][9])
    assert all(torch.equal(value, found[name]) for name, value in start.items() if not name.startswith("output"))


def test_foreign_sounds_become_the_label_other(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    labels = dataset.labels
    few = replace(dataset, labels=labels[:8], clips=tuple(clip for clip in dataset.clips if clip.label in labels[:8]))
    sounds = OtherSounds(dataset, (labels[9],), synthetic=1)
    run = run_of(few, tmp_path / "other", other=sounds)
    assert run.labels == (*labels[:8], OTHER)
    found = train(run, cache, Listener(), resume=False, record=recorded)
    assert found.labels == run.labels
    assert found.training["per_class"][OTHER] == 2 + 6  # two clips of the ninth label, one of each synthetic kind
    assert found.training["other"] == {"data": dataset.name, "excluded": [labels[9]], "synthetic": 1}
    assert {clip.label for clip in run.held_out_foreign()} == {labels[9]}
    seen = [clip.filename for clip in dataset.clips if clip.label == labels[9]]
    assert trained_on(found.training, seen) == 0
    with pytest.raises(EdgeAscError, match="has no label nonsense to keep back"):
        OtherSounds(dataset, ("nonsense",))
    with pytest.raises(EdgeAscError, match="none is left for other"):
        sounds.foreign(dataset)


def write_foreign(folder: Path) -> Dataset:
    """Write a data set of scenes whose labels and groups are in no other one."""
    wide = write_scenes(folder, 2, 1, seconds=1.0, folds=2)
    foreign = {label: f"foreign {label}" for label in wide.labels}
    return replace(
        wide,
        labels=tuple(foreign.values()),
        clips=tuple(replace(clip, label=foreign[clip.label], group=f"wide {clip.group}") for clip in wide.clips),
    )


def test_other_is_judged_by_the_labels_that_are_kept_back(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    wide = write_foreign(tmp_path / "wide")
    run = run_of(dataset, tmp_path / "other", fold=1, other=OtherSounds(wide, wide.labels[:2], synthetic=1))
    found = train(run, cache, Listener(), resume=False, record=recorded).evaluation["other"]
    assert found["labels"] == list(wide.labels[:2])
    assert (found["known_clips"], found["unknown_clips"]) == (10, 4)
    assert all(0.0 <= found[name] <= 1.0 for name in ("auroc", "auroc_max_softmax", "unknown_decided_other"))


def test_cross_validation_chooses_a_threshold_for_unknown_sounds(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    wide = write_foreign(tmp_path / "wide")
    run = run_of(dataset, tmp_path / "other", other=OtherSounds(wide, wide.labels[:2], synthetic=1))
    final = cross_validate(run, cache, Listener(), resume=False, record=recorded)
    rule, measured = final.unknown, final.evaluation["unknown"]
    assert rule is not None
    assert (rule.label, rule.false_alarm_rate) == (OTHER, 0.05)
    assert rule.measured_on == f"{len(dataset.clips)} held-out clips of {dataset.name}, the last decision on each"
    assert measured["threshold"] == rule.threshold
    assert measured["known_clips"] == len(dataset.clips)
    assert 0.0 <= measured["false_alarm_rate"] <= 1.0
    # Each kept-back clip is judged by the models of both folds.
    assert final.evaluation["other"]["unknown_clips"] == 2 * 4
    assert 0.0 <= final.evaluation["other"]["unknown_recognised"] <= 1.0
    text = card(final)
    assert f"the probability of other is at least {rule.threshold:.4f}. This threshold was chosen for 5 % false" in text
    assert "% of the unknown ones." in text
    assert Checkpoint.load(tmp_path / "other").unknown == rule


def test_validation_clips_are_not_trained_on(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    run = run_of(dataset, tmp_path / "validated", recipe=RECIPE.override({"validation": 0.4}))
    checkpoint = fit(run, cache, Listener(), resume=False)
    assert 0 < checkpoint.training["clips"] < len(dataset.clips)
    assert trained_on(checkpoint.training, [clip.filename for clip in dataset.clips]) == checkpoint.training["clips"]
    assert len(checkpoint.training["validation"]) == 2


def test_a_label_without_clips_is_reported(data: Any, tmp_path: Path) -> None:
    dataset, cache = data
    notes: list[str] = []

    class Notes(Listener):
        def note(self, text: str) -> None:
            notes.append(text)

    more = replace(dataset, labels=(*dataset.labels, "quarry"))
    fit(run_of(more, tmp_path / "more", recipe=WHOLE), cache, Notes(), resume=False)
    assert "warning: no training clip has the label quarry; the model cannot learn it" in notes
