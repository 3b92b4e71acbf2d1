"""Checks of existing files in folders that other users may write to.

The kernel has such checks for sticky folders that all users may write to, such
as /tmp (``fs.protected_regular``, ``fs.protected_symlinks`` and
``fs.protected_hardlinks`` of proc_sys_fs(5)). Here they hold for every folder
that receives output of hosts: an existing file must belong to the user, or to
the owner of the folder, who could replace the user's files anyway.
"""

from __future__ import annotations

import errno
import os
import stat


def check_owner(found: os.stat_result, folder: os.stat_result) -> None:
    """Check that an existing entry of a folder may be used.

    Args:
        found: The status of the entry.
        folder: The status of the folder.

    Raises:
        PermissionError: It belongs to another user.
    """
    if found.st_uid not in {os.geteuid(), folder.st_uid}:
        raise PermissionError(errno.EPERM, f"another user has left it there (id {found.st_uid})")


def check_file(found: os.stat_result, folder: os.stat_result) -> None:
    """Check that an existing file of a folder may be written to; the arguments are those of ``check_owner``.

    A file of the user that has a second name may be any of the user's files: unless the kernel forbids it,
    every user who can write to the folder can make a hard link there.

    Raises:
        PermissionError: It belongs to another user, or another user may have linked it there.
    """
    check_owner(found, folder)
    is_shared = folder.st_uid != os.geteuid() or folder.st_mode & stat.S_IWOTH
    if found.st_nlink > 1 and found.st_uid == os.geteuid() and is_shared:
        raise PermissionError(errno.EPERM, "there is a hard link in its place")
