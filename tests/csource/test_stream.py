"""A stream in C: any division of the audio into calls gives the decisions and events of Python."""

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csource.build import (
    COMPILERS,
    LABELS,
    SIZE,
    STRICT,
    CStream,
    compile_library,
    compiler,
    join,
    make_contract,
    stream_parts,
)
from edge_asc.contract import StreamContract
from edge_asc.detection.detector import EventDetector, make_event_belief
from edge_asc.detection.rules import EventRules
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.listening.listener import measure_level
from edge_asc.rule import Belief, DecisionRule
from edge_asc.unknown import UnknownRule

Samples = npt.NDArray[np.int16]

SMALL = FrontEnd(mels=32).with_normalisation(np.full(32, -9.0), np.full(32, 0.3))
RULES = EventRules(threshold=0.45, thresholds={"wind": 0.3}, minimum=0.3, ignored=("other",))


def contract_of(front_end: FrontEnd = SMALL, labels: tuple[str, ...] = LABELS) -> StreamContract:
    unknown = UnknownRule("other", 0.3, 0.05)
    live = DecisionRule("sticky", 1000.0, 0.17)
    return make_contract(front_end, live=live, events=RULES, unknown=unknown, temperature=1.2, labels=labels)


def make_samples(count: int, seed: int = 0) -> Samples:
    """Return noise whose colour and level change, with silence between."""
    rng = np.random.default_rng(seed)
    parts: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    while sum(map(len, parts)) < count:
        size = int(rng.integers(2000, 30_000))
        noise = rng.normal(0.0, 10.0 ** rng.uniform(-4, -0.3), size)
        parts.append((np.zeros(size), noise, np.cumsum(noise) * 0.05)[len(parts) % 3])
    samples: Samples = np.clip(np.rint(np.concatenate(parts)[:count] * 32768), -32768, 32767).astype(np.int16)
    return samples


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compile_library(join(stream_parts(contract_of()), SIZE), tmp_path_factory.mktemp("stream"), "gcc")


