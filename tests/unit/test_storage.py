import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from polystill.cli.common import user_errors
from polystill.errors import UserError
from polystill.storage import (
    atomic_folder,
    check_checksum,
    checked_json,
    checksums,
    clear_left_overs,
    locked_folder,
    need_new_folder,
    need_writable,
    read_checked_json,
    storage_errors,
    write_atomic,
)


def test_write_atomic_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "no permission"), (errno.EACCES, "no perm")]
)
def test_write_atomic_keeps_the_old_file_when_the_disk_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    path = tmp_path / "a.txt"
    write_atomic(path, "old")

    def refuse(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=words) as caught:
        write_atomic(path, "new")
    assert str(path) in str(caught.value)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_system_that_may_only_be_read_is_said(tmp_path: Path, mounting) -> None:
    (tmp_path / "a.txt").write_text("old")
    code = (
        "import sys; from pathlib import Path; from polystill.errors import UserError\n"
        "from polystill.storage import atomic_folder, write_atomic; from polystill.translation import _output\n"
        "for write in (lambda path: write_atomic(path, 'new'), lambda path: _output(path).__enter__(),\n"
        "              lambda path: atomic_folder(path).__enter__()):\n"
        "    try: write(Path(sys.argv[1]))\n"
        "    except UserError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.txt")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=mounting(tmp_path), check=False)
    assert done.stdout == f"{tmp_path / 'a.txt'}: no permission (Read-only file system)\n" * 3, done.stderr
    assert (tmp_path / "a.txt").read_text() == "old"


def test_what_cannot_be_written_is_known_before_it_is_made(tmp_path: Path, mounting) -> None:
    need_writable(tmp_path / "a.txt")
    with pytest.raises(UserError, match=rf"a\.txt: no such folder {tmp_path}/no$"):
        need_writable(tmp_path / "no" / "a.txt")
    code = (
        "import sys; from pathlib import Path; from polystill.errors import UserError\n"
        "from polystill.cli.common import check_new_file; from polystill.reporting.build import write_report\n"
        "for check in (lambda path: check_new_file('--out', path), lambda path: write_report([path.parent], path)):\n"
        "    try: check(Path(sys.argv[1]))\n"
        "    except UserError as error: print(error)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.html")]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=mounting(tmp_path), check=False)
    message = f"{tmp_path / 'a.html'}: no permission to write into {tmp_path}; give another file\n"
    assert done.stdout == f"--out {message}{message}", done.stderr


def test_an_error_of_a_copy_names_the_file_that_cannot_be_written(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "source"), None, str(tmp_path / "copy"))
    with pytest.raises(UserError, match=rf"^{tmp_path}/copy: cannot be written"), storage_errors(tmp_path):
        raise full


def test_errors_name_the_folder_that_people_know(tmp_path: Path) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(UserError) as caught, atomic_folder(tmp_path / "data") as temporary:  # noqa: SIM117
        with storage_errors(temporary / "train"):
            raise full
    assert str(caught.value).startswith(f"{tmp_path}/data/train: ")


def test_a_new_folder_is_missing_or_empty(tmp_path: Path) -> None:
    need_new_folder(tmp_path / "missing")
    need_new_folder(tmp_path)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match=f"{path}: exists already; give a new folder$"):
            need_new_folder(path)
    with pytest.raises(UserError, match=r"exists already; give another$"):
        need_new_folder(tmp_path, "give another")


