import json
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_asc.contract import (
    INT16,
    OLDEST_VERSION,
    SCHEMA_VERSION,
    UNSEALED,
    Affine,
    InputKind,
    Signature,
    StreamContract,
    TensorSpec,
)
from edge_asc.detection.rules import EventRules
from edge_asc.errors import ContractError
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.provenance import Calibration, Measured, Parity, Provenance
from edge_asc.rule import DecisionRule
from edge_asc.unknown import UnknownRule
from fuzz.mutations import mutate_json

GRID = Affine(0.007812500465661287, -3)
FEATURES = TensorSpec("features", "features", (1, 1, 256, 8), ("batch", "channel", "mel", "time"))
LOGITS = TensorSpec("logits", "logits", (1, 2), ("batch", "unit"))
STATE = TensorSpec("hidden_0", "state", (1, 10), ("batch", "unit"), "int8", GRID)
NEXT = replace(STATE, name="hidden_0_next", feeds="hidden_0")

UNKNOWN = UnknownRule("tram", 0.25, 0.05, "200 clips")
CALIBRATION = Calibration(
    data="tau2019",
    recorded_on="the training clips",
    classes=10,
    clips=3,
    clips_sha256="ab",
    levels_db=(0, -10),
    method="mse",
    kl={"mse": 0.5, "minmax": 0.75},
    warnings=("1 clip is silent",),
)
PROVENANCE = Provenance(
    edge_asc="0.1.0",
    tools={"torch": "2"},
    checkpoint_sha256="cd",
    scheme={"name": "int8", "real": ["gru_*"], "options": {"a": 1}},
    float_parts="GRU",
    calibration=CALIBRATION,
)
PARITY = Parity(
    audio="noise",
    steps=4,
    agreement=0.75,
    max_error=0.5,
    mean_error=0.25,
    agreement_by_length={"1": 1.0},
    max_error_first=0.5,
    max_error_last=0.5,
)


def step(state: TensorSpec = STATE, following: TensorSpec = NEXT) -> Signature:
    return Signature("step", 8, 4096, (FEATURES, state), (LOGITS, following))


def window(seconds: int) -> Signature:
    frames = seconds * 16000 // 512
    features = replace(FEATURES, shape=(1, 1, 256, frames))
    return Signature(f"window_{seconds}s", frames, 512 * frames, (features,), (LOGITS,))


def contract(*signatures: Signature, **changes: Any) -> StreamContract:
    fields = {
        "name": "x",
        "backbone": "fuse",
        "form": "causal",
        "output": "multi",
        "labels": ("park", "tram"),
        "front_end": FrontEnd().with_normalisation(np.linspace(-9, -3, 256), np.full(256, 1 / 3)),
        "decision": "mean",
        "parameters": 3,
        "macs": {"step": 5},
        "scheme": "int8",
        "signatures": signatures or (step(),),
        "temperature": 1.75,
        "unknown": UNKNOWN,
        "provenance": PROVENANCE,
        "measured": Measured(parity=PARITY),
    }
    return StreamContract(**{**fields, **changes})


def test_json_round_trip() -> None:
    before = contract()
    assert StreamContract.parse(before.dumps()) == before
    assert StreamContract.parse(before.dumps().encode()) == before


def test_json_keeps_the_names_of_its_fields() -> None:
    value: Any = contract().to_json()
    assert value["provenance"] == {
        "edge_asc": "0.1.0",
        "tools": {"torch": "2"},
        "checkpoint_sha256": "cd",
        "scheme": {"name": "int8", "real": ["gru_*"], "options": {"a": 1}},
        "float": "GRU",
        "calibration": {
            "data": "tau2019",
            "recorded_on": "the training clips",
            "classes": 10,
            "clips": 3,
            "clips_sha256": "ab",
            "levels_db": [0, -10],
            "method": "mse",
            "kl": {"mse": 0.5, "minmax": 0.75},
            "warnings": ["1 clip is silent"],
        },
    }
    assert value["measured"]["parity"]["agreement_by_length"] == {"1": 1.0}


def test_unknown_fields_of_provenance_and_measurements_are_ignored() -> None:
    """Older and newer artefacts open; only a consumer of these values would miss them."""
    value: Any = contract().to_json()
    for part in (value["provenance"], value["provenance"]["calibration"], value["measured"]):
        part["of_another_version"] = {"x": [1]}
    value["measured"]["parity"]["of_another_version"] = 1
    assert StreamContract.from_json(value) == contract()
    del value["provenance"]["scheme"]
    del value["measured"]["parity"]
    older = StreamContract.from_json(value)
    assert older.provenance.scheme is None
    assert older.measured == Measured()


