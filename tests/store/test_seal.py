"""The seal: nothing opens but what was sealed, where it was sealed for; no nonce comes twice."""

from __future__ import annotations

import multiprocessing
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxofs.store.seal import OVERHEAD_BYTES, NotOurs, Seal


def test_what_was_sealed_opens_and_tells_nothing_before() -> None:
    seal = Seal(bytes(32))
    sealed = seal.seal(b"a caller's name" * 10, b"here")
    assert seal.open(sealed, b"here") == b"a caller's name" * 10
    assert Seal(bytes(32)).open(sealed, b"here") == b"a caller's name" * 10  # another process
    assert b"caller" not in sealed
    assert len(sealed) == 150 + OVERHEAD_BYTES


@given(st.binary(max_size=100), st.data())
def test_any_bit_that_differs_is_noticed(plain: bytes, data: st.DataObject) -> None:
    seal = Seal(bytes(32))
    sealed = bytearray(seal.seal(plain, b"here"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(NotOurs):
        seal.open(bytes(sealed), b"here")


@pytest.mark.parametrize("length", [0, 1, 43, 44, 59])
def test_what_was_cut_does_not_open(length: int) -> None:
    seal = Seal(bytes(32))
    with pytest.raises(NotOurs):
        seal.open(seal.seal(bytes(16), b"here")[:length], b"here")


def test_elsewhere_or_under_another_key_it_does_not_open() -> None:
    seal = Seal(bytes(32))
    sealed = seal.seal(b"x", b"here")
    with pytest.raises(NotOurs):
        seal.open(sealed, b"there")
    with pytest.raises(NotOurs):
        Seal(b"k" * 32).open(sealed, b"here")


def test_names_tell_fields_apart_and_depend_on_the_key() -> None:
    seal = Seal(bytes(32))
    names = [
        seal.name("kind", "ab", "c"),
        seal.name("kind", "a", "bc"),
        seal.name("other", "ab", "c"),
        seal.name("kind", "ab", None),
        seal.name("kind", "ab", ""),
        seal.name("kind", "ab", 1),
        seal.name("kind", "ab", "1"),
        seal.name("kind", "ab", "\ud800"),
        Seal(b"k" * 32).name("kind", "ab", "c"),
    ]
    assert len(set(names)) == len(names)
    assert Seal(bytes(32)).name("kind", "ab", "c") == names[0]


def _head(seal: Seal) -> bytes:
    return seal.seal(b"", b"")[:28]


def _salts_and_nonces(queue: multiprocessing.Queue[list[bytes]], seal: Seal) -> None:
    queue.put([_head(seal) for _ in range(2_000)])


def test_no_salt_and_nonce_come_twice_over_restarts_processes_and_forks() -> None:
    """One seal used on in two forks is the hard case: they share all of their memory."""
    forking = multiprocessing.get_context("fork")
    seal, queue = Seal(bytes(32)), forking.Queue()
    heads = [_head(seal) for _ in range(2_000)]
    children = [forking.Process(target=_salts_and_nonces, args=(queue, seal)) for _ in range(2)]
    for child in children:
        child.start()
    forked = [queue.get(timeout=20) for _ in children]
    for child in children:
        child.join()
    heads += [head for each in forked for head in each]
    heads += [_head(seal) for _ in range(2_000)] + [_head(Seal(bytes(32))) for _ in range(2_000)]
    assert len(set(heads)) == len(heads) == 10_000
    assert len({head[:16] for head in heads}) == 2_003  # a salt of its own for each process and each start


def test_a_salt_is_not_used_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("voxofs.store.seal._PIECES_PER_SALT", 10)
    seal = Seal(os.urandom(32))
    assert len({_head(seal)[:16] for _ in range(100)}) == 10


def test_a_key_has_32_bytes_and_is_not_shown() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Seal(b"short")
    assert "kkk" not in repr(Seal(b"k" * 32))
