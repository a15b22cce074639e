"""Clones a URL into a cache folder, in a time limit, with nothing in the repository able to run.

Only https and ssh are spoken, no hook, template or submodule is taken along, and no prompt blocks.
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path

from git import Git, GitCommandError

from codebyte.errors import RepoError

CLONE_SECONDS = 600
PROTOCOLS = "https:ssh"  # git refuses all others, after redirects and rewritten URLs too
_URL = re.compile(r"(?:https|ssh)://[^\s-]\S*|\w[\w.-]*@\w[\w.-]*:[^\s-]\S*")
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://|:)")
_SECRET = re.compile(r"(?<=://)[^/@\s]*@")
_SAFE = ("-c", f"core.hooksPath={os.devnull}", "-c", "protocol.ext.allow=never")


def is_url(text: str) -> bool:
    """Whether a text names a repository to clone, and not a local folder.

    Raises:
        RepoError: it is a URL of a kind that is never cloned (http, file, ext and the like).
    """
    if _URL.fullmatch(text):
        return True
    if _OTHER_URL.match(text):
        raise RepoError(f"{public_url(text)} is no URL to clone: use https://, ssh:// or a folder")
    return False


def url_name(url: str) -> str:
    """The name a URL gives its repository: "owner/name"."""
    parts = [part for part in re.split(r"[/:]", url.split("://")[-1].split("@")[-1]) if part]
    return "/".join(parts[1:][-2:]).removesuffix(".git") or parts[0]


def public_url(text: str) -> str:
    """A URL, or a message that holds one, without the user name and password in it."""
    return _SECRET.sub("", text)


def clone(
    url: str,
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    timeout: float = CLONE_SECONDS,
) -> Path:
    """Clones a URL as a bare repository, or brings the clone in the cache up to date.

    Args:
        url: https or ssh.
        revision: None takes the newest commit of the default branch alone; else the whole history.
        cache: folder of clones; None for `codebyte/clones` in the user's cache folder.
        timeout: seconds git may take (not enforced on Windows).

    Raises:
        RepoError: git could not, or ran out of time.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "codebyte", "clones")
    root = default if cache is None else Path(cache)
    depth = [] if revision is not None else ["--depth=1"]
    key = hashlib.sha256(f"{url} {depth}".encode()).hexdigest()[:12]
    target = root / f"{url_name(url).replace('/', '+')}-{key}.git"
    try:
        if target.is_dir():
            _fetch(target, depth, timeout)
            return target
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".clone-") as temporary:
            fresh = Path(temporary, "repo.git")
            options = ["--bare", "--quiet", "--template=", "--no-recurse-submodules", *depth]
            _git(["clone", *options, "--", url, str(fresh)], timeout)
            if not target.is_dir():  # else another process was quicker
                os.rename(fresh, target)
    except GitCommandError as error:
        kept = f"; an older clone is kept in {target}" if target.is_dir() else ""
        reason = public_url(git_reason(error))
        raise RepoError(f"{public_url(url)} cannot be cloned: {reason}{kept}") from error
    except OSError as error:
        raise RepoError(f"{public_url(url)} cannot be cloned into {root}: {error}") from error
    return target


def git_reason(error: GitCommandError) -> str:
    """The last line that git said, which is where it says what was wrong."""
    text = str(error.stderr or "").strip().removeprefix("stderr:").strip().strip("'").strip()
    lines = text.splitlines()
    return lines[-1].removeprefix("fatal: ") if lines else f"git ended with status {error.status}"


def _fetch(target: Path, depth: list[str], timeout: float) -> None:
    if depth:
        head = (target / "HEAD").read_text(encoding="utf-8").strip().removeprefix("ref: ")
        wanted = [f"+HEAD:{head}"]
    else:
        wanted = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    options = ["--quiet", "--no-tags", "--no-recurse-submodules", *depth]
    _git([f"--git-dir={target}", "fetch", *options, "origin", *wanted], timeout)


def _git(arguments: list[str], timeout: float) -> None:
    command = Git()
    command.update_environment(
        GIT_TERMINAL_PROMPT="0",
        GIT_ALLOW_PROTOCOL=PROTOCOLS,
        GIT_SSH_COMMAND=os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    )
    limit = None if os.name == "nt" else timeout  # GitPython cannot end a process there
    command.execute(["git", *_SAFE, *arguments], kill_after_timeout=limit)