def network(features: npt.NDArray[np.float32], state: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Do what the network of the tests does, in double precision."""
    index = np.arange(features.size)
    signs = np.where(index >> np.arange(4)[:, None] & 1, 1.0, -1.0)
    return 0.5 * state + 0.2 * signs @ features.reshape(-1).astype(np.float64)


def test_a_stream_gives_what_python_gives(library: ctypes.CDLL) -> None:
    contract, samples, step = contract_of(), make_samples(60 * 4096 + 100), 4096
    stream = CStream(library)
    belief = Belief(contract.live, 4, contract.step_seconds, contract.temperature)
    event_belief = make_event_belief(contract, RULES)
    detector = EventDetector(LABELS, RULES, contract.step_seconds)
    log_mel, state, changes = LogMel(SMALL), np.zeros(4), []
    assert contract.unknown is not None
    assert stream.newest() is None
    for begin in range(0, len(samples) - step + 1, step):
        new = samples[begin : begin + step]
        assert stream.push(new) == 1
        floats = new.astype(np.float32) / np.float32(32768)
        state = network(log_mel.push(floats), state)
        decision = stream.newest()
        assert decision is not None
        now, index, answer, unknown, confidence, c_probabilities, logits = decision
        assert now == begin + step
        np.testing.assert_allclose(logits, state, rtol=0, atol=1e-3)
        probabilities = belief.update(logits)
        time = (begin + step) / 16000
        changes += detector.update(time, event_belief.update(logits), measure_level(floats))
        np.testing.assert_allclose(c_probabilities, probabilities, rtol=0, atol=1e-6)
        assert index == int(probabilities.argmax())
        assert (answer, unknown) == contract.unknown.answer(LABELS, probabilities)
        assert confidence == c_probabilities[answer]
    stream.finish()
    changes += detector.finish()
    assert len(changes) > 5
    expected = [(LABELS.index(e.label), e.end is not None, e.start, e.end or 0.0) for e in changes]
    assert [(e[0], e[1], e[2] / 16000, e[3] / 16000) for e in stream.events] == [
        pytest.approx(event) for event in expected
    ]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0, 1, 2, 511, 512, 513, 4095, 4096, 4097, 9000]) | st.integers(0, 3000), max_size=30))
def test_any_division_of_the_samples_gives_the_same(library: ctypes.CDLL, sizes: list[int]) -> None:
    samples = make_samples(sum(sizes), seed=3)
    whole, parts = CStream(library), CStream(library)
    assert whole.push(samples) == len(samples) // 4096
    done = 0
    for size in sizes:
        before = done // 4096
        assert parts.push(samples[done : done + size]) == (done + size) // 4096 - before
        done += size
    assert parts.newest() == whole.newest()
    assert parts.events == whole.events


@settings(max_examples=20)
@given(st.integers(0, 20_000), st.integers(0, 30_000), st.booleans())
def test_a_reset_stream_equals_a_new_one(library: ctypes.CDLL, before: int, after: int, finish: bool) -> None:
    used, fresh = CStream(library), CStream(library)
    used.push(make_samples(before, seed=4))
    if finish:
        used.finish()
    used.reset()
    used.events.clear()
    assert used.newest() is None
    samples = make_samples(after, seed=5)
    assert used.push(samples) == fresh.push(samples)
    assert used.newest() == fresh.newest()
    used.finish()
    fresh.finish()
    assert used.events == fresh.events


def test_a_reset_forgets_an_event_that_lasts(library: ctypes.CDLL) -> None:
    stream, samples = CStream(library), make_samples(60 * 4096)
    while not stream.events or stream.events[-1][1]:
        stream.push(samples[:4096])
        samples = samples[4096:]
    stream.reset()
    stream.events.clear()
    stream.push(np.zeros(8 * 4096, np.int16))
    stream.finish()
    assert stream.events == []


@pytest.mark.parametrize("pattern", [(-32768,), (32767, -32768), (0,), (1, 0, -1, 0), (32767, 0, 0, 0, 0, 0, 0, 0)])
def test_extreme_samples_give_finite_probabilities(library: ctypes.CDLL, pattern: tuple[int, ...]) -> None:
    stream = CStream(library)
    stream.push(np.resize(np.array(pattern, np.int16), 50_000))
    decision = stream.newest()
    assert decision is not None
    assert np.isfinite(decision[5]).all()
    assert sum(decision[5]) == pytest.approx(1.0)
    assert np.isfinite(decision[6]).all()


def test_digital_silence_has_no_events(library: ctypes.CDLL) -> None:
    stream = CStream(library)
    stream.push(np.zeros(200_000, np.int16))
    stream.finish()
    assert stream.events == []


@pytest.mark.parametrize("cc", COMPILERS)
@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-march=native")], ids=str)
def test_all_compilers_give_the_same(cc: str, flags: tuple[str, ...], library: ctypes.CDLL, tmp_path: Path) -> None:
    other = compile_library(join(stream_parts(contract_of()), SIZE), tmp_path, cc, *flags, "-ffp-contract=off")
    samples = make_samples(40 * 4096, seed=6)
    streams = [CStream(each) for each in (library, other)]
    for stream in streams:
        stream.push(samples)
        stream.finish()
    assert streams[0].newest() == streams[1].newest()
    assert streams[0].events == streams[1].events


@pytest.mark.parametrize("front_end", [FrontEnd(), FrontEnd(window=512, hop=160, mels=40), FrontEnd(hop=2048)], ids=str)
def test_other_front_ends_stream(front_end: FrontEnd, tmp_path: Path) -> None:
    library = compile_library(join(stream_parts(contract_of(front_end)), SIZE), tmp_path, "gcc")
    step, state, samples = 8 * front_end.hop, np.zeros(4), make_samples(100_000, seed=7)
    stream = CStream(library)
    assert stream.push(samples) == len(samples) // step
    frames = LogMel(front_end)(samples.astype(np.float32) / np.float32(32768))
    for begin in range(0, len(frames) - 7, 8):
        state = network(frames[begin : begin + 8], state)
    decision = stream.newest()
    assert decision is not None
    np.testing.assert_allclose(decision[6], state, rtol=0, atol=2e-2)


def test_strange_labels_are_named(tmp_path: Path) -> None:
    labels = ("dog bark", "dog-bark", 'a "quoted\\ ??= name*/', "Gerät")
    contract = make_contract(SMALL, labels=labels)
    names = compile_library(join(stream_parts(contract), SIZE), tmp_path, "gcc")
    array = (ctypes.c_char_p * 4).in_dll(names, "toy_labels")
    assert [name.decode() for name in array if name is not None] == list(labels)
    assert "TOY_LABEL_DOG_BARK_0 = 0" in (tmp_path / "toy.c").read_text()


MAIN = """
#include <stdio.h>

static void print_event(void *context, const toy_event *event)
{
    (void)context;
    printf("%s %d\\n", toy_labels[event->label], (int)event->has_ended);
}

int main(void)
{
    static toy_stream stream;
    uint32_t random = 1;
    toy_init(&stream, print_event, NULL);
    for (size_t step = 0; step < 3000; step++) {
        int16_t samples[700];
        const size_t count = random % 700u;
        for (size_t i = 0; i < count; i++) {
            random = random * 1664525u + 1013904223u;
            samples[i] = (int16_t)((int32_t)(random >> 16) - 32768);
        }
        random = random * 1664525u + 1013904223u;
        (void)toy_push(&stream, samples, count);
        if (step % 1000 == 999) {
            toy_finish(&stream);
            toy_reset(&stream);
        }
    }
    printf("%d\\n", toy_newest(&stream) == NULL);
    return 0;
}
"""


PRINT = """
#include <stdio.h>

int main(void)
{
    static toy_stream stream;
    uint32_t random = 1;
    toy_init(&stream, NULL, NULL);
    for (size_t step = 0; step < 20; step++) {
        int16_t samples[TOY_STEP];
        for (size_t i = 0; i < TOY_STEP; i++) {
            random = random * 1664525u + 1013904223u;
            samples[i] = (int16_t)(((int32_t)(random >> 16) - 32768) >> (step % 12));
        }
        (void)toy_push(&stream, samples, TOY_STEP);
        for (size_t i = 0; i < TOY_FRAMES * TOY_MELS; i++) {
            uint32_t bits;
            memcpy(&bits, &stream.features[i], sizeof bits);
            printf("%08lx", (unsigned long)bits);
        }
        for (size_t i = 0; i < TOY_CLASSES; i++) {
            printf(" %a", (double)stream.decision.probabilities[i]);
        }
        printf("\\n");
    }
    return 0;
}
"""


def test_an_arm_processor_computes_the_same_bits(tmp_path: Path) -> None:
    emulator, file, outputs = compiler("qemu-aarch64"), tmp_path / "toy.c", []
    file.write_text(join(stream_parts(contract_of()), PRINT))
    # The network of the tests is compiled without fused operations; the parts around it never have them.
    for cc, before in (("gcc", []), ("aarch64-linux-gnu-gcc", [emulator, "-cpu", "cortex-a76"])):
        program = tmp_path / cc
        command = [compiler(cc), *STRICT, "-O3", "-ffp-contract=off", "-static", str(file), "-o", str(program)]
        subprocess.run(command, check=True)
        outputs.append(subprocess.run([*before, str(program)], check=True, capture_output=True).stdout)
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == 20


@pytest.mark.parametrize("cc", COMPILERS)
def test_sanitizers_find_nothing(cc: str, tmp_path: Path) -> None:
    file, program = tmp_path / "toy.c", tmp_path / "toy"
    file.write_text(join(stream_parts(contract_of()), MAIN))
    sanitizers = "-fsanitize=address,undefined"
    command = [
        compiler(cc),
        *STRICT,
        "-O1",
        "-g",
        sanitizers,
        "-fno-sanitize-recover=all",
        str(file),
        "-o",
        str(program),
    ]
    built = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip(f"{cc} has no sanitizers here")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([program], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith("\n1\n") or ran.stdout == "1\n"


def test_the_header_is_cplusplus_too(tmp_path: Path) -> None:
    parts = stream_parts(contract_of())
    file = tmp_path / "user.cpp"
    header = "".join(f"{part.header}\n" for part in parts)
    file.write_text(
        f"#include <stddef.h>\n#include <stdint.h>\n{header}\nint main() {{ static toy_stream stream; "
        "toy_init(&stream, 0, 0); return toy_push(&stream, 0, 0) + toy_newest(&stream)->index; }\n"
    )
    library = tmp_path / "toy.o"
    (tmp_path / "toy.c").write_text(join(parts))
    subprocess.run([compiler("gcc"), "-std=c99", "-c", tmp_path / "toy.c", "-o", library], check=True)
    command = [compiler("g++"), "-std=c++11", "-Wall", "-Wextra", "-pedantic", "-Werror", str(file), str(library)]
    subprocess.run([*command, "-o", str(tmp_path / "user")], check=True)
