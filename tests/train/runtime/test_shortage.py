"""Want of memory, threads or open files is said in one line, with what to lower."""

import errno

import numpy as np
import pytest
import torch

from usae_train.images.decoding import read_picture
from usae_train.runtime.shortage import REMEDIES, shortage
from usae_train.runtime.terminal import one_line_errors

HUGE = 2**60  # bytes


def of_torch():
    torch.empty(HUGE, dtype=torch.uint8)


def of_torch_beyond_all_sizes():
    torch.empty(2**40, 2**40)


def of_numpy():
    np.empty(HUGE, dtype=np.uint8)


def of_python():
    bytearray(HUGE)


@pytest.mark.parametrize("ask", [of_torch, of_torch_beyond_all_sizes, of_numpy, of_python])
def test_what_is_larger_than_any_memory_is_one_line(ask, capsys):
    with pytest.raises(SystemExit) as ended, one_line_errors():
        ask()
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"error: {REMEDIES['memory']}\n"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "memory"),
        (RuntimeError("std::bad_alloc"), "memory"),
        (RuntimeError("could not create a memory object"), "memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), "memory"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "threads"),
        (OSError(errno.EMFILE, "Too many open files"), "files"),
    ],
)
def test_the_words_of_libraries_and_kernel_are_known(error, kind, capsys):
    with pytest.raises(SystemExit), one_line_errors():
        raise error
    assert capsys.readouterr().err == f"error: {REMEDIES[kind]}\n"


def test_who_wraps_it_does_not_hide_it():
    wrapped = ValueError("a.pth is not a readable weight file; it may be cut short")
    wrapped.__cause__ = RuntimeError("std::bad_alloc")
    assert shortage(wrapped) == REMEDIES["memory"]


FAULTS = [RuntimeError("a fault of ours"), ImportError("no module named x"), KeyError("x"), ValueError("numpy's own")]


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_of_ours_is_a_line_that_names_the_file_of_its_traceback(error, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(SystemExit) as ended, one_line_errors():
        raise error
    (file,) = tmp_path.iterdir()
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (1, 1)
    assert said.startswith(f"error: a bug in usae, {type(error).__name__}: {error}; its traceback is in {file}")
    assert "expected" not in said
    assert file.read_text().startswith("Traceback (most recent call last)")
    assert "raise error" in file.read_text()
    assert shortage(error) is None


@pytest.mark.parametrize("error", FAULTS)
def test_a_fault_of_ours_comes_on_screen_where_that_is_asked(error, monkeypatch):
    monkeypatch.setenv("USAE_TRACEBACK", "1")
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_a_picture_is_not_called_broken_for_want_of_memory_or_files(tmp_path, monkeypatch):
    def no_files(*rest, **more):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("usae_train.images.decoding.Image.open", no_files)
    with pytest.raises(OSError, match="Too many open files"):
        read_picture(tmp_path / "fine.png", 8)