@pytest.mark.parametrize("path", [".", "..", "sub/..", "/"])
def test_the_current_folder_is_not_replaced(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(UserError, match=r"this folder cannot be replaced by a new one; give a new folder$"):
        need_new_folder(Path(path))


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_to_a_folder_stays_and_its_folder_is_filled(tmp_path: Path, is_there: bool) -> None:
    target, link = tmp_path / "disk" / "out", tmp_path / "link"
    target.parent.mkdir()
    if is_there:
        target.mkdir()
    link.symlink_to(target)
    with atomic_folder(link) as temporary:
        (temporary / "a.txt").write_text("a")
    assert link.is_symlink() and (target / "a.txt").read_text() == "a"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.txt", "disk", "link", "out"]


def test_left_overs_are_cleared_but_not_what_is_being_written(tmp_path: Path) -> None:
    (tmp_path / ".dead.tmp-0123abcd").mkdir()
    with atomic_folder(tmp_path / "alive") as temporary:
        clear_left_overs(tmp_path)
        (temporary / "file").write_text("x")
    assert [p.name for p in tmp_path.iterdir()] == ["alive"]


def test_locked_folder_waits_for_the_other_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from polystill.storage import locked_folder\n"
        f"with locked_folder(Path({str(tmp_path)!r})): print(Path({str(tmp_path)!r}, 'mine').exists())"
    )
    with locked_folder(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(1.5)
        (tmp_path / "mine").touch()
    assert other.communicate(timeout=30)[0] == "True\n"


def test_a_scratch_folder_in_a_folder_that_becomes_read_only(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.apart import drop_powers\n"
        "from polystill.storage import scratch_folder\n"
        "drop_powers(); parent = Path(sys.argv[1])\n"
        "with scratch_folder(parent, 'text-') as folder:\n"
        "    (folder / 'lines').write_text('one'); parent.chmod(0o555)\n"
        "    raise InterruptedError('the cause')"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    tmp_path.chmod(0o755)
    assert done.stderr.endswith("InterruptedError: the cause\n") and "During handling" not in done.stderr


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "run/hypotheses"), "run/hypotheses: no permission ("),
        (OSError(errno.EROFS, "Read-only file system", "run/.data.tmp-0123abcd"), "run/data: no permission ("),
        (OSError(errno.ENOSPC, "No space left on device"), "cannot be written, no space left ("),
    ],
)
def test_a_disks_refusal_anywhere_ends_a_command_with_one_line(
    capsys: pytest.CaptureFixture[str], error: OSError, line: str
) -> None:
    with pytest.raises(SystemExit, match="2"), user_errors():
        raise error
    said = capsys.readouterr().err
    assert said.startswith(f"error: {line}") and said.count("\n") == 1


def test_other_errors_of_the_system_are_not_hidden() -> None:
    with pytest.raises(FileNotFoundError), user_errors():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "lost")


def test_storage_errors_understands_libraries_that_only_give_the_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no space left"), storage_errors(tmp_path / "weights"):
        raise RuntimeError("SafetensorError: No space left on device (os error 28)")
    with pytest.raises(ValueError, match="unrelated"), storage_errors(tmp_path):
        raise ValueError("unrelated")


def test_atomic_folder_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result"
    with atomic_folder(path) as temporary:
        (temporary / "sub").mkdir()
        (temporary / "sub" / "file").write_text("x")
        assert not path.exists()
    assert (path / "sub" / "file").read_text() == "x"
    assert [p.name for p in path.parent.iterdir()] == ["result"]


def test_atomic_folder_keeps_the_old_one_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "result"
    with atomic_folder(path) as temporary:
        (temporary / "file").write_text("old")
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "file").write_text("new")
        raise RuntimeError
    assert (path / "file").read_text() == "old"
    with atomic_folder(path) as temporary:
        (temporary / "other").write_text("new")
    assert [p.name for p in path.iterdir()] == ["other"]
    assert [p.name for p in tmp_path.iterdir()] == ["result"]


def test_atomic_folder_restores_the_old_one_when_the_last_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "result"
    path.mkdir()
    (path / "file").write_text("old")
    rename = Path.rename

    def fail_at_the_end(self: Path, target: Path) -> Path:
        if ".tmp-" in self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_end)
    with pytest.raises(UserError, match="no space left"), atomic_folder(path):
        pass
    assert (path / "file").read_text() == "old"


def test_two_processes_that_replace_a_folder_again_and_again_leave_one_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from polystill.storage import atomic_folder\n"
        "for number in range(300):\n"
        "    with atomic_folder(Path(sys.argv[1])) as folder: (folder / 'file').write_text('whole')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "result")]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [""] * 3
    assert (tmp_path / "result/file").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["result"]


def test_checksums_of_a_folder_find_a_flipped_bit(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b").write_bytes(b"content")
    (tmp_path / "c").touch()
    noted = checksums(tmp_path)
    assert list(noted) == ["a/b", "c"]
    check_checksum(tmp_path / "a/b", noted["a/b"], "make it again")
    (tmp_path / "a/b").write_bytes(b"cnntent")
    with pytest.raises(UserError, match=r"a/b: damaged, its content is not what was written .*; make it again"):
        check_checksum(tmp_path / "a/b", noted["a/b"], "make it again")
    (tmp_path / "c").unlink()
    with pytest.raises(UserError, match=r"c: cannot be read \(No such file or directory\); make it again"):
        check_checksum(tmp_path / "c", noted["c"], "make it again")


def test_a_flipped_bit_in_a_checked_json_file_is_found_or_changes_nothing(tmp_path: Path) -> None:
    values = {"stages": {"data": {"pairs": 7, "loss": 0.1, "language": "ä"}}, "pair": (1, 2)}
    path = tmp_path / "state.json"
    path.write_text(checked_json(values), encoding="utf-8")
    content = path.read_bytes()
    assert read_checked_json(path) == {**values, "pair": [1, 2]}
    for bit in range(8 * len(content)):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            read = read_checked_json(path)
        except ValueError:
            continue
        assert read == {**values, "pair": [1, 2]}