def test_an_initial_integer_state_is_real_zero_and_a_float_one_zero() -> None:
    assert (STATE.initial() == -3).all()
    assert STATE.initial().dtype == np.int8
    real = replace(STATE, dtype="float32", quantisation=None).initial()
    assert real.dtype == np.float32
    assert not real.any()


@pytest.mark.parametrize(
    ("version", "advice"),
    [(SCHEMA_VERSION + 1, "upgrade edge-asc"), (OLDEST_VERSION - 1, "export the artefact again")],
)
def test_another_schema_version_is_refused_with_what_to_do(version: Any, advice: str) -> None:
    with pytest.raises(ContractError, match=f"schema version {version}.*{advice}"):
        StreamContract.from_json({**contract().to_json(), "schema_version": version})


def test_a_contract_of_version_1_is_read_with_defaults() -> None:
    value = contract().to_json()
    del value["live"], value["events"]
    old = StreamContract.from_json({**value, "schema_version": 1})
    assert (old.live, old.events, old.decision) == (DecisionRule("forgetting", 2.0), None, contract().decision)


def test_rules_of_events_name_labels_of_the_model() -> None:
    events = EventRules(thresholds={contract().labels[0]: 0.3}).to_json()
    assert StreamContract.from_json({**contract().to_json(), "events": events}).events is not None
    with pytest.raises(ContractError, match="events have rules for dragon"):
        StreamContract.from_json({**contract().to_json(), "events": EventRules(thresholds={"dragon": 0.3}).to_json()})


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "7", '"contract"', "{}", b"\xff\xfe{}"])
def test_what_is_no_contract_is_refused(text: str | bytes) -> None:
    with pytest.raises(ContractError):
        StreamContract.parse(text)


@pytest.mark.parametrize("name", [*contract().to_json()])
def test_a_missing_field_is_refused_unless_it_has_a_default(name: str) -> None:
    value = contract().to_json()
    del value[name]
    defaults = {
        "temperature": 1.0,
        "unknown": None,
        "live": DecisionRule("forgetting", 2.0),
        "events": None,
        "input": "features",
        "provenance": Provenance(),
        "measured": Measured(),
        "file_sha256": UNSEALED,
    }
    if name in defaults:
        assert getattr(StreamContract.from_json(value), name) == defaults[name]
    else:
        with pytest.raises(ContractError):
            StreamContract.from_json(value)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("of_another_version",), 1),
        (("temperature",), 0),
        (("temperature",), -1.5),
        (("temperature",), float("inf")),
        (("temperature",), float("nan")),
        (("temperature",), "1"),
        (("unknown",), 1),
        (("unknown", "label"), "sea"),
        (("unknown", "threshold"), 0.0),
        (("unknown", "threshold"), 1.5),
        (("unknown", "threshold"), float("nan")),
        (("unknown", "threshold"), None),
        (("unknown", "false_alarm_rate"), -0.1),
        (("unknown", "of_another_version"), 1),
        (("form",), "both"),
        (("parameters",), True),
        (("macs",), {"step": "5"}),
        (("provenance", "tools"), ["torch"]),
        (("provenance", "edge_asc"), 1),
        (("provenance", "calibration", "clips"), "3"),
        (("measured", "parity", "steps"), None),
        (("signatures", 0, "inputs", 0, "role"), "music"),
        (("signatures", 0, "frames"), 8.5),
        (("labels",), None),
        (("front_end",), None),
        (("front_end", "log"), "log10"),
        (("front_end", "mean"), [1.0, 2.0]),
        (("front_end", "unknown"), 1),
        (("decision",), "median"),
        (("signatures",), 3),
        (("signatures", 0), "step"),
        (("signatures", 0, "inputs"), None),
        (("signatures", 0, "inputs", 0, "shape"), None),
        (("signatures", 0, "inputs", 1, "quantisation"), {"scale": 1.0}),
        (("signatures", 0, "inputs", 1, "unknown"), 0),
        (("signatures", 0, "outputs", 1, "feeds"), None),
        (("signatures", 0, "outputs", 1, "feeds"), "hidden_9"),
    ],
)
def test_a_malformed_field_is_refused(
    path: tuple[str]
    | tuple[str, str]
    | tuple[str, str, str]
    | tuple[str, int, str, int, str]
    | tuple[str, int, str]
    | tuple[str, int],
    value: Any,
) -> None:
    tree = json.loads(contract().dumps())
    target = tree
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ContractError):
        StreamContract.from_json(tree)


