"""C artefacts against LiteRT and PyTorch, with every kernel that this machine can compile and run."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import c_proof
from artefacts import BACKBONES, LABELS, calibrated, contract, lowered_file, randomised, write_file
from csource.wasm import run_test_in_node
from edge_asc import audio
from edge_asc.contract import Affine
from edge_asc.engine import open_runtime
from edge_asc.engines.c import CRuntime
from edge_asc.engines.pytorch import TorchRuntime
from edge_asc.errors import ExportError
from edge_asc.frontend import Array, LogMel
from edge_asc.manifest import Manifest
from edge_asc.models.crnn import CRNN
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint
from edge_asc_arm.processor import MICROCONTROLLERS, PROCESSORS, SOURCES, Processor, compile_program, fill, run_program
from edge_asc_arm.program import count_program
from edge_asc_export.artefact import Draft, write
from edge_asc_export.bundle import ExportRequest, export
from edge_asc_export.c.file import CFile, prefix_of, write_companions
from edge_asc_export.c.storage import Block, Place, join_runs, plan_memory
from edge_asc_export.c.text import comment, float_literal, identifier
from edge_asc_export.format import FORMATS, check_support, default_formats
from edge_asc_export.integer import add_constants
from edge_asc_export.lowering import lower_step, lower_window
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES, Scheme

COMPILER = shutil.which("cc")
needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler: install gcc or clang")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Wstrict-prototypes", "-Werror")
CLIPS = 3
FORMS = [
    *((backbone, "gru", scheme) for backbone in BACKBONES for scheme in ("whole", "int8", "none")),
    ("fuse", "linear", "whole"),
    ("fuse", "linear", "int8"),
    ("fuse", "gru", "int8-float-gru"),
]


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled files of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGE_ASC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def plan_of(model: CRNN, scheme: str) -> Plan:
    chosen = Scheme("whole", "int8", "int8") if scheme == "whole" else SCHEMES[scheme]
    return calibrated(model).with_scheme(chosen) if chosen.static else Plan(chosen)


def open_both(model: CRNN, scheme: str, folder: Path) -> tuple[Runtime, Runtime]:
    """The step of a model as C and as TFLite."""
    plan = plan_of(model, scheme)
    graphs = [lower_step(model)]
    c, tflite = (write_file(folder / f"step.{suffix}", graphs, plan) for suffix in ("c", "tflite"))
    return open_runtime(c), open_runtime(tflite)


def compare(c: Runtime, other: Runtime, frames: Array) -> dict[str, float]:
    """The largest difference of each output over all steps, each from the states of `other`'s own stream."""
    mine, theirs = c.loop("step"), other.loop("step")
    errors: dict[str, float] = {}
    for begin in range(0, len(frames) - 7, 8):
        features = frames[begin : begin + 8].reshape(theirs.source.shape)
        pairs = {"logits": (mine.feed(features), theirs.feed(features))}
        states = theirs.state
        pairs |= {name: (value, states[name]) for name, value in mine.state.items()}
        for name, (a, b) in pairs.items():
            errors[name] = max(errors.get(name, 0.0), float(np.abs(a.astype(np.float64) - b.astype(np.float64)).max()))
    return errors


def noise(steps: int) -> Array:
    return np.random.default_rng(0).normal(-7, 2.5, (8 * steps, 256)).astype(np.float32)


def normalised_noise(steps: int) -> Array:
    return np.clip(np.random.default_rng(1).normal(0, 1.5, (8 * steps, 256)), -4, 4).astype(np.float32)


@needs_compiler
@pytest.mark.parametrize(("backbone", "head", "scheme"), FORMS, ids="-".join)
def test_c_computes_what_litert_computes(backbone: str, head: str, scheme: str, tmp_path: Path) -> None:
    model = randomised(backbone=backbone, head=head)
    errors = compare(*open_both(model, scheme, tmp_path), normalised_noise(12))
    states = {name for name, error in errors.items() if error and name != "logits"}
    if scheme in ("int8", "whole"):
        logits = errors.pop("logits")
        assert errors == dict.fromkeys(errors, 0.0)
        assert logits <= (1e-5 if scheme == "int8" else 0.0)
    elif scheme == "int8-float-gru":
        assert states <= {"hidden_0", "hidden_1"}
        assert max(errors.values()) < 1e-5
    else:
        assert max(errors.values()) < 1e-4
        assert errors["logits"] < 1e-5


