"""Where results come from: the commit of the code."""

import subprocess

from tvmap import provenance


def test_the_commit_is_that_of_the_checkout_and_nothing_where_there_is_none(tmp_path, monkeypatch):
    def git(*arguments):
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        run = subprocess.run(["git", *who, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return run.stdout.strip()

    unknown, script = {"commit": None, "changed": None}, tmp_path / "workflow/scripts/a.py"
    script.parent.mkdir(parents=True)
    script.write_text("pass\n")
    assert provenance.commit(tmp_path) == unknown
    git("init")
    assert provenance.commit(tmp_path) == unknown  # no commit yet
    git("add", ".")
    git("commit", "--message", "one")
    head = git("rev-parse", "HEAD")
    assert provenance.commit(tmp_path) == {"commit": head, "changed": False}
    (tmp_path / "notes.txt").write_text("no code\n")
    assert provenance.commit(tmp_path) == {"commit": head, "changed": False}
    (script.with_name("b.py")).write_text("pass\n")
    assert provenance.commit(tmp_path) == {"commit": head, "changed": True}
    assert provenance.commit(tmp_path / "workflow") == unknown  # in the checkout of something else
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.commit(tmp_path) == unknown
