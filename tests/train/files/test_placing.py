"""Where files go and when: through links, into mount points, with the umask's permissions, on the disk first."""

import errno
import os
from pathlib import Path
from unittest.mock import Mock

import pytest

import usae_train as ut
from usae_train.files import placing
from usae_train.files.atomic import atomic_path, check_file, check_writable, leftovers_of
from usae_train.files.locks import folder_lock
from usae_train.runtime.errors import UsageError

USAE_FILES = {"README.md", "config.json", "model.safetensors"}


@pytest.fixture
def usae() -> ut.USAE:
    return ut.USAE({"vit": 4}, 4, 2)


@pytest.fixture
def umask():
    before = os.umask(0o027)
    yield
    os.umask(before)


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch):
    """Nothing takes the place of `out`, as where a disk is mounted."""
    replace = os.replace

    def refuse(written: Path, place: Path) -> None:
        if Path(place).name == "out":
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        replace(written, place)

    monkeypatch.setattr(os, "replace", refuse)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_written_through_a_link(usae: ut.USAE, tmp_path: Path, there: bool) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "out")
    if there:
        (tmp_path / "disk" / "out").mkdir(parents=True)
    ut.save(usae, tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert {file.name for file in (tmp_path / "disk" / "out").iterdir()} == USAE_FILES
    assert [place.name for place in (tmp_path / "disk").iterdir()] == ["out"]
    with pytest.raises(ValueError, match="link exists already"):
        ut.save(usae, tmp_path / "link")


def test_files_are_written_through_a_link_to_their_folder_or_themselves(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("disk")  # where there is nothing yet
    (tmp_path / "file").symlink_to("disk/other")
    for target in (tmp_path / "out" / "report.json", tmp_path / "file"):
        check_file(target)
        assert not (tmp_path / "disk").exists() or target.name == "file"
        with atomic_path(target) as temporary:
            temporary.write_text("whole")
    assert sorted(file.name for file in (tmp_path / "disk").iterdir()) == ["other", "report.json"]
    assert (tmp_path / "file").is_symlink()


def test_a_link_and_what_it_points_to_are_held_as_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out")
    with (
        folder_lock(tmp_path / "out"),
        pytest.raises(ValueError, match="link is being written"),
        folder_lock(tmp_path / "link"),
    ):
        pass
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("disk/out")
    (tmp_path / "disk" / ".out.1.part").touch()
    assert leftovers_of(tmp_path / "link") == [tmp_path / "disk" / ".out.1.part"]


@pytest.mark.usefixtures("mounted")
def test_a_mount_point_is_filled(usae: ut.USAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    order, copy = list[str](), placing.shutil.copyfile
    monkeypatch.setattr(placing.shutil, "copyfile", lambda one, two: order.append(one.name) or copy(one, two))
    ut.save(usae, tmp_path / "out")
    assert order[-1] == "config.json"
    assert set(order) == {file.name for file in (tmp_path / "out").iterdir()} == USAE_FILES
    assert [place.name for place in tmp_path.iterdir()] == ["out"]
    assert ut.load(tmp_path / "out").names == ["vit"]


@pytest.mark.usefixtures("mounted")
def test_a_mount_point_that_fills_up_is_left_empty(
    usae: ut.USAE, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    copy = placing.shutil.copyfile

    def fill_up(one: Path, two: Path) -> None:
        copy(one, two)
        if one.name == "model.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(placing.shutil, "copyfile", fill_up)
    with pytest.raises(ValueError, match="out cannot be written: No space left on device"):
        ut.save(usae, tmp_path / "out")
    assert [place.name for place in tmp_path.rglob("*")] == ["out"]


@pytest.mark.usefixtures("mounted")
def test_a_mounted_file_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with atomic_path(tmp_path / "out") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "out").read_text() == "whole"


@pytest.mark.usefixtures("umask")
def test_the_umask_is_respected(usae: ut.USAE, tmp_path: Path) -> None:
    folder = ut.save(usae, tmp_path / "out")
    modes = {place.name: place.stat().st_mode & 0o777 for place in (folder, *folder.iterdir())}
    assert modes.pop("out") == 0o750
    assert set(modes) == USAE_FILES
    assert set(modes.values()) == {0o640}
    with atomic_path(tmp_path / "file") as temporary:
        temporary.touch(0o600)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.syncing
def test_all_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events, sync, replace = list[str](), os.fsync, os.replace
    monkeypatch.setattr(
        os, "fsync", lambda number: events.append(Path(os.readlink(f"/proc/self/fd/{number}")).name) or sync(number)
    )
    monkeypatch.setattr(os, "replace", lambda one, two: events.append("renamed") or replace(one, two))
    with atomic_path(tmp_path / "out") as room:
        (room / "inner").mkdir(parents=True)
        (room / "inner" / "file").write_text("content")
    assert sorted(events[:3]) == sorted([room.name, "inner", "file"])
    assert events[3:] == ["renamed", tmp_path.name]


def test_a_file_is_not_written_where_a_folder_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, and a file is to be written there; choose another place"):
        check_file(tmp_path)


def test_where_only_the_inside_can_be_written_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's user may write what is mounted, and not beside it."""

    refused = OSError(errno.EACCES, os.strerror(errno.EACCES))
    monkeypatch.setattr(Path, "touch", Mock(side_effect=refused))
    with pytest.raises(ValueError, match=f"Permission denied; choose another place with --out, such as {tmp_path}/new"):
        check_writable(tmp_path)


def test_links_that_lead_to_each_other_are_refused_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match="a is a link that leads to itself; choose another place with --out"):
        placing.place_of(tmp_path / "a")
