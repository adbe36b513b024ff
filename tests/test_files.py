"""Files that are whole or not there, folders that are swapped, and who may be in one."""

import subprocess
import sys
import time

import pytest
from filelock import UnixFileLock

from zmem_lib import files
from zmem_lib.files import (
    LOCK,
    BadInput,
    drop_temporaries,
    hash_path,
    held,
    must_exist,
    new_folder,
    restore,
    write_json,
)

KILLED = """import os, sys
from pathlib import Path
from zmem_lib import files
rename = Path.rename
def killed(path, target):
    if path.name.endswith(sys.argv[2]):
        os._exit(9)
    return rename(path, target)
Path.rename = killed
with files.new_folder(Path(sys.argv[1])) as new:
    (new / "a").write_text("new")"""


def text_in(folder) -> str:
    return must_exist(folder / "a").read_text()


def test_a_folder_is_swapped_in_whole_or_not_at_all(tmp_path):
    for content in ("one", "two"):
        with new_folder(tmp_path / "f") as new:
            assert not (tmp_path / "f").exists() or text_in(tmp_path / "f") == "one"
            (new / "a").write_text(content)
    with pytest.raises(KeyError), new_folder(tmp_path / "f") as new:
        (new / "a").write_text("three")
        raise KeyError
    assert text_in(tmp_path / "f") == "two" and [path.name for path in tmp_path.iterdir()] == ["f"]


@pytest.mark.parametrize("before", ["f", ".f.new"])  # the renaming before which it is killed
def test_who_is_killed_while_folders_are_swapped_leaves_the_old_one(tmp_path, before):
    with new_folder(tmp_path / "f") as new:
        (new / "a").write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "f"), before], check=False)
    assert done.returncode == 9
    assert (tmp_path / "f").exists() == (before == "f")
    assert text_in(tmp_path / "f") == "old", "whoever opens it finds it"
    drop_temporaries(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["f"] and (tmp_path / "f/a").read_text() == "old"
    with new_folder(tmp_path / "f") as new:
        (new / "a").write_text("new")
    assert text_in(tmp_path / "f") == "new"


def test_what_was_put_aside_comes_back_only_where_nothing_took_its_place(tmp_path):
    for name in ("f", ".f.old", ".g.old"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text(name)
    for name in ("f", "g", "h"):
        restore(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "g"]
    assert [text_in(tmp_path / name) for name in ("f", "g")] == ["f", ".g.old"]
    with pytest.raises(BadInput, match="does not exist: run the earlier chapters"):
        must_exist(tmp_path / "h/a")


def test_half_written_files_are_removed_and_others_stay(tmp_path):
    for name in ("a.json", ".a.json.123", ".01_corpus.ipynb", ".lock", ".hidden"):
        (tmp_path / name).write_text("x")
    drop_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", ".lock", "a.json"]


def test_a_hash_is_of_names_and_content(tmp_path):
    write_json([1], tmp_path / "f/a")
    before = hash_path(tmp_path / "f")
    (tmp_path / "f/a").rename(tmp_path / "f/b")
    renamed = hash_path(tmp_path / "f")
    write_json([2], tmp_path / "f/b")
    assert len({before, renamed, hash_path(tmp_path / "f")}) == 3


def test_a_lock_ends_with_its_block(tmp_path):
    for _ in range(2):
        refused = pytest.raises(BadInput, match=r"another run works in .*process \d+, since 20")
        with held(tmp_path / "run"), refused, held(tmp_path / "run"):
            pass
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]


def test_a_disk_without_locks_is_used_on_trust(tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(files.WITHOUT_LOCKS[0], "no locks available")

    monkeypatch.setattr(UnixFileLock, "_acquire", refuse)
    with held(tmp_path / "run"), held(tmp_path / "shared", waiting=True):
        assert "process" in (tmp_path / "run" / LOCK).read_text()


def test_those_who_share_a_folder_wait_for_each_other(tmp_path):
    code = (
        "from zmem_lib.files import held\nfrom pathlib import Path\n"
        f"with held(Path({str(tmp_path)!r}), waiting=True): print(1)"
    )
    with held(tmp_path):
        other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        time.sleep(2)
        assert other.poll() is None
    assert other.communicate(timeout=20)[0] == "1\n"
