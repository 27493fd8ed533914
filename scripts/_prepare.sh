# Sourced by the other scripts: makes sure that Debian's packages and the virtual environment are there.
# It says what it installs before it does, and asks for nothing.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m%s\033[0m\n' "$*"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# need_debian PACKAGE...: install those that are missing.
need_debian() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || {
        echo "This script installs with apt-get. Install these yourself, then run it again: ${missing[*]}" >&2
        exit 2
    }
    say "Installing Debian packages: ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# need_python EXTRA: a virtual environment with the locked versions; EXTRA is "" or "test".
need_python() {
    local lock="requirements${1:+-$1}.lock" python=""
    for candidate in python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || { echo "voxofs needs Python 3.11 or later; install python3.11 or newer" >&2; exit 2; }
    if ! cmp -s "$lock" ".venv/voxofs-${lock}" || ! .venv/bin/voxofs --version >/dev/null 2>&1; then
        say "Preparing .venv with the packages of $lock"
        [ -x .venv/bin/python ] || "$python" -m venv .venv
        .venv/bin/python -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
        .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps -e .
        cp "$lock" ".venv/voxofs-${lock}"
    fi
}

# What a mount needs on Debian and Ubuntu: FUSE, and what pyfuse3 is compiled with.
mount_packages=(fuse3 libfuse3-dev pkg-config gcc libc6-dev python3-dev python3-venv ca-certificates)

need_fuse() {
    [ -c /dev/fuse ] || {
        echo "/dev/fuse is missing: run 'modprobe fuse', or give the container --device /dev/fuse --cap-add SYS_ADMIN" >&2
        exit 2
    }
}
