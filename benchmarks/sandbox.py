"""Runs a program that nobody has read: in a process of its own with little time, memory and rights.

Limits of the system (processor time, memory, no file to write, few files open) hold it, an audit
hook refuses sockets, processes, files to write and foreign libraries, and where the system allows
it the process gets a network of its own that leads nowhere. It sees an empty folder and no
environment. That is enough for what a small model writes, not for an attacker.
"""

import functools
import secrets
import shutil
import subprocess
import sys
import tempfile

MEMORY = 512 << 20  # bytes
_HARNESS = """
import os, resource, sys
passed, seconds, memory = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
source = sys.stdin.read()
for kind, most in (
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, 16),
):
    resource.setrlimit(kind, (most, most))
REFUSED = ("socket.", "subprocess.", "ctypes.", "shutil.", "os.system", "os.exec", "os.fork",
           "os.posix_spawn", "os.spawn", "os.kill", "os.remove", "os.rename", "os.rmdir",
           "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
           "os.putenv", "signal.", "resource.", "pty.", "webbrowser.", "urllib.", "ftplib.")
def refuse(event, arguments):
    if event.startswith(REFUSED):
        raise PermissionError(event)
    if event == "open" and any(c in str(arguments[1] or "r") for c in "wax+"):
        raise PermissionError("open to write")
sys.addaudithook(refuse)
sys.argv = [""]
exec(compile(source, "program", "exec"), {"__name__": "__main__"})
os._exit(passed)
"""


def passes(program: str, *, seconds: int = 3) -> bool:
    """Whether a program runs to its end without an exception.

    Args:
        program: Python source.
        seconds: of the processor; twice as many by the clock.
    """
    secret = 64 + secrets.randbelow(64)  # what ends early by itself does not know it
    command = [sys.executable, "-I", "-S", "-c", _HARNESS, str(secret), str(seconds), str(MEMORY)]
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(
                [*_without_network(), *command],
                input=program.encode("utf-8", "replace"),
                cwd=folder,
                env={},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=10 * seconds,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == secret


@functools.cache
def _without_network() -> tuple[str, ...]:
    """What to put before a command so that it has no network, if this system allows it."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return ()
    command = (unshare, "--user", "--map-root-user", "--net")
    tried = subprocess.run([*command, "true"], capture_output=True)
    return command if tried.returncode == 0 else ()


def network_is_off() -> bool:
    """Whether the system itself keeps programs from the network, not the audit hook alone."""
    return bool(_without_network())
