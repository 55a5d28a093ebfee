import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.contract import Affine
from edge_asc.quantisation import asymmetric, quantise, quantise_weight, symmetric

finite = st.floats(-1e4, 1e4, allow_nan=False)


@given(finite, finite)
def test_8_bits_hold_zero_exactly_and_span_their_range(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    found = asymmetric(low, high)
    assert -128 <= found.zero_point <= 127
    bottom, top = ((end - found.zero_point) * found.scale for end in (-128, 127))
    assert bottom - found.scale <= min(low, 0.0)
    assert top + found.scale >= max(high, 0.0)
    assert quantise(0.0, found) == found.zero_point


@given(st.floats(-3, 3), st.floats(0.01, 5))
def test_a_value_within_the_range_is_rounded_by_at_most_half_a_step(value: float, reach: float) -> None:
    found = asymmetric(-reach, reach)
    value = max(-reach, min(value, reach * 0.99))
    back = (int(quantise(value, found)) - found.zero_point) * found.scale
    assert abs(back - value) <= 0.51 * found.scale


def test_values_beyond_the_range_saturate() -> None:
    found = asymmetric(-1, 1)
    assert quantise([-9.0, 9.0], found).tolist() == [-128, 127]


def test_a_large_bias_on_tiny_weights_still_fits_32_bits() -> None:
    weight = np.full((2, 3), 1e-9, np.float32)
    found = quantise_weight(weight, np.array([50.0, 0.0], np.float32), 0, Affine(0.01, 0))
    steps = found.bias_scales(Affine(0.01, 0))
    assert found.bias[0] * float(steps[0]) == pytest.approx(50.0, rel=1e-6)


@given(finite, finite)
def test_16_bits_are_symmetric_and_span_their_range(a: float, b: float) -> None:
    low, high = min(a, b, 0.0), max(a, b, 0.0)
    found = symmetric(low, high)
    assert found.zero_point == 0
    assert 32767 * found.scale >= max(-low, high) * (1 - 1e-6)
    assert quantise(0.0, found, int16=True) == 0
    assert quantise([1e9, -1e9], found, int16=True).tolist() == [32767, -32768]