SAMPLES = TensorSpec("samples", "samples", (1, 4096), ("batch", "time"))


@pytest.mark.parametrize(
    ("samples", "kind"),
    [
        (SAMPLES, "samples"),
        (replace(SAMPLES, dtype="int16", quantisation=INT16), "int16"),
        (replace(SAMPLES, shape=(4096, 1, 1), axes=("time", "batch", "unit")), "samples"),
    ],
)
def test_a_contract_says_that_it_takes_samples(samples: TensorSpec, kind: InputKind) -> None:
    before = step()
    taking = replace(before, inputs=(samples, *before.inputs[1:]))
    made = contract(taking, input=kind)
    assert made.input == kind
    assert StreamContract.parse(made.dumps()) == made


@pytest.mark.parametrize(
    ("samples", "kind", "message"),
    [
        (FEATURES, "samples", "0 inputs of role samples"),
        (SAMPLES, "features", "0 inputs of role features"),
        (replace(SAMPLES, shape=(1, 4095)), "samples", "expected 4096 of them"),
        (replace(SAMPLES, axes=("time", "unit")), "samples", "expected 4096 of them"),
        (SAMPLES, "int16", "samples are float32 .* expected int16"),
        (replace(SAMPLES, dtype="int16", quantisation=INT16), "samples", "samples are int16 .* expected float32"),
        (replace(SAMPLES, dtype="int16", quantisation=Affine(1.0, 0)), "int16", "expected int16 with"),
    ],
)
def test_an_input_that_is_not_what_the_contract_says_is_refused(
    samples: TensorSpec, kind: InputKind, message: str
) -> None:
    before = step()
    with pytest.raises(ContractError, match=message):
        contract(replace(before, inputs=(samples, *before.inputs[1:])), input=kind)


def test_a_contract_of_an_unknown_input_is_refused_and_one_of_version_2_takes_features() -> None:
    value = contract().to_json()
    with pytest.raises(ContractError, match=r"contract.input: got 'video'"):
        StreamContract.from_json({**value, "input": "video"})
    del value["input"]
    assert StreamContract.from_json({**value, "schema_version": 2}).input == "features"


@pytest.mark.parametrize(
    "following",
    [
        replace(NEXT, shape=(1, 11)),
        replace(NEXT, dtype="uint8"),
        replace(NEXT, quantisation=Affine(GRID.scale, GRID.zero_point + 1)),
        replace(NEXT, quantisation=None),
    ],
)
def test_a_state_that_cannot_be_fed_back_raw_is_refused(following: TensorSpec) -> None:
    with pytest.raises(ContractError, match=r"hidden_0.*cannot be fed back raw"):
        contract(step(following=following))


def test_signatures_are_found_by_name_and_windows_by_length() -> None:
    windows = [window(n) for n in (10, 2, 1)]
    windowed = contract(*windows, form="windowed", macs={})
    assert windowed.windows == (1, 2, 10)
    assert windowed.signature("window_2s") is windows[1]
    with pytest.raises(ContractError, match=r"no signature 'step'.*window_10s, window_2s, window_1s"):
        windowed.signature("step")


def test_a_role_names_one_tensor() -> None:
    assert step().input("features") is FEATURES
    assert step().output("logits") is LOGITS
    with pytest.raises(ContractError, match="0 outputs of role embedding"):
        step().output("embedding")


