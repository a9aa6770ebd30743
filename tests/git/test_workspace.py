"""A workspace equals its tree whatever was left behind, and says all that an edit changed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evogit import removal
from evogit.errors import BadRecord, Busy, RepositoryError, UserError, WorkFailed
from evogit.git.repository import Repository
from evogit.git.workspace import Workspace, file_name

FILES = {
    "train.py": "print('one')\n",
    "evaluate.py": "LABELS = [1, 2, 3]\n",
    "pkg/__init__.py": "",
    "pkg/deep/model.py": "WIDTH = 8\n",
    "with space/ünï.txt": "é\n",
    "run.sh": "#!/bin/sh\n",
    "crlf.txt": "a\r\nb\r\n",
}


def git(folder: Path, *args: str) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    return subprocess.run(["git", *args], cwd=folder, env=env, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, files: dict[str, str]) -> str:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(text.encode())
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "files")
    return git(folder, "rev-parse", "HEAD^{tree}")


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EVOGIT_CACHE", str(tmp_path / "the cäche"))
    folder = tmp_path / "my prøject"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "run.sh").touch()
    (folder / "run.sh").chmod(0o755)
    (folder / "latest").symlink_to("train.py")
    commit(folder, FILES)
    return folder


@pytest.fixture
def tree(project) -> str:
    return git(project, "rev-parse", "HEAD^{tree}")


@pytest.fixture
def workspace(project):
    opened = Workspace.open(Repository.open(project), "nov20", "s0")
    yield opened
    opened.close()


def snapshot(root: Path) -> dict[bytes, tuple[int, bytes]]:
    """Every path below `root` but itself: mode, and bytes or link target."""
    found: dict[bytes, tuple[int, bytes]] = {}
    for folder, folders, files in os.walk(os.fsencode(root)):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            data = os.readlink(path) if stat.S_ISLNK(mode) else b"" if stat.S_ISDIR(mode) else Path(os.fsdecode(path)).read_bytes()
            found[os.path.relpath(path, os.fsencode(root))] = (mode, data)
    return found


def test_a_materialised_folder_holds_the_bytes_modes_and_links_of_its_tree(workspace, tree):
    workspace.materialise(tree)

    assert {path: (workspace.root / path).read_bytes().decode() for path in FILES} == FILES
    assert (workspace.root / "latest").readlink() == Path("train.py")
    assert stat.S_IMODE((workspace.root / "run.sh").stat().st_mode) == 0o755
    assert stat.S_IMODE((workspace.root / "train.py").stat().st_mode) == 0o644
    assert workspace.changes() == []


def test_another_tree_replaces_the_first_one_wholly(workspace, project, tree):
    shutil.rmtree(project / "pkg/deep")
    (project / "train.py").unlink()
    other = commit(project, {"train.py/now/a_folder.py": "x = 1\n", "pkg/deep": "now a file\n"})

    workspace.materialise(tree)
    workspace.materialise(other)
    forth = {os.fsdecode(path) for path, (mode, _) in snapshot(workspace.root).items() if not stat.S_ISDIR(mode)}
    workspace.materialise(tree)

    assert forth == set(git(project, "-c", "core.quotePath=false", "ls-files").splitlines())
    assert (workspace.root / "pkg/deep/model.py").read_text() == "WIDTH = 8\n"


def leave_a_nested_repository(root: Path) -> None:
    git(root, "init", "-q", "nested")
    (root / "nested/sitecustomize.py").write_text("raise SystemExit('owned')\n")
    git(root, "init", "-q", ".")


def leave_a_frozen_file_with_its_times_restored(root: Path) -> None:
    path = root / "evaluate.py"
    before = path.stat()
    path.write_text("LABELS = [9, 9, 9]\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def leave_a_hard_link_to_the_outside(root: Path) -> None:
    os.link(root / "evaluate.py", root.parent / "outside.py")


def leave_links_where_files_and_folders_were(root: Path) -> None:
    outside = root.parent / "elsewhere"
    (outside / "deep").mkdir(parents=True)
    (outside / "deep/model.py").write_text("WIDTH = 8\n")
    shutil.rmtree(root / "pkg")
    (root / "pkg").symlink_to(outside)
    (root / "train.py").unlink()
    (root / "train.py").symlink_to("/etc/hostname")


def leave_pipes_and_devices_of_every_name(root: Path) -> None:
    os.mkfifo(root / "pipe")
    (root / "run.sh").unlink()
    os.mkfifo(root / "run.sh")
    names = [b"new\nline", b"not-utf8-\xff\xfe", b" ", b"-rf", b'"quoted"', b"\x1b[31m"]
    for name in names:
        (root / os.fsdecode(name)).write_text("x")
        (root / "pkg" / os.fsdecode(name)).mkdir()


def leave_closed_folders(root: Path) -> None:
    (root / "closed/inner").mkdir(parents=True)
    (root / "closed/inner/file").write_text("x")
    for path in ["closed/inner", "closed", "pkg/deep/model.py", "pkg/deep", "pkg"]:
        (root / path).chmod(0)
    root.chmod(0o500)


def leave_a_tree_deeper_than_a_path_may_be_long(root: Path) -> None:
    here = os.open(root, os.O_RDONLY)
    for _ in range(60):
        os.mkdir("d" * 200, dir_fd=here)
        inner = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)


def leave_other_modes(root: Path) -> None:
    (root / "train.py").chmod(0o4777)
    (root / "run.sh").chmod(0o600)
    (root / "pkg").chmod(0o1777)


def leave_nothing_at_all(root: Path) -> None:
    shutil.rmtree(root)


def leave_a_link_in_place_of_everything(root: Path) -> None:
    root.rename(root.parent / "moved")
    root.symlink_to("moved")


LEFTOVERS = [value for name, value in sorted(globals().items()) if name.startswith("leave_")]


@pytest.mark.parametrize("leave", LEFTOVERS, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("reopened", [False, True], ids=["same workspace", "reopened"])
def test_no_leftover_survives_the_next_materialise(workspace, project, tree, leave, reopened):
    workspace.materialise(tree)
    clean = snapshot(workspace.root)
    leave(workspace.root)
    if reopened:
        workspace.close()
        workspace = Workspace.open(Repository.open(project), "nov20", "s0")

    workspace.materialise(tree)

    assert snapshot(workspace.root) == clean
    assert workspace.root.is_dir() and not workspace.root.is_symlink()
    assert workspace.changes() == []
    assert all(p.stat().st_nlink == 1 for p in workspace.root.rglob("*") if p.is_file() and not p.is_symlink())
    workspace.close()


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv") or not Path("/usr/bin/python3").exists(), reason="needs root to become somebody else"
)
def test_closed_folders_are_no_obstacle_to_an_ordinary_user():
    code = Path(removal.__file__).read_text() + "\nimport sys\nremove(sys.argv[1].encode(), sys.argv[2].encode())\n"
    become = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "/usr/bin/python3", "-I", "-c", code]
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        root = Path(name, "root")
        (root / "a/b").mkdir(parents=True)
        (root / "a/b/c").write_text("x")
        for path in [root / "a/b", root / "a", root, Path(name)]:
            os.chown(path, 65534, 65534)
        (root / "a/b").chmod(0)
        (root / "a").chmod(0)

        subprocess.run([*become, str(root), f"{name}/trash"], check=True)

        assert not root.exists()
        assert os.listdir(f"{name}/trash") == []


def test_settings_of_the_user_and_of_the_repository_change_nothing(project, tree, tmp_path, monkeypatch):
    config = tmp_path / "gitconfig"
    marker = tmp_path / "ran"
    config.write_text(
        "[core]\n trustctime = false\n checkStat = minimal\n autocrlf = true\n untrackedCache = true\n"
        f' fsmonitor = "touch {marker} #"\n hooksPath = {tmp_path}/hooks\n excludesFile = {tmp_path}/excludes\n attributesFile = {tmp_path}/attributes\n'
        f'[filter "evil"]\n clean = "touch {marker}; cat"\n smudge = "touch {marker}; rev"\n required = true\n'
    )
    (tmp_path / "excludes").write_text("*\n")
    (tmp_path / "attributes").write_text("* filter=evil text=auto eol=crlf ident\n")
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks/post-checkout").write_text(f"#!/bin/sh\ntouch {marker}\n")
    (tmp_path / "hooks/post-checkout").chmod(0o755)
    (project / ".git/info/attributes").write_text("* filter=evil\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    workspace = Workspace.open(Repository.open(project), "nov20", "s0")
    workspace.materialise(tree)
    leave_a_frozen_file_with_its_times_restored(workspace.root)
    (workspace.root / "ignored.pyc").write_text("x")

    changes = workspace.changes()
    workspace.materialise(tree)

    assert changes == [("evaluate.py", "modified"), ("ignored.pyc", "added")]
    assert {path: (workspace.root / path).read_bytes().decode() for path in FILES} == FILES
    assert not marker.exists()


def test_changes_name_every_file_with_its_kind(workspace, project, tree):
    tree = commit(project, {".gitignore": "*.log\n"})
    workspace.materialise(tree)
    root = workspace.root
    (root / "train.py").write_text("print('two')\n")
    (root / "run.sh").chmod(0o644)
    (root / "evaluate.py").unlink()
    (root / "evaluate.py").symlink_to("train.py")
    shutil.rmtree(root / "pkg")
    (root / "pkg").write_text("a file now")
    (root / "latest").unlink()
    (root / "latest").mkdir()
    (root / "latest/inside").touch()
    (root / "noise.log").touch()
    (root / "empty").mkdir()
    os.mkfifo(root / "pipe")
    leave_a_nested_repository(root)

    changes = dict(workspace.changes())

    assert {path: kind for path, kind in changes.items() if not path.startswith((".git/", "nested/.git/"))} == {
        "train.py": "modified",
        "run.sh": "modified",
        "evaluate.py": "typechange",
        "pkg": "typechange",
        "pkg/__init__.py": "deleted",
        "pkg/deep/model.py": "deleted",
        "latest": "typechange",
        "latest/inside": "added",
        "noise.log": "added",
        "pipe": "added",
        "nested/sitecustomize.py": "added",
    }
    assert changes["nested/.git/HEAD"] == "added"
    assert changes[".git/HEAD"] == "added"


def test_changes_come_through_closed_and_endless_folders(workspace, tree):
    workspace.materialise(tree)
    leave_closed_folders(workspace.root)
    leave_a_tree_deeper_than_a_path_may_be_long(workspace.root)

    changes = workspace.changes()

    assert ("closed/inner/file", "added") in changes
    assert ("pkg/deep/model.py", "deleted") not in changes
    assert [kind for path, kind in changes if path.startswith("ddd")] == ["added"]


def test_an_edit_in_the_instant_of_the_checkout_is_seen(workspace, tree):
    """A clock tick of the filesystem lasts milliseconds: some of these edits leave every time stamp as it was."""
    for number in range(20):
        workspace.materialise(tree)
        path = workspace.root / "evaluate.py"
        before = path.stat()
        with open(path, "r+") as file:
            file.write("LABELS = [8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

        assert workspace.changes() == [("evaluate.py", "modified")], number


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["train.py", "evaluate.py", "pkg", "pkg/deep", "pkg/deep/model.py", "new", "new/sub", "new/sub/x", "latest"]),
        st.sampled_from(["file", "folder", "link", "pipe", "gone"]),
        max_size=6,
    )
)
def test_whatever_is_done_changes_report_it_and_materialise_undoes_it(workspace, tree, edits):
    workspace.materialise(tree)
    clean = snapshot(workspace.root)
    for path, kind in edits.items():
        target = workspace.root / path
        if target.is_symlink() or target.is_file():
            target.unlink()
        elif target.is_dir():
            shutil.rmtree(target)
        elif target.exists():
            target.unlink()
        if not target.parent.is_dir():
            continue
        if kind == "file":
            target.write_text("edited")
        elif kind == "folder":
            target.mkdir()
        elif kind == "link":
            target.symlink_to("/nowhere")
        elif kind == "pipe":
            os.mkfifo(target)
    dirty = {p.relative_to(workspace.root).as_posix() for p in workspace.root.rglob("*") if p.is_symlink() or not p.is_dir()}
    tracked = {os.fsdecode(path) for path, (mode, _) in clean.items() if not stat.S_ISDIR(mode)}

    changed = dict(workspace.changes())
    workspace.materialise(tree)

    assert {path for path, kind in changed.items() if kind == "added"} == {p for p in dirty - tracked if changed.get(p) != "typechange"}
    assert {path for path, kind in changed.items() if kind == "deleted"} == {p for p in tracked - dirty if changed.get(p) != "typechange"}
    assert snapshot(workspace.root) == clean


def test_the_home_of_trials_is_emptied_too(workspace, tree):
    workspace.materialise(tree)
    (workspace.home / ".local/lib").mkdir(parents=True)
    (workspace.home / ".local/lib/usercustomize.py").write_text("x")

    workspace.materialise(tree)

    assert list(workspace.home.iterdir()) == []


def test_a_folder_that_cannot_be_mended_is_put_aside_and_made_anew(workspace, tree, monkeypatch):
    workspace.materialise(tree)
    (workspace.root / "stubborn").mkdir()
    real = removal.remove

    def refuse(path: bytes, trash: bytes) -> None:
        if path.endswith(b"stubborn"):
            raise PermissionError(1, "Operation not permitted")
        real(path, trash)

    monkeypatch.setattr(removal, "remove", refuse)

    workspace.materialise(tree)

    assert workspace.changes() == []
    assert not (workspace.root / "stubborn").exists()


def test_a_slot_belongs_to_one_workspace_at_a_time(project):
    repo = Repository.open(project)
    first = Workspace.open(repo, "nov20", "s0")
    other = Workspace.open(repo, "nov20", "s1")

    with pytest.raises(Busy):
        Workspace.open(repo, "nov20", "s0")

    first.close()
    Workspace.open(repo, "nov20", "s0").close()
    other.close()


def test_a_killed_holder_leaves_the_slot_free(project):
    code = (
        "import sys; from evogit.git.repository import Repository; from evogit.git.workspace import Workspace\n"
        "held = Workspace.open(Repository.open(sys.argv[1]), 'nov20', 's0'); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(project)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(Busy):
        Workspace.open(Repository.open(project), "nov20", "s0")

    holder.kill()
    holder.communicate()

    Workspace.open(Repository.open(project), "nov20", "s0").close()


def test_read_gives_regular_files_only(workspace, tree):
    workspace.materialise(tree)
    root = workspace.root
    (root / "alias").symlink_to("pkg")
    os.mkfifo(root / "pipe")
    (root / "large").write_bytes(b"x" * 100)

    assert workspace.read("with space/ünï.txt") == "é\n".encode()
    assert [workspace.read(p) for p in ["latest", "alias/__init__.py", "pipe", "pkg", "absent", "train.py/x", ""]] == [None] * 7
    with pytest.raises(WorkFailed, match="large"):
        workspace.read("large", cap=99)
    with pytest.raises(UserError):
        workspace.read("../lock")


def test_patch_shows_text_and_names_the_rest(workspace, tree):
    workspace.materialise(tree)
    root = workspace.root
    (root / "train.py").write_text("print('two')\n")
    (root / "evaluate.py").unlink()
    (root / "new\udcff.py").write_text("fresh\n")
    (root / "weights.bin").write_bytes(b"\0\1\2")
    (root / "escape").symlink_to("/etc")

    patch = workspace.patch(path for path, _ in workspace.changes())

    assert "-print('one')\n+print('two')\n" in patch
    assert "deleted file mode" in patch and "-LABELS = [1, 2, 3]" in patch
    assert "+fresh" in patch
    assert "Binary files /dev/null and b/weights.bin differ" in patch
    assert "escape: a symbolic link" in patch
    assert workspace.patch(["train.py"], cap=40).endswith("[cut: the whole patch has more than 40 characters]\n")


def test_the_folder_of_a_problem_lies_inside(workspace):
    assert workspace.folder("") == workspace.root
    assert workspace.folder("rp/digits") == workspace.root / "rp" / "digits"
    with pytest.raises(UserError):
        workspace.folder("../..")


def test_a_tree_that_would_make_a_repository_is_refused(workspace, project):
    repo = pygit2.Repository(str(project))
    blob = repo.create_blob(b"gitdir: /somewhere\n")
    raw = b"100644 .git\0" + bytes.fromhex(str(blob))
    tree = str(repo.odb.write(pygit2.enums.ObjectType.TREE, raw))

    with pytest.raises(BadRecord):
        workspace.materialise(tree)


def test_a_missing_object_is_named_with_what_to_do(workspace, project, tree):
    blob = git(project, "rev-parse", "HEAD:train.py")
    (project / ".git/objects" / blob[:2] / blob[2:]).unlink()

    with pytest.raises(RepositoryError) as caught:
        workspace.materialise(tree)

    assert blob[:12] in caught.value.message
    assert "git fsck" in caught.value.hint


def test_campaign_names_become_distinct_folder_names():
    names = ["nov20", "a/b", "a=2Fb", "..", ".", "=2E", "é" * 60, "é" * 61, "A b"]

    assert len({file_name(name) for name in names}) == len(names)
    assert all("/" not in file_name(name) and not file_name(name).startswith(".") and len(file_name(name)) <= 80 for name in names)
    assert file_name("nov20-digits") == "nov20-digits"


# who trials run as

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def handed(project):
    """A workspace whose files belong to user 65534, on the project's first tree, and its tree."""
    repo = Repository.open(project)
    workspace = Workspace.open(repo, "nov20", "given", owner=65534)
    workspace.materialise(repo.tree_of(str(repo.git.head.target)))
    yield workspace
    workspace.close()


def owners(workspace: Workspace) -> set[int]:
    return {path.lstat().st_uid for path in (workspace.root, workspace.home, *workspace.root.rglob("*"))}


@needs_root
def test_files_belong_to_the_user_that_trials_run_as(handed):
    assert owners(handed) == {65534}
    assert handed.changes() == []


@needs_root
def test_what_an_agent_wrote_is_given_away_with_the_next_tree_and_is_no_change_by_its_owner(handed):
    path = next(p for p in handed.root.rglob("*") if p.is_file() and not p.is_symlink())
    text = path.read_bytes()
    path.unlink()
    path.write_bytes(text)

    changes = handed.changes()
    handed.materialise(handed.tree)

    assert changes == []
    assert owners(handed) == {65534}
