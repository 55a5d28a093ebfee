from __future__ import annotations

import os

import pytest

from edge_asc.native import STDERR, drop_lines


def test_lines_of_native_code_are_dropped_and_others_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with drop_lines("INFO: routine"):
        os.write(STDERR, b"INFO: routine work\nERROR: a real one\n")
    os.write(STDERR, b"INFO: routine afterwards\n")
    assert capfd.readouterr().err == "ERROR: a real one\nINFO: routine afterwards\n"


def test_what_was_printed_before_an_error_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(STDERR, b"why it broke\n")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), drop_lines("INFO"):
        fail()
    assert capfd.readouterr().err == "why it broke\n"
