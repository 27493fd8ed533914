"""`python -m voxofs.simulator`: the simulator as a program.

Prints one line of JSON when it is ready (URLs, token, email, password, tenants) and runs until it is
interrupted.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
from pathlib import Path

import trio

from .server import Simulator
from .tenants import WORLDS

_EXAMPLES = """
examples:
  python -m voxofs.simulator
      the demo's two offices; prints where they are and a token
  python -m voxofs.simulator --world bench --api-delay-s 0.08 --storage-delay-s 0.03
      a slow world, as the benchmark sees it
  python -m voxofs.simulator --round-trip 0.04 --tls-cert chain.pem --tls-key key.pem
      one that is far away and speaks TLS, as the real one is and does

try it:
  curl -H "Authorization: Bearer TOKEN" "API_URL/tenants/37"
  curl -G -H "Authorization: Bearer TOKEN" API_URL/call-reports -d recordType=recordings -d tenantId=37 \\
       --data-urlencode "start=2024-03-05 00:00:00" --data-urlencode "end=2024-03-06 00:00:00"
  curl STORAGE_URL/plain/demo/2024/03/05/10/      the same recordings as plain folders
  curl CONTROL_URL/stats                          what has been asked so far (more: see control.py)
"""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(
        prog="python -m voxofs.simulator",
        description="A simulated phone system: the vendor's API and its storage on two loopback ports.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument(
        "--world", choices=sorted(WORLDS), default="demo", help="set of tenants (default: demo)"
    )
    root.add_argument("--port", type=int, default=0, help="the API's port (default: any free one)")
    root.add_argument(
        "--storage-port", type=int, default=0, help="the storage's port (default: any free one)"
    )
    root.add_argument("--seed", type=int, default=1, help="same seed, same calls (default: 1)")
    root.add_argument("--api-delay-s", type=float, default=0.0, help="seconds before the API answers")
    root.add_argument("--storage-delay-s", type=float, default=0.0, help="seconds before the storage answers")
    root.add_argument("--link-lifetime-s", type=float, default=60.0, help="life of a link (default: 60)")
    root.add_argument(
        "--token-lifetime-s", type=float, default=86_400.0, help="life of a token (default: a day)"
    )
    root.add_argument("--skew-s", type=float, default=0.0, help="storage's clock ahead of this machine's")
    root.add_argument("--api-skew-s", type=float, default=0.0, help="API's clock ahead of this machine's")
    root.add_argument("--signature", choices=("v2", "v4"), default="v2", help="form of the links")
    root.add_argument("--inclusive-end", action="store_true", help="reports include a call at exactly `end`")
    root.add_argument("--later-form", action="store_true", help="records in the later edition's form")
    root.add_argument(
        "--round-trip",
        "--round-trip-s",
        dest="round_trip_s",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="how far away: a relay delays each direction by half of it (default: 0, no relay)",
    )
    root.add_argument(
        "--tls-cert", type=Path, metavar="FILE", help="serve https with this chain of certificates (PEM)"
    )
    root.add_argument(
        "--tls-key", type=Path, metavar="FILE", help="its private key (default: in the same file)"
    )
    root.add_argument("--email", default="demo@example.com")
    root.add_argument("--second-factor", action="store_true", help="signing in by password gives no token")
    root.add_argument("--exit-with-stdin", action="store_true", help="end when standard input is closed")
    return root


def tls_context(chain: Path, key: Path | None) -> ssl.SSLContext:
    """How the simulator serves TLS. Raises OSError, naming the files, for such as will not do."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(chain, key)
    except OSError as error:  # ssl.SSLError is one
        files = f"{chain}" if key is None else f"{chain} and {key}"
        raise OSError(f"no certificate with its key in {files} (PEM): {error}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


async def serve(options: argparse.Namespace) -> None:
    """Run until cancelled, or until standard input closes where that was asked for."""
    given = vars(options)
    exit_with_stdin, world = given.pop("exit_with_stdin"), given.pop("world")
    chain, key = given.pop("tls_cert"), given.pop("tls_key")
    tls = None if chain is None else tls_context(chain, key)
    async with Simulator(WORLDS[world], control_port=0, tls=tls, **given) as sim:
        ready = {
            "api_url": sim.api_url,
            "storage_url": sim.storage_url,
            "control_url": sim.control_url,
            "relay_pid": sim.relay_pid,
            "token": sim.token,
            "email": sim.email,
            "password": sim.password,
            "tenants": {tenant.code: tenant.id for tenant in sim.world.tenants.values()},
        }
        print(json.dumps(ready), flush=True)
        if exit_with_stdin:
            async with trio.lowlevel.FdStream(0) as stdin:
                while await stdin.receive_some(4_096):
                    pass
        else:
            await trio.sleep_forever()


def main() -> int:
    """Exit codes: 0 ended, 2 usage, a certificate that will not do, or a port that could not be opened."""
    code = 0
    try:
        root = parser()
        options = root.parse_args()
        if options.tls_key is not None and options.tls_cert is None:
            root.error("--tls-key needs --tls-cert")
        trio.run(serve, options)
    except* KeyboardInterrupt:
        pass
    except* OSError as group:
        print(f"the simulator cannot start: {group.exceptions[0]}", file=sys.stderr)
        code = 2
    return code


if __name__ == "__main__":
    sys.exit(main())
