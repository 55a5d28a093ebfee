"""Messages of protobuf are read and written as they are."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_asc.errors import ContractError
from edge_asc.protobuf import BYTES, FIXED32, FIXED64, Field, Message

numbers = st.integers(1, 2**20)
fields = st.one_of(
    st.builds(Field.of, numbers, st.integers(0, 2**64 - 1)),
    st.builds(Field.of, numbers, st.binary(max_size=300)),
    st.builds(lambda n, c: Field(n, FIXED32, content=c), numbers, st.binary(min_size=4, max_size=4)),
    st.builds(lambda n, c: Field(n, FIXED64, content=c), numbers, st.binary(min_size=8, max_size=8)),
)


@given(st.lists(fields))
def test_what_is_written_is_read(parts: list[Field]) -> None:
    message = Message(parts)
    assert Message.parse(message.dumps()) == message


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(ContractError):
        Message.parse(data)


def test_integers_may_be_packed() -> None:
    packed = Field(1, BYTES, content=b"\x03\xac\x02")
    assert Message([Field.of(1, 7), packed]).integers(1) == [7, 3, 300]


@pytest.mark.parametrize("data", [b"\x0a\x05ab", b"\x08", b"\x0b", b"\x0d\x00", b"\x08" + b"\xff" * 11])
def test_damaged_messages_are_refused(data: bytes) -> None:
    with pytest.raises(ContractError, match="damaged"):
        Message.parse(data)
