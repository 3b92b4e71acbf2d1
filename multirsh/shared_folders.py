"""What may be used of that which is there already, in a folder where other users may leave something.

The kernel has such a rule for folders that all may write to and that are sticky,
such as /tmp (``fs.protected_regular``, ``fs.protected_symlinks`` and
``fs.protected_hardlinks`` of proc_sys_fs(5)). Here it holds for every folder that output of hosts goes to:
what is there belongs to the user, or to the owner of the folder, who may do
with the user's files there as they like anyway.
"""

from __future__ import annotations

import errno
import os
import stat


def check_owner(found: os.stat_result, folder: os.stat_result) -> None:
    """Check that something in a folder may be used.

    Args:
        found: What is there.
        folder: The folder.

    Raises:
        PermissionError: Another user has left it there.
    """
    if found.st_uid not in {os.geteuid(), folder.st_uid}:
        raise PermissionError(errno.EPERM, f"another user has left it there (id {found.st_uid})")


def check_file(found: os.stat_result, folder: os.stat_result) -> None:
    """Check that a file in a folder may be written to; as ``check_owner``.

    A file of the user's that has another name, too, may be any: where the kernel does not forbid it, all who
    may write to the folder can make a hard link there.

    Raises:
        PermissionError: Another user has left it there, or may have.
    """
    check_owner(found, folder)
    is_shared = folder.st_uid != os.geteuid() or folder.st_mode & stat.S_IWOTH
    if found.st_nlink > 1 and found.st_uid == os.geteuid() and is_shared:
        raise PermissionError(errno.EPERM, "there is a hard link in its place")
