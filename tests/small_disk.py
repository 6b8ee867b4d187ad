"""A file system that really fills: a tmpfs of some megabytes in a mount namespace, which ends with its keeper.

Nothing is mounted for anybody else, and nothing is left where a test is killed. Without root it takes a namespace of
users, where the kernel gives one; `is_possible()` says whether there is any way.
"""

import functools
import os
import shutil
import subprocess
from pathlib import Path

from tests.postgres_server import NOBODY

NOT_POSSIBLE = "no small file system can be mounted here, neither by root nor in a user namespace (unshare, nsenter)"
MOUNT = 'mount -t tmpfs -o "size=$1,uid=$2,gid=$2" tmpfs "$3" && echo mounted && exec cat'
CHUNK = 2**16


@functools.lru_cache(maxsize=None)
def is_possible():
    if not (shutil.which("unshare") and shutil.which("nsenter")):
        return False
    tried = subprocess.run([*_apart(), "mount", "-t", "tmpfs", "tmpfs", "/mnt"], stderr=subprocess.DEVNULL)
    return tried.returncode == 0


def _apart():
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


class SmallDisk:
    """At `folder`, for those who are started by `within`."""

    def __init__(self, folder, *, megabytes):
        self._bytes = megabytes * 2**20
        owner = NOBODY if os.geteuid() == 0 else 0  # root may write there all the same
        self._keeper = subprocess.Popen(
            [*_apart(), "sh", "-c", MOUNT, "sh", f"{megabytes}m", str(owner), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        if self._keeper.stdout.readline() != b"mounted\n":
            self.close()
            raise RuntimeError(NOT_POSSIBLE)
        self.root = Path(f"/proc/{self._keeper.pid}/root{folder}")  # the same files, for who is outside
        self._ballast = self.root / "ballast"

    def within(self, *command, as_nobody=False):
        """The command, so that it sees the disk. `as_nobody`: as a user that PostgreSQL runs as."""
        enter = ["nsenter", "--target", str(self._keeper.pid), "--mount"]
        if os.geteuid() != 0:  # in the namespace we seem to be root
            other = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"] if as_nobody else []
            return [*enter, "--user", "--preserve-credentials", *other, *command]
        return [*enter, *([f"--setuid={NOBODY}", f"--setgid={NOBODY}"] if as_nobody else []), *command]

    def fill(self, *, leave=0):
        """Until nothing more goes in, but for so many bytes."""
        found = os.statvfs(self.root)
        if found.f_blocks * found.f_frsize != self._bytes:  # whoever removes the folder takes the disk out of it
            raise RuntimeError(f"{self.root} is another disk than the small one")
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while file.tell() < self._bytes:
                    file.write(b"\0" * CHUNK)
            except OSError:
                file.truncate(max(0, file.tell() - leave))

    def make_room(self):
        self._ballast.unlink()

    def close(self):
        self._keeper.kill()
        self._keeper.wait()
        self._keeper.stdin.close()
        self._keeper.stdout.close()
