"""libFuzzer finds nothing in a stream in C, with the checks of addresses and of undefined behaviour."""

import subprocess
from pathlib import Path

import pytest

from csource.build import compiler
from csource.fuzzing import build_fuzzer


def test_libfuzzer_finds_nothing(tmp_path: Path) -> None:
    program, output = build_fuzzer(tmp_path, compiler("clang"))
    if "libclang_rt" in output:
        pytest.skip("clang has no libFuzzer here: install its runtime, such as libclang-rt-14-dev")
    assert not output
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    command = [str(program), "-runs=2000", "-seed=1", "-max_len=64", str(corpus)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert ran.returncode == 0, ran.stderr[-3000:]
