"""POSIX text that is run on hosts."""

from __future__ import annotations

from typing import Final

_SFTP_SERVERS: Final = (
    "/usr/lib/openssh/sftp-server",
    "/usr/libexec/openssh/sftp-server",
    "/usr/lib/ssh/sftp-server",
    "/usr/libexec/sftp-server",
    "/usr/lib/sftp-server",
    "/usr/local/libexec/sftp-server",
)
"""Where systems have it: Debian; Fedora; Arch and SUSE; the BSDs and macOS; dropbear's place."""

SFTP_SERVER: Final = (
    f'for s in {" ".join(_SFTP_SERVERS)}; do if [ -x "$s" ]; then exec "$s"; fi; done; exit 127'
)
"""POSIX text that becomes an SFTP server."""

FUNCTIONS: Final = """
inode() { ls -di "$@" 2>/dev/null | { read -r number name; echo "$number"; }; }
hold() {
  [ -f "$1" ] && [ ! -L "$1" ] && [ -r "$1" ] || return 1
  exec 3<"$1"
  held=/proc/self/fd/3
  case $(inode -L "$held") in
    "") held=$1 ;;
    "$(inode -- "$1")") ;;
    *) return 1 ;;
  esac
}
has_acl() { case $(ls -lLd -- "$1" 2>/dev/null) in ??????????+*) return 0 ;; esac; return 1; }
keep_acl() (
  if has_acl "$1"; then is_kept() { has_acl "$1"; }
  elif has_acl "$2"; then is_kept() { ! has_acl "$1"; }
  else return 0
  fi
  hold "$2" || { echo lost; return; }
  cp --attributes-only --preserve=mode -- "$1" "$held" 2>/dev/null && is_kept "$held" && return 0
  getfacl -p -- "$1" 2>/dev/null | setfacl --set-file=- -- "$held" 2>/dev/null
  is_kept "$held" || echo lost
)
no_acls_in() { ls -lan -- "$1" 2>/dev/null | grep '^..........+' >/dev/null || [ ! -r "$1" ] || echo none; }
sum() {
  dd if="$1" bs=1048576 count="$2" 2>/dev/null | if command -v sha256sum >/dev/null; then sha256sum
  elif command -v shasum >/dev/null; then shasum -a 256
  elif command -v openssl >/dev/null; then openssl dgst -sha256 -r
  elif command -v sha256 >/dev/null; then sha256 -q
  fi
}
own_sum() { [ -f "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && sum "$1" "$2"; }
set_time() { touch "$1" -d "@$2" -- "$3" 2>/dev/null || echo lost; }
times_of() { stat -L -c '%X %Y' -- "$1" 2>/dev/null || stat -L -f '%a %m' -- "$1" 2>/dev/null; }
try_to_write() { LC_ALL=C dd if=/dev/zero of="$1" bs=65536 count=1 2>&1; rm -f -- "$1"; }
tidy() (
  cd -- "$1" 2>/dev/null || return
  pattern=$2 IFS=
  for found in $pattern; do
    [ -f "$found" ] || return
    find . ! -name . -prune -name "$pattern" -mtime +0 -exec rm -f -- {} + 2>/dev/null
    return
  done
)
"""
"""POSIX text: what scripts on hosts use.

``hold FILE``
    opens a file of ours, in a subshell, and sets ``held`` to what stands for it, to be changed by name. Where
    another user may write to its folder, its name may be that of a link in the next moment, to any file of
    root's; what is open stays what it is. Without names of descriptors in ``/proc``, ``held`` is the file's.
``keep_acl OLD NEW``
    gives NEW the access control list of OLD, or takes from it what it has of its folder where OLD has none:
    by GNU cp(1), else by setfacl(1). It says ``lost`` where neither can. A ``+`` in the eleventh column of
    ls(1) says that there is a list. ``no_acls_in FOLDER`` says ``none`` where no file has one.
``sum FILE COUNT``
    says the SHA-256 of the first COUNT MiB of a file, or nothing; ``own_sum`` only of the user's own file.
``set_time -a|-m SECONDS FILE``
    sets a time that SFTP cannot carry, and says ``lost`` where it cannot; ``times_of FILE`` says both.
``try_to_write FILE``
    says why nothing can be written there, and leaves nothing.
``tidy FOLDER PATTERN``
    removes the files of these names that are older than a day.
"""


MEBIBYTE: Final = 1024 * 1024
"""Bytes; what ``sum`` counts in."""
