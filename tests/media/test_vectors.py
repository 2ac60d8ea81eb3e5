import pickle

import numpy as np
import pytest
import torch

from bind.data.transforms.vectors import VectorTransform
from bind.media.vectors import read_vector
from bind.types import Clip, PackedFile, StoredVector


@pytest.mark.parametrize("kind", ["<f4", "<f2", ">f8", "int16"])
@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_a_file_holds_one_vector_of_any_kind_of_number(tmp_path, kind, shape):
    path = tmp_path / "a.npy"
    np.save(path, np.array([1, -2, 3], kind).reshape(shape))
    vector = read_vector(Clip(path), 3)
    assert vector.dtype == np.float32
    assert vector.tolist() == [1, -2, 3]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1.0, np.nan]), "NaN or infinite"),
        (np.array([1.0, np.inf]), "NaN or infinite"),
        (np.array([1e300, 1.0]), "NaN or infinite"),
        (np.zeros(2), "all its numbers are 0"),
        (np.ones(3), "3 numbers instead of 2"),
        (np.ones((2, 2)), r"its shape is \(2, 2\)"),
        (np.ones(()), r"its shape is \(\)"),
        (np.ones((0,)), r"its shape is \(0,\)"),
        (np.array([True, False]), "bool, not numbers"),
        (np.array([1j, 2]), "complex128"),
        (np.array(["a", "b"]), "<U1"),
    ],
)
def test_what_is_no_vector_names_the_file(tmp_path, array, message):
    path = tmp_path / "a.npy"
    np.save(path, array)
    with pytest.raises(ValueError, match=f"{path}: .*{message}"):
        read_vector(Clip(path), 2)
    if array.dtype.kind in "iufb":
        with pytest.raises(ValueError, match=f"row 7: .*{message}"):
            read_vector(StoredVector(array, "row 7"), 2)


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_array_names_itself(tmp_path, content):
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npy: not readable as \.npy"):
        read_vector(Clip(path))
    with pytest.raises(ValueError, match=r"b\.npy: no such file"):
        read_vector(Clip(tmp_path / "b.npy"))


def test_pickles_are_not_read_whatever_they_are_called(tmp_path):
    objects, torchs, plain = tmp_path / "objects.npy", tmp_path / "vector.pt", tmp_path / "vector.pkl"
    np.save(objects, np.array([{"a": 1}, None]), allow_pickle=True)
    torch.save(torch.ones(2), torchs)
    plain.write_bytes(pickle.dumps([1.0, 2.0]))
    for path, reason in (
        (objects, "it holds Python objects, a pickle, which can hold commands and is not read"),
        (torchs, r"it is of torch\.save, a pickle, .* save tensor\.numpy\(\)"),
        (plain, "it is a Python pickle"),
    ):
        with pytest.raises(ValueError, match=rf"{path}: not readable as \.npy \({reason}.*Write it with numpy\.save"):
            read_vector(Clip(path))
    with pytest.raises(ValueError, match=r"not readable as \.npy \(it holds Python objects"):
        read_vector(Clip(PackedFile("shard: objects.npy", objects.read_bytes())))


def test_vectors_of_two_models_are_no_batch():
    transform = VectorTransform()
    with pytest.raises(ValueError, match=r"vectors of \[2, 3\] numbers"):
        transform.collate([transform([1.0, 2.0], None), transform([1.0, 2.0, 3.0], None)])