WINDOWED = contract(window(1), window(2), form="windowed", macs={"window_1s": 5}).dumps()
GRU = Signature(
    "gru",
    0,
    0,
    (TensorSpec("embedding", "embedding", (1, 4), ("batch", "unit")),),
    (LOGITS,),
)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("name",), "", "name is ''"),
        (("name",), "a\x1b[31m", "name is .*printable"),
        (("labels",), ["park"], "expected 2 to 10000 distinct"),
        (("labels",), ["park", "park"], "distinct"),
        (("labels",), ["park", "a" * 257], "label is"),
        (("labels",), ["park", "\ud800"], "expected strings"),
        (("parameters",), -1, "parameters is -1"),
        (("macs",), {"step": -5}, "step is -5"),
        (("macs",), {"window_1s": 5}, "macs of window_1s"),
        (("front_end", "hop"), 256, "8 frames for 4096 samples; expected 8 frames, 2048 samples"),
        (("front_end", "sample_rate"), -1, "sample rate is -1; expected 1000"),
        (("front_end", "window"), 513, "expected an even number"),
        (("front_end", "window"), 256, "hop is 512; expected 1 to 256"),
        (("front_end", "mels"), 0, "number of mel bins is 0"),
        (("front_end", "low"), 8000.0, "expected a lower and an upper edge"),
        (("front_end", "high"), 8001.0, "upper edge is 8001.0; expected 0 to 8000"),
        (("front_end", "floor"), 0.0, "floor is 0.0"),
        (("front_end", "clip"), -4.0, "clip is -4.0"),
        (("front_end", "mean"), [], "mean has 0 and scale 256 values"),
        (("front_end", "scale"), [1e38] * 256, "scale holds NaN or values outside"),
        (("front_end", "mean"), [1e300] * 256, "mean holds NaN or values beyond"),
        (("front_end", "floor"), float("inf"), "floor: got a number that is not finite, expected a number"),
        (("signatures", 0, "name"), "stop", r"signatures \['stop'\]; expected step alone"),
        (("signatures", 0, "frames"), 10**9, "features have shape"),
        (("signatures", 0, "samples"), 0, "8 frames for 0 samples"),
        (("signatures", 0, "inputs", 0, "shape"), [1, 1, 8, 256], "expected 8 frames of 256 mel bins"),
        (("signatures", 0, "inputs", 0, "shape"), [1, 1, 256, 0], "sizes above 0"),
        (("signatures", 0, "inputs", 0, "shape"), [1, 1, 2**20, 2**20], "at most"),
        (("signatures", 0, "inputs", 0, "axes"), ["batch", "mel", "mel", "time"], "axes"),
        (("signatures", 0, "inputs", 0, "axes"), ["mel", "time"], "axes"),
        (("signatures", 0, "inputs", 0, "dtype"), "float64", "is 'float64'; expected float32"),
        (("signatures", 0, "inputs", 0, "dtype"), "int8", "is int8 with quantisation None"),
        (("signatures", 0, "inputs", 0, "name"), "hidden_0", "distinct names"),
        (("signatures", 0, "inputs", 0, "role"), "embedding", "0 inputs of role features"),
        (("signatures", 0, "outputs", 0, "role"), "embedding", "0 outputs of role logits"),
    ],
)
def test_a_field_of_no_sense_is_refused(path: tuple[Any, ...], value: Any, message: str) -> None:
    tree = json.loads(contract().dumps())
    target = tree
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ContractError, match=message):
        StreamContract.from_json(tree)


@pytest.mark.parametrize(
    ("scale", "zero", "message"),
    [
        (0.0, 0, "scale 0"),
        (-1.0, 0, "scale -1"),
        (1e38, 0, r"scale 1e\+38"),
        (0.1, 128, "zero point 128"),
        (0.1, -129, "-129"),
    ],
)
def test_quantisation_of_no_sense_is_refused(scale: float, zero: int, message: str) -> None:
    state = replace(STATE, quantisation=Affine(scale, zero))
    with pytest.raises(ContractError, match=message):
        contract(step(state, replace(state, name="hidden_0_next", feeds="hidden_0")))


@pytest.mark.parametrize(
    ("signatures", "message"),
    [
        ((), "expected window_1s"),
        ((step(),), "expected window_1s"),
        ((window(1), window(1)), "distinct"),
        ((window(1), replace(window(1), name="window_2s")), "31 frames; expected 62"),
        ((window(1), GRU), "0 outputs of role embedding"),
        ((replace(window(1), name="window_0s"),), "expected window_1s"),
        ((GRU,), "expected window_1s"),
    ],
)
def test_a_windowed_artefact_has_the_signatures_of_its_form(signatures: tuple[Signature, ...], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        contract(*signatures, form="windowed", macs={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": NaN}', "got NaN, expected a finite number"),
        ('{"a": 1, "a": 2}', "two fields of one name, 'a'"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"schema_version": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_text_that_is_not_strict_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        StreamContract.parse(text)


@given(st.integers(0, 2**64), st.sampled_from(["causal", "windowed"]))
@settings(max_examples=300)
def test_a_damaged_contract_is_refused_or_is_one_that_streams(seed: int, form: str) -> None:
    text = contract().dumps() if form == "causal" else WINDOWED
    damaged = mutate_json(Random(seed), text.encode(), {"contract": text.encode()})
    try:
        read = StreamContract.parse(damaged)
    except ContractError:
        return
    assert StreamContract.parse(read.dumps()) == read
    log_mel = LogMel(read.front_end)
    for signature in read.signatures:
        assert signature.samples == signature.frames * read.front_end.hop
        features = log_mel(np.zeros(signature.samples, np.float32))
        assert features.shape == (signature.frames, read.front_end.mels)
        assert np.isfinite(features).all()
        assert all(spec.initial().shape == spec.shape for spec in signature.states())
