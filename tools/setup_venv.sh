#!/usr/bin/env bash
# Makes .venv at the top of the checkout and installs edgeprune there, editable, with its test and example
# dependencies. Does nothing when that was done before for this setup.py, this place and this interpreter.
#
#   PYTHON=python3.12 tools/setup_venv.sh     chooses the interpreter of a new .venv
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly venv=.venv
readonly stamp=$venv/edgeprune-installed
# TensorFlow publishes wheels for these minor versions of Python 3.
readonly oldest=10 newest=13

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "setup: $*"
    exit 1
}

# Whether $1 runs and is a Python that TensorFlow supports.
supported() {
    "$1" -c "import sys; sys.exit(not (3, $oldest) <= sys.version_info[:2] <= (3, $newest))" 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        supported "$PYTHON" || fail "PYTHON=$PYTHON is not a Python 3.$oldest to 3.$newest; name another interpreter"
        printf '%s\n' "$PYTHON"
        return
    fi
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
        if supported "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "no Python 3.$oldest to 3.$newest found (python3 is $(python3 --version 2>&1 || true));" \
        "install one, such as: sudo apt-get install python3 python3-venv; or name it: make PYTHON=/path/to/python3.12"
}

# Debian and Ubuntu ship venv without ensurepip until python3.X-venv is installed.
ensure_venv_module() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null && return
    local package
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    say "setup: $1 can't make virtual environments; installing $package"
    tools/install_system.sh "$package" || true
    "$1" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$1 can't make virtual environments; install its package: sudo apt-get install $package"
}

# Whether the .venv that is there can be installed into. The scripts in it name its place and its interpreter: after a
# move, or when the interpreter is gone, only a new one helps. One that the user made is kept.
usable() {
    supported "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 &&
        { [ ! -f "$stamp" ] || [ "$(head -n 1 "$stamp")" = "$PWD" ]; }
}

# What an installation depends on: this place, the interpreter, the list of dependencies.
fingerprint() {
    printf '%s\n' "$PWD"
    "$venv/bin/python" --version
    sha256sum <setup.py
}

main() {
    if [ -f "$stamp" ] && [ "$(fingerprint 2>/dev/null)" = "$(cat "$stamp")" ]; then
        return
    fi
    if [ -e "$venv" ] && ! usable; then
        say "setup: $venv is incomplete or from elsewhere; making it again"
        rm -rf "$venv"
    fi
    if [ ! -e "$venv" ]; then
        local python
        python=$(find_python)
        ensure_venv_module "$python"
        say "setup: making $venv with $("$python" --version)"
        "$python" -m venv "$venv"
    fi
    rm -f "$stamp"
    say "setup: installing edgeprune and its dependencies into $venv (TensorFlow is large; only the first time)"
    # setuptools and wheel: the packaging tests build a wheel without the network.
    "$venv/bin/python" -m pip install --disable-pip-version-check --quiet "setuptools>=70.1" wheel -e ".[test,examples]" ||
        fail "pip could not install the dependencies (see above); check the network and run the command again"
    fingerprint >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

main
