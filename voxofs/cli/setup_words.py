"""What `voxofs setup` says when it is done: the lines by which a mount is made, to be copied."""

from __future__ import annotations

import shlex
from pathlib import Path

from .setup_files import Places

_INSTANCE = '"voxofs@$(systemd-escape --path {folder}).service"'
_FSTAB_WORDS = "_netdev,nofail,x-systemd.automount,allow_other"


def ways_to_mount(at: Places, mountpoint: Path, *, signs_in: bool, is_root: bool) -> list[str]:
    """Lines for mount, systemd and fstab; the last is root's. `signs_in`: by e-mail and password."""
    folder = shlex.quote(str(mountpoint))
    named = "" if at.is_usual else f"--config {shlex.quote(str(at.config))} "
    instance = _INSTANCE.format(folder=folder)
    lines = ["Mount it now:", f"  voxofs mount {named}{folder}"]
    if is_root:
        lines += ["or at every boot, looked after by systemd:"]
        if signs_in or not at.is_usual:
            lines += _drop_in(at, instance)
        lines += [f"  systemctl enable --now {instance}"]
        lines += ["or when somebody first goes there, by this line in /etc/fstab:"]
        lines += [f"  {_field(at.config)}  {_field(mountpoint)}  voxofs  {_FSTAB_WORDS}  0  0"]
    elif at.is_usual:
        lines += [
            "or with every session, looked after by systemd:",
            f"  systemctl --user enable --now {instance}",
        ]
    return lines


def _drop_in(at: Places, instance: str) -> list[str]:
    """The unit takes the usual configuration and passes the usual token; both are taken back here."""
    folder = f"/etc/systemd/system/{instance}.d"
    words = shlex.join(["[Service]", "LoadCredential=", "Environment=", f"Environment=CONFIG={at.config}"])
    return [
        f"  mkdir -p {folder}",
        f"  printf '%s\\n' {words} > {folder}/setup.conf",
        "  systemctl daemon-reload",
    ]


def _field(path: Path) -> str:
    """As fstab(5) wants a path with white space or a backslash in it."""
    return "".join(f"\\{ord(each):03o}" if each in " \t\n\\" else each for each in str(path))
