"""`voxofs setup`: from an account to a configuration that works, asked for in steps or told in options."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from voxofs.errors import VoxofsError

from .parser import Commands, UsageError

_HELP = """
examples:
  voxofs setup                             asks for everything, tries it, writes it, says how to mount
  voxofs setup ~/calls --tenant 37
  voxofs setup /srv/calls --tenant 37 --token-file token.txt --yes
  pass show voxo | voxofs setup /srv/calls --token-file - --yes

Root writes /etc/voxofs/voxofs.toml, others ~/.config/voxofs/voxofs.toml, and beside it the token or password
in a file of mode 600. Nothing is written before the credential has been tried, and nothing that is there is
replaced without a question (with --yes: without --replace). No option takes a secret, because everybody on
the machine can read a command line; $VOXOFS_TOKEN will do.

A proxy or authorities that the environment names ($HTTPS_PROXY, $SSL_CERT_FILE) are used and written down.

With --yes nothing is asked: what is not said is the default that the question would show. Set up as it should
be already, it changes nothing. Afterwards it is `voxofs check`, whose exit code it has.
"""


def add_to(commands: Commands) -> None:
    parser = commands.add(
        "setup", run, summary="set up an account: ask, try, write, say how to mount", epilog=_HELP
    )
    parser.add_argument("--config", "-c", metavar="FILE", type=Path, help="the configuration file to write")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        type=Path,
        help="holds the access token, mode 600; - is standard input",
    )
    parser.add_argument("--email", metavar="ADDRESS", help="sign in with it and a password instead")
    parser.add_argument("--password-file", metavar="FILE", type=Path, help="holds the password, mode 600")
    parser.add_argument(
        "--tenant",
        "-t",
        metavar="[NAME=]ID",
        action="append",
        default=[],
        help="a tenant's number, and its folder's name; may be said several times (default: all there are)",
    )
    parser.add_argument("--since", metavar="DATE", help="the first day shown (default: last year's first)")
    disk = parser.add_mutually_exclusive_group()
    disk.add_argument("--disk", metavar="FOLDER", help="keep what was read there, sealed")
    disk.add_argument("--no-disk", action="store_true", help="keep nothing on a disk (the default)")
    parser.add_argument("--disk-size", metavar="SIZE", help="at most (default: 20 GiB)")
    parser.add_argument("--base-url", metavar="URL", help="the API, where it is not the vendor's")
    parser.add_argument("--yes", "-y", action="store_true", help="ask nothing")
    parser.add_argument("--replace", action="store_true", help="replace files that are there")
    parser.add_argument(
        "mountpoint", metavar="MOUNTPOINT", nargs="?", help="the folder to mount on; made where it is missing"
    )


def run(options: argparse.Namespace) -> int:
    """Ask, try, write, check. Raises VoxofsError, after which nothing has been written."""
    from .setup_talk import set_up

    if not options.yes and not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask at: say --yes, and what must not be the default")
    try:
        return set_up(options, os.environ, is_root=os.geteuid() == 0, at_hand=not options.yes)
    except EOFError:
        print(flush=True)
        raise VoxofsError("setup was left before its end; nothing was written") from None
