"""Clones a URL into a cache folder, in a time limit, with nothing in the repository able to run.

Only https and ssh are spoken, no hook, template or submodule is taken along, and no prompt blocks.
A password in a URL is used for that one call and kept nowhere: git is given the URL without it, and
the login in its environment, which others on the machine cannot read as they can its arguments.
"""

import base64
import hashlib
import os
import re
import tempfile
from pathlib import Path
from urllib.parse import unquote

from git import Git, GitCommandError

from codebyte.errors import RepoError

CLONE_SECONDS = 600
PROTOCOLS = "https:ssh"  # git refuses all others, after redirects and rewritten URLs too
_URL = re.compile(r"(?:https|ssh)://[^\s-]\S*|\w[\w.-]*@\w[\w.-]*:[^\s-]\S*")
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://|:)")
_LOGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/\s]*)@")  # a password may hold an @
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
    """A URL, or a text that holds some, without what must not be shown or kept.

    The user of an ssh URL stays: it is part of the address (`git@`), where a password has no use.
    """

    def public(found: re.Match[str]) -> str:
        scheme, user = found[1], found[2].partition(":")[0]
        return f"{scheme}://{user}@" if scheme == "ssh" and user else f"{scheme}://"

    return _LOGIN.sub(public, text)


def clone(
    url: str,
    revision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    timeout: float = CLONE_SECONDS,
    fetch: bool = True,
) -> Path:
    """Clones a URL as a bare repository, or brings the clone in the cache up to date.

    Args:
        url: https or ssh; all logins to one address share its clone.
        revision: None takes the newest commit of the default branch alone; else the whole history.
        cache: folder of clones; None for `codebyte/clones` in the user's cache folder.
        timeout: seconds git may take (not enforced on Windows).
        fetch: whether to ask the remote for news; False takes the clone in the cache as it is.

    Raises:
        RepoError: git could not, or ran out of time.
    """
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "codebyte", "clones")
    root = default if cache is None else Path(cache)
    depth = [] if revision is not None else ["--depth=1"]
    public = public_url(url)
    key = hashlib.sha256(f"{public} {depth}".encode()).hexdigest()[:12]
    target = root / f"{url_name(public).replace('/', '+')}-{key}.git"
    if target.is_dir() and not fetch:
        return target
    try:
        _forget_passwords(root)
        if target.is_dir():
            _fetch(target, depth, timeout, _login(url))
            return target
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".clone-") as temporary:
            fresh = Path(temporary, "repo.git")
            options = ["--bare", "--quiet", "--template=", "--no-recurse-submodules", *depth]
            _git(["clone", *options, "--", public, str(fresh)], timeout, _login(url))
            if not target.is_dir():  # else another process was quicker
                os.rename(fresh, target)
    except GitCommandError as error:
        kept = f"; an older clone is kept in {target}" if target.is_dir() else ""
        reason = public_url(git_reason(error))
        raise RepoError(f"{public} cannot be cloned: {reason}{kept}") from error
    except (OSError, ValueError) as error:  # a login with what no environment can hold
        raise RepoError(f"{public} cannot be cloned into {root}: {error}") from error
    return target


def git_reason(error: GitCommandError) -> str:
    """The last line that git said, which is where it says what was wrong."""
    text = str(error.stderr or "").strip().removeprefix("stderr:").strip().strip("'").strip()
    lines = text.splitlines()
    return lines[-1].removeprefix("fatal: ") if lines else f"git ended with status {error.status}"


def _login(url: str) -> dict[str, str]:
    """The settings of git that make it log in as the user of an https URL, at that host alone."""
    found = _LOGIN.match(url)
    if found is None or found[1] == "ssh":
        return {}
    user, colon, password = (unquote(part) for part in found[2].partition(":"))
    host = f"{found[1]}://{url[found.end() :].partition('/')[0]}/"
    if not colon:  # the password is a credential helper's
        return {f"credential.{host}.username": user}
    login = base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    return {f"http.{host}.extraHeader": f"Authorization: Basic {login}"}


def _forget_passwords(root: Path) -> None:
    """Takes passwords out of the configuration of clones, where older versions left them."""
    for config in root.glob("*.git/config"):
        text = config.read_text(encoding="utf-8", errors="surrogateescape")
        if (public := public_url(text)) != text:
            fresh = config.with_name("config.new")
            fresh.write_text(public, encoding="utf-8", errors="surrogateescape")
            fresh.replace(config)


def _fetch(target: Path, depth: list[str], timeout: float, settings: dict[str, str]) -> None:
    if depth:
        head = (target / "HEAD").read_text(encoding="utf-8").strip().removeprefix("ref: ")
        wanted = [f"+HEAD:{head}"]
    else:
        wanted = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
    options = ["--quiet", "--no-tags", "--no-recurse-submodules", *depth]
    _git([f"--git-dir={target}", "fetch", *options, "origin", *wanted], timeout, settings)


def _git(arguments: list[str], timeout: float, settings: dict[str, str]) -> None:
    command = Git()
    first = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, value) in enumerate(settings.items(), first):
        command.update_environment(
            **{f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        )
    command.update_environment(
        GIT_CONFIG_COUNT=str(first + len(settings)),
        GIT_TERMINAL_PROMPT="0",
        GIT_ALLOW_PROTOCOL=PROTOCOLS,
        GIT_SSH_COMMAND=os.environ.get("GIT_SSH_COMMAND", "ssh -oBatchMode=yes"),
    )
    limit = None if os.name == "nt" else timeout  # GitPython cannot end a process there
    command.execute(["git", *_SAFE, *arguments], kill_after_timeout=limit)
