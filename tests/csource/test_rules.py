"""Decision rules, unknown sounds and events in C follow Python's over long streams."""

import ctypes
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csource.build import COMPILERS, LABELS, PREFIX, CEvent, Event, Handler, compile_library, join, make_contract
from edge_asc.contract import StreamContract
from edge_asc.detection.detector import EventDetector, make_event_belief
from edge_asc.detection.event import SoundEvent
from edge_asc.detection.rules import QUIETEST, EventRules
from edge_asc.errors import ContractError
from edge_asc.rule import Belief, DecisionRule, parse_rule
from edge_asc.unknown import UnknownRule
from edge_asc_export.c.rules import generate_rules

Logits = npt.NDArray[np.float32]
POINTER = ctypes.c_void_p
RULES = ("last", "mean", "forgetting:2", "forgetting:0.05", "sticky:1000:0.17", "sticky:0.01", "sticky:86400")
STEPS = 4000  # 17 minutes
UNKNOWN = UnknownRule("other", 0.011, 0.05)

# The front end and the stream are not there; this calls what they call.
ENTRY = """
static toy_belief decision_belief, event_belief;
static toy_detector detector;

void toy_start(toy_event_handler handler);
void toy_start(toy_event_handler handler)
{
    reset_belief(&decision_rule, &decision_belief);
    reset_belief(&event_rule, &event_belief);
    memset(&detector, 0, sizeof detector);
    detector.handler = handler;
}

void toy_decide(const float *logits, const bool *silent, size_t steps, double *probabilities, int *answers,
                bool *unknown);
void toy_decide(const float *logits, const bool *silent, size_t steps, double *probabilities, int *answers,
                bool *unknown)
{
    for (size_t step = 0; step < steps; step++) {
        const float *now = logits + step * TOY_CLASSES;
        double events[TOY_CLASSES];
        update_belief(&decision_rule, &decision_belief, now, probabilities + step * TOY_CLASSES);
        answers[step] = choose_answer(probabilities + step * TOY_CLASSES, &unknown[step]);
        update_belief(&event_rule, &event_belief, now, events);
        for (size_t i = 0; i < TOY_CLASSES; i++) {
            follow_label(&detector, i, silent[step] ? 0.0 : events[i], (step + 1) * TOY_STEP);
        }
    }
    finish_runs(&detector, steps * TOY_STEP);
}

double toy_exponential(double x);
double toy_exponential(double x) { return exponential_below_one(x); }
double toy_logarithm(double x);
double toy_logarithm(double x) { return natural_log_double(x); }
uint64_t toy_silence(void);
uint64_t toy_silence(void) { return TOY_SILENCE; }
"""
RATE = "#define TOY_SAMPLE_RATE 16000\n"


def build(contract: StreamContract, folder: Path, cc: str = "gcc", *flags: str) -> ctypes.CDLL:
    part = generate_rules(PREFIX, contract)
    return compile_library(RATE + join([part], ENTRY), folder, cc, *flags)


