import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edge_asc.contract import SCHEMA_VERSION, Affine, Signature, StreamContract, TensorSpec
from edge_asc.errors import ContractError
from edge_asc.frontend import FrontEnd
from edge_asc.provenance import Calibration, Measured, Parity, Provenance
from edge_asc.unknown import UnknownRule

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
    mean_logit_error={"mse": 0.5, "minmax": 0.75},
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
            "mean_logit_error": {"mse": 0.5, "minmax": 0.75},
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
    [(SCHEMA_VERSION + 1, "upgrade edge-asc"), (SCHEMA_VERSION - 1, "export the artefact again")],
)
def test_another_schema_version_is_refused_with_what_to_do(version: Any, advice: str) -> None:
    with pytest.raises(ContractError, match=f"schema version {version}.*{advice}"):
        StreamContract.from_json({**contract().to_json(), "schema_version": version})


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "7", '"contract"', "{}", b"\xff\xfe{}"])
def test_what_is_no_contract_is_refused(text: str | bytes) -> None:
    with pytest.raises(ContractError):
        StreamContract.parse(text)


@pytest.mark.parametrize("name", [*contract().to_json()])
def test_a_missing_field_is_refused_unless_it_has_a_default(name: str) -> None:
    value = contract().to_json()
    del value[name]
    defaults = {"temperature": 1.0, "unknown": None, "provenance": Provenance(), "measured": Measured()}
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
    windows = [Signature(f"window_{n}s", 31 * n, 0, (FEATURES,), (LOGITS,)) for n in (10, 2, 1)]
    windowed = contract(*windows, form="windowed")
    assert windowed.windows == (1, 2, 10)
    assert windowed.signature("window_2s") is windows[1]
    with pytest.raises(ContractError, match=r"no signature 'step'.*window_10s, window_2s, window_1s"):
        windowed.signature("step")


def test_a_role_names_one_tensor() -> None:
    assert step().input("features") is FEATURES
    assert step().output("logits") is LOGITS
    with pytest.raises(ContractError, match="0 outputs of role embedding"):
        step().output("embedding")
