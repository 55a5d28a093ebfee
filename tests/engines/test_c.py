"""The engine that compiles C artefacts."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from artefacts import randomised, sound, write_file
from edge_asc.contract import Tensors
from edge_asc.engine import ENGINES, open_runtime
from edge_asc.engines import c
from edge_asc.errors import ContractError, EdgeAscError
from edge_asc.manifest import update_contract
from edge_asc.seal import seal
from edge_asc.streaming import StreamingClassifier
from edge_asc_export.lowering import lower_step
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler: install gcc or clang")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_file(tmp_path_factory.mktemp("c") / "step.c", [lower_step(randomised())], Plan(SCHEMES["none"]))


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.getbasetemp() / "c-cache"
    monkeypatch.setenv("EDGE_ASC_CACHE", str(folder))
    c._find_compiler.cache_clear()
    return folder / "c"


def test_it_names_compiler_and_version(path: Path) -> None:
    assert open_runtime(path).engine.startswith("c ")
    assert open_runtime(path).engine[-1].isdigit()


def test_streams_do_not_disturb_each_other(path: Path) -> None:
    runtime, samples = open_runtime(path), sound(4)
    one, two = StreamingClassifier(runtime), StreamingClassifier(runtime)
    whole = [d.logits for d in StreamingClassifier(runtime).push(samples)]
    mixed = []
    for begin in range(0, len(samples), 4096):
        mixed += [d.logits for d in one.push(samples[begin : begin + 4096])]
        two.push(-samples[begin : begin + 4096])
    np.testing.assert_array_equal(whole, mixed)
    one.reset()
    np.testing.assert_array_equal(whole, [d.logits for d in one.push(samples)])


def test_a_call_equals_a_loop(path: Path) -> None:
    runtime = open_runtime(path)
    signature = runtime.contract.signature("step")
    loop, rng = runtime.loop("step"), np.random.default_rng(0)
    states: Tensors = {spec.name: spec.initial() for spec in signature.states()}
    feeds = {spec.name: spec.feeds for spec in signature.outputs if spec.feeds}
    for _ in range(3):
        features = rng.normal(size=loop.source.shape).astype(np.float32)
        outputs = runtime.run("step", {"features": features, **states})
        np.testing.assert_array_equal(outputs["logits"], loop.feed(features))
        states = {target: outputs[name] for name, target in feeds.items()}
    for name, value in loop.state.items():
        np.testing.assert_array_equal(value, states[name])


def test_a_file_is_compiled_once_for_all_contracts(path: Path, cache: Path, tmp_path: Path) -> None:
    open_runtime(path)
    before = sorted(cache.iterdir())
    other = tmp_path / "renamed.c"
    other.write_bytes(seal(path.read_bytes().replace(b'"name":"random-causal"', b'"name":"another"')))
    assert open_runtime(other).contract.name == "another"
    assert sorted(cache.iterdir()) == before
    assert all(each.suffix == ".so" for each in before)


def test_a_damaged_file_is_neither_compiled_nor_loaded(path: Path, cache: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.c"
    damaged.write_bytes(path.read_bytes() + b"\nint added = 1;\n")
    before = sorted(cache.iterdir()) if cache.is_dir() else []
    with pytest.raises(ContractError, match="SHA-256 is"):
        open_runtime(damaged)
    assert (sorted(cache.iterdir()) if cache.is_dir() else []) == before
    assert open_runtime(damaged, verify=False).contract.name == "random-causal"


def test_c_without_a_contract(tmp_path: Path) -> None:
    plain = tmp_path / "plain.c"
    plain.write_text("int main(void) { return 0; }\n")
    for verify in (True, False):
        with pytest.raises(ContractError, match="no stream contract inside"):
            open_runtime(plain, verify=verify)


def test_states_of_another_size(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.c"
    other.write_bytes(seal(path.read_bytes().replace(b"int8_t slack[4];", b"int8_t slack[400];")))
    with pytest.raises(ContractError, match="bytes of states, its contract"):
        open_runtime(other)


def test_no_compiler(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(EdgeAscError, match=r"no-such-compiler.*install gcc or clang, or name a C compiler in"):
        open_runtime(path)


def test_a_compiler_that_fails(path: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.c"
    broken.write_bytes(seal(path.read_bytes() + b"\nint broken = ;\n"))
    with pytest.raises(EdgeAscError, match="cannot be compiled; the file may be damaged"):
        open_runtime(broken)


def test_another_contract_needs_another_export(path: Path, tmp_path: Path) -> None:
    """Rules are compiled: a contract that is only written into the comment would not be what is computed."""
    copied = tmp_path / "copied.c"
    copied.write_bytes(path.read_bytes())
    with pytest.raises(ContractError, match="export it again"):
        update_contract(copied, open_runtime(copied).contract)
    assert copied.read_bytes() == path.read_bytes()


def test_it_is_not_preferred_to_a_runtime() -> None:
    others = [engine for name, engine in ENGINES.all().items() if name != "c"]
    assert all(ENGINES.load("c").preference < engine.preference for engine in others)