@needs_compiler
@pytest.mark.parametrize("backbone", BACKBONES)
def test_int8_equals_litert_on_real_recordings(backbone: str, scenes10: Path, tmp_path: Path) -> None:
    checkpoint = Checkpoint.load(find_checkpoint(backbone))
    plan = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES["int8"])
    draft = Draft(checkpoint, "", plan)
    runtimes = []
    for name in ("c", "tflite"):
        (artefact,) = write(draft, name)
        (tmp_path / artefact.name).write_bytes(artefact.data)
        runtimes.append(open_runtime(tmp_path / artefact.name))
    every = sorted((scenes10 / "audio").iterdir())
    clips = [LogMel(checkpoint.front_end)(audio.read(path)) for path in every[:: len(every) // CLIPS][:CLIPS]]
    frames = np.concatenate([clip[: len(clip) // 8 * 8] for clip in clips])
    errors = compare(runtimes[0], runtimes[1], frames)
    assert len(frames) > 8 * 50
    assert errors.pop("logits") < 1e-5  # sums in float
    assert errors == dict.fromkeys(errors, 0.0)


@needs_compiler
def test_a_float_step_equals_pytorch(tmp_path: Path) -> None:
    (path,) = [write_file(tmp_path / "step.c", [lower_step(model := randomised())], Plan(SCHEMES["none"]))]
    from artefacts import FRONT_END

    reference = TorchRuntime(Checkpoint("random-causal", model, FRONT_END, LABELS))
    mine, theirs = open_runtime(path).loop("step"), reference.loop("step")
    for begin in range(0, 80, 8):
        features = normalised_noise(10)[begin : begin + 8]
        a = mine.feed(features.reshape(mine.source.shape))
        b = theirs.feed(np.ascontiguousarray(features.T).reshape(theirs.source.shape))
        np.testing.assert_allclose(a.reshape(-1), b.reshape(-1), rtol=0, atol=1e-5)


def write_program(folder: Path, backbone: str, scheme: str) -> Path:
    """Write a C artefact with its header and its test, by the kernels of this machine; return the folder."""
    if COMPILER is None:
        pytest.skip("no C compiler: install gcc or clang")
    model = randomised(backbone=backbone)
    written = lowered_file("c", [lower_step(model)], plan_of(model, scheme))
    assert isinstance(written, CFile)
    stated = contract(written.signatures(512), scheme=scheme)
    (folder / "model.c").write_bytes(written.finish(stated))
    runtime = open_runtime(folder / "model.c")
    assert isinstance(runtime, CRuntime)
    for name, content in write_companions(written, stated, runtime).items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module", params=[("bcresnet", "int8"), ("fuse", "none")], ids="-".join)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a C artefact."""
    return write_program(tmp_path_factory.mktemp("program"), *request.param)


@pytest.fixture(scope="module")
def fuse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a C artefact with the backbone FUSE in int8."""
    return write_program(tmp_path_factory.mktemp("fuse"), "fuse", "int8")


def build(folder: Path, *command: str) -> list[str]:
    """Compile an artefact and its test; return the program."""
    (test,) = folder.glob("test_*.c")
    program = folder / "program"
    subprocess.run([*command, "model.c", test.name, "-o", program], check=True, cwd=folder)
    return [str(program)]


def run_test(program: list[str]) -> None:
    result = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout[:5]) == (0, "0 of "), result.stdout + result.stderr


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "flags", [("-O1", "-DEDGE_ASC_PORTABLE"), ("-O2", "-march=native")], ids=["portable", "native"]
)
def test_every_kernel_computes_the_same_without_warnings(program: Path, compiler: str, flags: tuple[str, ...]) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    run_test(build(program, compiler, *STRICT, *flags))


@pytest.mark.skipif(platform.machine() != "x86_64", reason="kernels of x86-64")
def test_kernels_with_avx2_compute_the_same(program: Path) -> None:
    if "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    run_test(build(program, "cc", *STRICT, "-O2", "-mavx2"))


@pytest.mark.parametrize(("processor", "emulated"), [("cortex-a72", "cortex-a72"), ("cortex-a76", "neoverse-n1")])
def test_kernels_of_arm_compute_the_same(program: Path, processor: str, emulated: str) -> None:
    compiler, emulator = "aarch64-linux-gnu-gcc", "qemu-aarch64"
    for tool in (compiler, emulator):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    arguments = build(program, compiler, *STRICT, "-O2", f"-mcpu={processor}", "-static")
    run_test([emulator, "-cpu", emulated, *arguments])


def test_kernels_of_webassembly_compute_the_same(program: Path, tmp_path: Path) -> None:
    assert run_test_in_node(program / "model.c", tmp_path, *STRICT, "-O1", "-msimd128") == 0


def test_it_compiles_for_a_microcontroller_without_a_library(program: Path) -> None:
    if shutil.which("arm-none-eabi-gcc") is None:
        pytest.skip("arm-none-eabi-gcc is not installed")
    flags = ("-Os", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-ffreestanding")
    subprocess.run(["arm-none-eabi-gcc", *STRICT, *flags, "-c", "model.c", "-o", "m.o"], check=True, cwd=program)
    needed = subprocess.run(["arm-none-eabi-nm", "-u", "m.o"], check=True, cwd=program, capture_output=True, text=True)
    names = {name for name in needed.stdout.split() if name != "U" and not name.startswith("__aeabi_")}
    assert names <= {"memcpy", "memset", "memmove"}


@pytest.mark.parametrize("processor", MICROCONTROLLERS, ids=lambda processor: processor.name)
def test_it_computes_the_same_on_microcontrollers(fuse: Path, processor: Processor) -> None:
    for tool in processor.tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    (test,) = fuse.glob("test_*.c")
    compiled = compile_program(processor, fuse / "model.c", test, fuse, [*STRICT, processor.optimisation])
    assert run_program(processor, compiled, fuse).startswith("0 of ")


@pytest.mark.parametrize("name", ["cortex-a76", "cortex-m7"])
def test_instructions_are_counted(name: str, fuse: Path, tmp_path: Path) -> None:
    processor = PROCESSORS[name]
    for tool in processor.tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    engine, counts = count_program(processor, fuse / "model.c", tmp_path)
    assert re.fullmatch(rf"c {processor.compiler[0]} \d+\.\d+\.\d+", engine)
    assert counts.total == counts.front_end + counts.model
    assert 10_000 < counts.front_end < counts.model
    assert (counts.dot_products > 10_000) == (name == "cortex-a76")


@needs_compiler
def test_the_proof_counts_logits_and_states_that_differ(fuse: Path, tmp_path: Path) -> None:
    model = randomised()
    tflite = open_runtime(write_file(tmp_path / "step.tflite", [lower_step(model)], plan_of(model, "int8")))
    states = [spec.name for spec in tflite.contract.signature("step").states()]
    steps = list(c_proof.compute_steps(tflite.loop("step"), normalised_noise(3), states))
    main, here = tmp_path / "compare.c", Processor("here", ("cc",), ())
    main.write_text(fill((SOURCES / main.name).read_text(), fuse / "model.c"))
    values = 4 * (1 + 8 * 256 + len(LABELS))
    flags = ["-O1", f"-DSTATE_BYTES={len(steps[0]) - values}", '-DVECTORS="steps.bin"']
    compiled = compile_program(here, fuse / "model.c", main, tmp_path, flags)
    (tmp_path / "steps.bin").write_bytes(b"".join(steps))
    compared = 3 * (len(steps[0]) - values + len(LABELS))
    assert run_program(here, compiled, tmp_path).strip() == f"0 of {compared}"
    changed = bytearray(b"".join(steps))
    changed[values - 1] ^= 1  # the exponent of a logit
    changed[-1] ^= 1
    (tmp_path / "steps.bin").write_bytes(changed)
    assert run_program(here, compiled, tmp_path).strip() == f"2 of {compared}"


def test_it_reads_and_writes_nothing_outside(program: Path) -> None:
    sanitised = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    probe = subprocess.run(["cc", *sanitised, "-x", "c", "-", "-o", os.devnull], input=b"int main(void){return 0;}")
    if probe.returncode:
        pytest.skip("this compiler has no sanitizers")
    for flags in (("-DEDGE_ASC_PORTABLE",), ("-march=native",)):
        run_test(build(program, "cc", *STRICT, *sanitised, *flags))


def test_a_wrong_result_fails_the_test(program: Path) -> None:
    (test,) = program.glob("test_*.c")
    whole = test.read_text()
    test.write_text(whole.replace("seed = 1;", "seed = 2;"))
    arguments = build(program, "cc", "-O1")
    test.write_text(whole)
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 1


@needs_compiler
def test_an_export_lists_the_files_that_belong_together(tmp_path: Path) -> None:
    model = randomised()
    from artefacts import FRONT_END

    saved = Checkpoint("random-causal", model, FRONT_END, LABELS)
    saved.save(tmp_path / "model")
    output = tmp_path / "out"
    manifest = export(ExportRequest(tmp_path / "model", SCHEMES["none"], ("c",)), output)
    names = {"random-causal-float.c", "random-causal-float.h", "random-causal-float.json", "test_random-causal-float.c"}
    assert {path.name for path in output.iterdir()} == names | {"manifest.json"}
    assert set(manifest.hashes) == names
    assert Manifest.read(output).hashes == manifest.hashes
    assert FORMATS.load("c").inspect(output / "random-causal-float.c").arithmetic["step"]["integer"] == 0
    export(ExportRequest(tmp_path / "model", SCHEMES["none"], ("onnx",)), output)
    assert {path.name for path in output.iterdir()} == {"random-causal-float-step.onnx", "manifest.json"}


def test_c_is_written_only_where_it_is_named() -> None:
    assert default_formats(SCHEMES["int8"]) == ("onnx", "tflite")
    check_support("c", SCHEMES["int8"])
    for name in ("fp16", "int8-dynamic", "int16x8"):
        with pytest.raises(ExportError, match="c cannot express"):
            check_support("c", SCHEMES[name])


def test_what_has_no_c_form_is_refused() -> None:
    model = randomised(form="windowed")
    with pytest.raises(ExportError, match="C has no windows"):
        FORMATS.load("c").files([lower_window(model, 1, 31), lower_window(model, 2, 62)])


def test_a_scheme_of_your_own_keeps_tensors_float(tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C compiler: install gcc or clang")
    model = randomised()
    plan = calibrated(model).with_scheme(Scheme("own", "int8", "int8", ("stem_0", "body_1_*")))
    paths = [write_file(tmp_path / f"step.{suffix}", [lower_step(model)], plan) for suffix in ("c", "tflite")]
    errors = compare(open_runtime(paths[0]), open_runtime(paths[1]), normalised_noise(6))
    # A float sum that lies between two integers may be rounded to either.
    assert np.median(list(errors.values())) <= 1.0


def test_a_contract_cannot_end_its_comment() -> None:
    written = lowered_file("c", [lower_step(randomised())], Plan(SCHEMES["none"]))
    stated = replace(contract(written.signatures(512)), labels=("*/ int x; /*", *LABELS[1:]))
    data = written.finish(stated)
    without_literals = re.sub(rb'"(?:[^"\\\n]|\\.)*"', b"", data)
    assert without_literals.count(b"*/ int x") == 0
    from edge_asc.engines.c import read_c_contract

    assert read_c_contract(Path("step.c"), data) == stated


def test_names_and_numbers_of_c() -> None:
    assert [identifier(name) for name in ("fuse-int8", "4x", "")] == ["fuse_int8", "_4x", "_"]
    literals = [float_literal(value) for value in (1.0, -0.1, 1e-20, 3.4028235e38)]
    assert literals == ["1.0f", "-0.1f", "1e-20f", "3.4028235e+38f"]
    assert comment("a */ b") == "/* a * / b */"


def test_memory_is_shared_by_what_is_not_used_at_once() -> None:
    blocks = [Block("a", 100, 0, 1), Block("b", 50, 1, 2), Block("c", 100, 2, 3), Block("d", 10, 0, 3)]
    offsets, total = plan_memory(blocks)
    for one in blocks:
        for other in blocks:
            at_once = one is not other and one.first <= other.last and other.first <= one.last
            apart = offsets[one.name] >= offsets[other.name] + other.size or (
                offsets[other.name] >= offsets[one.name] + one.size
            )
            assert apart or not at_once
    assert total == 112 + 64 + 16
    assert plan_memory([]) == ({}, 0)


def test_neighbouring_work_is_joined() -> None:
    x, y = Place("x"), Place("y")
    pieces = [((x, y), 4), ((x + 8, y + 4), 4), ((x + 20, y + 8), 4)]
    assert join_runs(pieces, (2, 1)) == [((x, y), 8), ((x + 20, y + 8), 4)]
    assert str(x + 0) == "x"
    assert str(x + 3) == "x + 3"


def test_a_sum_of_far_scales_is_refused() -> None:
    one, tiny = Affine(1.0, 0), Affine(1e-4, 0)
    assert add_constants(one, one, one, relu=False).shift == 20
    with pytest.raises(ExportError, match="a sum scales by 10000"):
        add_constants(one, one, tiny, relu=False)


def test_public_names_are_those_of_the_file() -> None:
    written = lowered_file("c", [lower_step(randomised())], Plan(SCHEMES["none"]))
    assert prefix_of(contract(written.signatures(512))) == "random_causal_float"
