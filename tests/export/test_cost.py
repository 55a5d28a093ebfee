"""The cost model: against counted instructions, and as a search relies on it."""

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from edge_asc.errors import ExportError
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint
from edge_asc_export.cost import PROCESSORS, CostModel, count_instructions, measure
from edge_asc_export.format import FORMATS
from edge_asc_export.lowering import lower_step
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import OUTPUT, SCHEMES, Scheme

BASELINE = Path(__file__).parents[2] / "benchmarks" / "baselines" / "arm.json"
ZOO = ("fuse", "bcresnet", "resnet")
# Largest relative error of a prediction; docs/performance.md states it.
BOUND = 0.03
ALL = Scheme("all", "int8", "int8")


def lowered(name: str, scheme: Scheme) -> Lowered:
    """The step of a pretrained model as the TFLite writer takes it."""
    checkpoint = Checkpoint.load(find_checkpoint(name))
    assert isinstance(checkpoint.model, CRNN)
    plan = Plan.from_json(checkpoint.quantisation).with_scheme(scheme)
    return run_passes(Lowered.of(lower_step(checkpoint.model), plan), FORMATS.load("tflite").passes)


@pytest.fixture(scope="module", params=ZOO)
def quantised(request: pytest.FixtureRequest) -> Lowered:
    """All that can be an integer is one."""
    return lowered(request.param, ALL)


@pytest.mark.parametrize("scheme", ["none", "int8", "int8-dynamic"])
@pytest.mark.parametrize("name", ZOO)
def test_predictions_are_near_counted_instructions(name: str, scheme: str) -> None:
    variants = json.loads(BASELINE.read_text())["variants"]
    label = SCHEMES[scheme].label
    (counts,) = (each["instructions"] for each in variants if each["name"] == f"{name}-{label}.tflite")
    model = lowered(name, SCHEMES[scheme])
    for processor in PROCESSORS:
        assert count_instructions(model, processor) == pytest.approx(counts[processor]["runtime"], rel=BOUND)


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("first", [0, 5])
@pytest.mark.parametrize("name", ZOO)
def test_the_tensors_that_stay_float_cost_as_in_a_plan_of_their_own(name: str, first: int, processor: str) -> None:
    quantised = lowered(name, ALL)
    ranges = quantised.plan.ranges[first : first + 6]
    model = CostModel(quantised, processor)
    expected = model.count({tensor for shared in ranges for tensor in shared.tensors})
    mixed = lowered(name, Scheme("mixed", "int8", "int8", tuple(shared.tensors[0] for shared in ranges)))
    assert count_instructions(mixed, processor) == pytest.approx(expected)
    assert expected != model.count()


def test_float_costs_more_than_int8_where_there_are_dot_products(quantised: Lowered) -> None:
    model = CostModel(quantised, "cortex-a76")
    assert model.count(quantised.qparams) > 1.5 * model.count()


def test_a_longer_float_stretch_costs_more_where_there_are_dot_products(quantised: Lowered) -> None:
    """Stretches from the first range on. The last layers are small, and cost less than a border before them."""
    model, ranges = CostModel(quantised, "cortex-a76"), quantised.plan.ranges
    sizes = [len(ranges) * eighth // 8 for eighth in range(6)]
    costs = [model.count([tensor for shared in ranges[:size] for tensor in shared.tensors]) for size in sizes]
    assert all(after > before for before, after in pairwise(costs))


def test_the_output_layer_in_float_costs_little(quantised: Lowered) -> None:
    for processor in PROCESSORS:
        model = CostModel(quantised, processor)
        assert model.count(OUTPUT) == pytest.approx(model.count(), rel=0.02)


def test_half_precision_costs_what_float_does() -> None:
    for processor in PROCESSORS:
        expected = count_instructions(lowered("fuse", SCHEMES["none"]), processor)
        assert count_instructions(lowered("fuse", SCHEMES["fp16"]), processor) == expected


def test_dot_products_are_the_counted_ones() -> None:
    """Matrix products are padded to tiles as XNNPACK pads them: 16 products an instruction."""
    variants = json.loads(BASELINE.read_text())["variants"]
    for name in ZOO:
        (counted,) = (each["instructions"]["cortex-a76"] for each in variants if each["name"] == f"{name}-int8.tflite")
        quantities = measure(lowered(name, ALL), "cortex-a76")
        # A tile for each channel and tap of a depthwise convolution that is too large for its own kernels.
        predicted = quantities["integer product"] / 16 + 4 * quantities["integer group"]
        assert predicted == pytest.approx(counted["dot_products"], rel=0.005)


def test_what_has_no_cost_model_is_refused(quantised: Lowered) -> None:
    with pytest.raises(ExportError, match="cortex-m7: there is no cost model of this processor; expected cortex-a72"):
        CostModel(quantised, "cortex-m7")
    wide = replace(quantised, plan=quantised.plan.with_scheme(SCHEMES["int16x8"]))
    with pytest.raises(ExportError, match="scheme int16x8: int16 activations have no cost model"):
        CostModel(wide, "cortex-a76")


def test_the_module_needs_no_torch() -> None:
    program = "import sys, edge_asc_export.cost; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