def make_logits(steps: int, seed: int = 0, classes: int = len(LABELS)) -> Logits:
    """Return logits that stay with one label for a while, as a network's do."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.0, (steps, classes))
    step = 0
    while step < steps:
        length, label = int(rng.integers(1, 40)), int(rng.integers(classes))
        logits[step : step + length, label] += rng.uniform(0.0, 8.0)
        step += length
    return logits.astype(np.float32)


Result = tuple[npt.NDArray[np.float64], list[int], list[bool], list[Event]]


def run_c(library: ctypes.CDLL, logits: Logits, silent: npt.NDArray[np.bool_]) -> Result:
    steps, classes = logits.shape
    probabilities = np.empty((steps, classes))
    answers, unknown = np.empty(steps, np.int32), np.empty(steps, np.bool_)
    events: list[Event] = []

    def receive(context: int | None, pointer: "ctypes._Pointer[CEvent]") -> None:
        e = pointer.contents
        events.append((e.label, e.has_ended, e.start, e.end, e.peak, e.mean))

    handler = Handler(receive)
    library.toy_start(handler)
    arrays = [a.ctypes.data_as(POINTER) for a in (logits, silent, probabilities, answers, unknown)]
    library.toy_decide(*arrays[:2], ctypes.c_size_t(steps), *arrays[2:])
    return probabilities, answers.tolist(), unknown.tolist(), events


def run_python(contract: StreamContract, logits: Logits, silent: npt.NDArray[np.bool_]) -> Result:
    step = contract.step_seconds
    belief = Belief(contract.live, len(contract.labels), step, contract.temperature)
    rules = contract.event_rules
    event_belief, detector = make_event_belief(contract, rules), EventDetector(contract.labels, rules, step)
    probabilities, answers, unknown, changes = [], [], [], []
    for i, now in enumerate(logits):
        probabilities.append(belief.update(now))
        index = int(probabilities[-1].argmax())
        rule = contract.unknown
        answer, is_unknown = (index, False) if rule is None else rule.answer(contract.labels, probabilities[-1])
        answers.append(answer)
        unknown.append(is_unknown)
        time = (i + 1) * 4096 / 16000
        changes += detector.update(time, event_belief.update(now), QUIETEST if silent[i] else 0.0)
    changes += detector.finish()
    return np.stack(probabilities), answers, unknown, [to_samples(contract, event) for event in changes]


def to_samples(contract: StreamContract, event: SoundEvent) -> Event:
    end = 0 if event.end is None else round(event.end * 16000)
    label = contract.labels.index(event.label)
    return label, event.end is not None, round(event.start * 16000), end, event.peak, event.mean


def compare(contract: StreamContract, library: ctypes.CDLL, logits: Logits, silent: npt.NDArray[np.bool_]) -> int:
    """Compare C with Python; return the number of events."""
    ours, reference = run_c(library, logits, silent), run_python(contract, logits, silent)
    np.testing.assert_allclose(ours[0], reference[0], rtol=0, atol=1e-9)
    assert ours[1:3] == reference[1:3]
    assert [event[:4] for event in ours[3]] == [event[:4] for event in reference[3]]
    for event, expected in zip(ours[3], reference[3], strict=True):
        assert event[4:] == pytest.approx(expected[4:], rel=1e-6)
    return len(ours[3])


@pytest.mark.parametrize("text", RULES)
@pytest.mark.parametrize("unknown", [None, UNKNOWN])
def test_long_streams_give_the_decisions_of_python(text: str, unknown: UnknownRule | None, tmp_path: Path) -> None:
    contract = make_contract(live=parse_rule(text), unknown=unknown, temperature=1.1342387191255585)
    library = build(contract, tmp_path)
    assert compare(contract, library, make_logits(STEPS), np.zeros(STEPS, np.bool_)) > 0


EVENT_RULES = {
    "default": None,
    "odds": EventRules(threshold=0.89, other_odds=90.0, ignored=("other",)),
    "each label": EventRules(thresholds={"rain": 0.2, "wind": 1.0}, release=1.0, minimum=0.0),
    "short": EventRules(threshold=0.3, release=0.9, minimum=0.256, maximum=1.024),
    "last": EventRules(threshold=0.5, decision=DecisionRule("last"), minimum=0.512, maximum=2.56),
    "sticky": EventRules(threshold=0.6, decision=DecisionRule("sticky", 30.0, 0.5), minimum=1.0),
    "never silent": EventRules(threshold=1e-6, minimum=0.0, maximum=0.1),
}


@pytest.mark.parametrize("name", EVENT_RULES)
@pytest.mark.parametrize("cc", COMPILERS)
def test_long_streams_have_the_events_of_python(name: str, cc: str, tmp_path: Path) -> None:
    contract = make_contract(events=EVENT_RULES[name], unknown=UNKNOWN, temperature=0.8)
    library = build(contract, tmp_path, cc)
    silent = np.random.default_rng(1).random(STEPS) < 0.02
    assert compare(contract, library, make_logits(STEPS, seed=2), silent) > 10


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[StreamContract, ctypes.CDLL]:
    rules = EventRules(threshold=0.5, thresholds={"wind": 0.2}, release=0.5, minimum=0.6, maximum=1.1)
    contract = make_contract(events=rules, unknown=UNKNOWN, live=DecisionRule("sticky", 1000.0, 0.17))
    return contract, build(contract, tmp_path_factory.mktemp("rules"))


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(-1e6, 1e6, width=32) | st.integers(-3, 3), min_size=4, max_size=4), st.booleans()),
        min_size=1,
        max_size=60,
    )
)
def test_any_logits_give_what_python_gives(
    fuzzed: tuple[StreamContract, ctypes.CDLL], steps: list[tuple[list[float], bool]]
) -> None:
    logits = np.array([values for values, _ in steps], np.float32)
    silent = np.array([is_silent for _, is_silent in steps], np.bool_)
    ours, reference = run_c(fuzzed[1], logits, silent), run_python(fuzzed[0], logits, silent)
    assert np.isfinite(ours[0]).all()
    np.testing.assert_allclose(ours[0], reference[0], rtol=0, atol=1e-9)


def test_exponential_and_logarithm_are_exact(tmp_path: Path) -> None:
    library = build(make_contract(), tmp_path)
    for function in (library.toy_exponential, library.toy_logarithm):
        function.restype, function.argtypes = ctypes.c_double, (ctypes.c_double,)
    rng = np.random.default_rng(0)
    x = np.concatenate((-rng.uniform(0, 699, 5000), -(10.0 ** rng.uniform(-300, 2, 5000)), [0.0, -0.0, -699.99]))
    np.testing.assert_allclose([library.toy_exponential(v) for v in x], np.exp(x), rtol=2e-15)
    assert [library.toy_exponential(v) for v in (-700.0, -1e300, -np.inf, np.nan)] == [0.0] * 4
    y = np.concatenate((10.0 ** rng.uniform(-300, 300, 5000), 1 + rng.uniform(-1e-3, 1e-3, 5000), [1.0, 2.0, 0.5]))
    np.testing.assert_allclose([library.toy_logarithm(v) for v in y], np.log(y), rtol=2e-14)


def test_silence_ends_where_python_says(tmp_path: Path) -> None:
    library = build(make_contract(), tmp_path)
    library.toy_silence.restype = ctypes.c_uint64
    most = library.toy_silence()
    levels = [10.0 * np.log10(total / 2**30 / 4096) for total in (most, most + 1)]
    assert levels[0] <= QUIETEST < levels[1]


def test_a_windowed_contract_has_no_rules_in_c() -> None:
    contract = make_contract()
    window = replace(contract.signatures[0], name="window_1s", frames=31, samples=31 * 512)
    features = replace(window.inputs[0], shape=(1, 31, 256, 1))
    window = replace(window, inputs=(features,))
    with pytest.raises(ContractError, match="no signature 'step'"):
        generate_rules(PREFIX, replace(contract, form="windowed", signatures=(window,)))
