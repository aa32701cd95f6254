"""The store of arrays: what goes in comes out, of several processes at once, and nothing that is not whole."""

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from train.data.features import key_of
from train.data.store import Store


def array(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((number % 7 + 1, 5)).astype(np.float32)


def write(folder, numbers) -> None:
    store = Store(folder)
    for number in numbers:
        store.put(key_of(number), array(number))


def test_arrays_of_any_kind_come_back_as_they_were(tmp_path):
    store = Store(tmp_path)
    kinds = [np.float32(3).reshape(()), np.zeros((0, 40), np.float32), np.arange(24, dtype=np.int8).reshape(2, 3, 4),
             np.ones((2, 2), np.float16), array(3).T, np.array([True, False])]  # fmt: skip
    for number, kind in enumerate(kinds):
        store.put(key_of(number), np.asarray(kind))
    for number, kind in enumerate(kinds):
        found = Store(tmp_path).get(key_of(number))
        assert found.dtype == np.asarray(kind).dtype
        np.testing.assert_array_equal(found, kind)
        assert not found.flags.writeable
    assert store.get(key_of("other")) is None


def test_a_few_files_hold_thousands(tmp_path):
    write(tmp_path, range(3_000))
    assert len(list(tmp_path.iterdir())) == 2
    store = Store(tmp_path)
    for number in (0, 17, 2_999):
        np.testing.assert_array_equal(store.get(key_of(number)), array(number))


def test_arrays_that_are_written_and_held_need_no_descriptor_each(tmp_path):
    """A process may have a thousand files open; a first training holds what it has just made of every clip."""
    store, held = Store(tmp_path), []
    before = len(os.listdir("/proc/self/fd"))
    for number in range(3_000):
        store.put(key_of(number), array(number))
        held.append(store.get(key_of(number)))
    assert len(os.listdir("/proc/self/fd")) < before + 10
    for number in range(0, 3_000, 100):
        np.testing.assert_array_equal(held[number], array(number))


def test_a_file_takes_the_space_of_what_is_in_it(tmp_path):
    write(tmp_path, range(100))
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_blocks * 512 < 100_000 < data.stat().st_size


def test_a_process_goes_on_where_the_one_before_ended(tmp_path):
    for first in range(0, 300, 100):
        write(tmp_path, range(first, first + 100))
    (data,) = tmp_path.glob("*.data")
    assert data.stat().st_blocks * 512 < 100_000
    store = Store(tmp_path)
    for number in range(300):
        np.testing.assert_array_equal(store.get(key_of(number)), array(number))


def test_processes_write_beside_each_other_and_read_what_the_others_wrote(tmp_path):
    store = Store(tmp_path)
    store.put(key_of(0), array(0))  # holds its files open, as a training does
    spawn = multiprocessing.get_context("spawn")
    others = [spawn.Process(target=write, args=(tmp_path, range(first, 400, 3))) for first in (1, 2, 3)]
    for process in others:
        process.start()
    for process in others:
        process.join()
        assert process.exitcode == 0
    for number in range(400):
        np.testing.assert_array_equal(store.get(key_of(number)), array(number))


def test_a_later_array_takes_the_place_of_an_earlier_one(tmp_path):
    store = Store(tmp_path)
    store.put(key_of("k"), array(1))
    store.put(key_of("k"), array(2))
    np.testing.assert_array_equal(Store(tmp_path).get(key_of("k")), array(2))


def test_damaged_content_is_not_there_and_what_comes_after_a_crash_is(tmp_path):
    write(tmp_path, range(3))
    data, keys = tmp_path / "000.data", tmp_path / "000.keys"
    content = bytearray(data.read_bytes())
    content[4] ^= 0xFF
    data.write_bytes(bytes(content) + b"half an array")
    keys.write_bytes(keys.read_bytes() + b"half a record")
    write(tmp_path, [9])
    store = Store(tmp_path)
    assert store.get(key_of(0)) is None
    for number in (1, 2, 9):
        np.testing.assert_array_equal(store.get(key_of(number)), array(number))


def test_it_travels_to_another_process(tmp_path):
    write(tmp_path, [5])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(Store(tmp_path))).get(key_of(5)), array(5))


def test_too_many_dimensions_are_refused(tmp_path):
    with pytest.raises(ValueError, match="5 dimensions"):
        Store(tmp_path).put(key_of(0), np.zeros((1,) * 5))


def resident_mb(path) -> float:
    """How much of a mapped file this process holds, by the kernel's own account."""
    held, of_it = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ")[0]:
            of_it = line.endswith(str(path))
        elif of_it and line.startswith("Rss:"):
            held += int(line.split()[1])
    return held / 1_000


def test_a_process_does_not_hold_all_that_it_looked_at(tmp_path, monkeypatch):
    """Of a store larger than the memory, the pages that were read before are the system's to keep or to forget."""
    monkeypatch.setattr("train.data.store._MAPPED_BYTES", 4_000_000)
    store = Store(tmp_path)
    for number in range(40):
        store.put(key_of(number), np.full(250_000, number, np.float32))
    held, arrays = [], []
    for number in range(40):
        arrays.append(store.get(key_of(number)))
        held.append(resident_mb(tmp_path / "000.data"))
    assert max(held) > 0
    assert max(held) < 10  # of 40
    assert [float(array[-1]) for array in arrays] == list(range(40))  # what was let go of is still what it was
