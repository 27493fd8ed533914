# shellcheck shell=bash
# Sourced by the other scripts: makes sure that Debian's packages and the virtual environment are there.
# It says what it installs before it does, shows that it is at work, and asks for nothing.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '\033[1m%s\033[0m\n' "$*"; }

# counted COMMAND...: a line that tells the seconds and what the command is doing, then one with its time; all
# that it said only if it fails. Without a terminal a dot every five seconds: a log must not fill with lines.
counted() {
    local said began=$SECONDS code=0 pid dot=$((SECONDS + 5))
    said=$(mktemp)
    "$@" >"$said" 2>&1 &
    pid=$!
    # What a script starts in the background ignores Ctrl-C (POSIX, 2.11); it must not go on without its script.
    # shellcheck disable=SC2064
    trap "kill $pid 2>/dev/null" EXIT
    # Without a trap of its own bash lets a Ctrl-C pass that comes just as a foreground command ends well.
    trap 'exit 130' INT
    while kill -0 "$pid" 2>/dev/null; do
        if [ -t 1 ]; then
            printf '\r\033[K  %3d s  %.90s' $((SECONDS - began)) "$(tail -n 1 "$said" | tr -d '\r' | tr '\t' ' ')"
        elif [ "$SECONDS" -ge "$dot" ]; then
            printf '.'
            dot=$((SECONDS + 5))
        fi
        sleep 0.2
    done
    wait "$pid" || code=$?
    trap - EXIT INT
    [ -t 1 ] && printf '\r\033[K'
    if [ "$code" = 0 ]; then
        printf '  done in %d s\n' $((SECONDS - began))
    else
        printf '\n' && cat "$said" >&2
    fi
    rm -f "$said"
    return "$code"
}

missing_debian() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || printf '%s\n' "$package"
    done
}

# may_install: whether this can become root; `as_root` is then how.
may_install() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif command -v sudo >/dev/null; then
        as_root=(sudo)
    else
        return 1
    fi
}

# how_to_install PACKAGE...: what somebody who may would type.
how_to_install() {
    if command -v apt-get >/dev/null; then
        echo "as root:  apt-get install $*"
    else
        echo "with your distribution's own tool; Debian calls them: $*"
    fi
}

# install_debian PACKAGE...: with the size first, and what apt-get is doing.
install_debian() {
    # A password is asked for here, where nothing is written over the question. Who has sudo may still not use it.
    if [ ${#as_root[@]} != 0 ]; then
        sudo -v || return
    fi
    counted "${as_root[@]}" apt-get update -q
    # A line for each archive: 'URL' NAME BYTES HASH.
    apt-get install -y -q --print-uris --no-install-recommends "$@" 2>/dev/null |
        awk "/^'/ { count++; bytes += \$3 } END { printf \"  %d archives to fetch, %.1f MB\\n\", count, bytes / 1e6 }" || true
    counted "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# need_debian PACKAGE...: install those that are missing; without them it cannot go on.
need_debian() {
    local missing
    mapfile -t missing < <(missing_debian "$@")
    [ ${#missing[@]} = 0 ] && return
    if ! may_install; then
        echo "These Debian packages are missing, and this is neither root nor is there sudo. Install them, then run it again;" >&2
        how_to_install "${missing[@]}" >&2
        exit 2
    fi
    say "Installing Debian packages: ${missing[*]}"
    install_debian "${missing[@]}" || {
        echo "That did not work. Install them, then run it again; $(how_to_install "${missing[@]}")" >&2
        exit 2
    }
}

# want_debian PACKAGE...: install those that are missing, if that can be; it goes on without them.
want_debian() {
    local missing
    mapfile -t missing < <(missing_debian "$@")
    [ ${#missing[@]} = 0 ] && return
    if may_install; then
        say "Installing Debian packages: ${missing[*]}"
        install_debian "${missing[@]}" && return
    fi
    echo "Going on without ${missing[*]}; to have them, $(how_to_install "${missing[@]}")"
}

# python_ready LOCK: whether .venv has these versions already, so that nothing need be compiled.
python_ready() {
    cmp -s "$1" ".venv/voxofs-$1" && .venv/bin/voxofs --version >/dev/null 2>&1
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
    if ! python_ready "$lock"; then
        say "Preparing .venv: the $(grep -c == "$lock") packages of $lock, of which pyfuse3 is compiled here"
        [ -x .venv/bin/python ] || counted "$python" -m venv .venv
        counted .venv/bin/python -m pip install --disable-pip-version-check --require-hashes -r "$lock"
        counted .venv/bin/python -m pip install --disable-pip-version-check --no-deps -e .
        cp "$lock" ".venv/voxofs-${lock}"
    fi
}

# What a mount needs on Debian and Ubuntu: FUSE, and what pyfuse3 is compiled with.
# shellcheck disable=SC2034  # used by those who source this
mount_packages=(fuse3 libfuse3-dev pkg-config gcc libc6-dev python3-dev python3-venv ca-certificates)

# need_mtab: the list of mounts that an NFS server reads. Debian makes it at boot (tmpfiles.d/debian.conf).
need_mtab() {
    if [ ! -e /etc/mtab ] && may_install; then
        say "Making /etc/mtab, which a system that never booted lacks"
        "${as_root[@]}" ln -sf ../proc/self/mounts /etc/mtab
    fi
}

need_fuse() {
    [ -c /dev/fuse ] || {
        echo "/dev/fuse is missing: run 'modprobe fuse', or give the container --device /dev/fuse --cap-add SYS_ADMIN" >&2
        exit 2
    }
}
