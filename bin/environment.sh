# Sourced by bin/rollc and bin/test: $root is the checkout, and $root/.venv is whole afterwards.

root=$(dirname -- "$(dirname -- "$(readlink -f -- "$0")")") || exit 2

environment_is_whole() {
    [ -x "$root/.venv/bin/python" ] &&
        { echo "$root" && cat "$root/pyproject.toml" "$root/constraints.txt"; } |
        cmp -s - "$root/.venv/made-from"
}

find_python() {
    for name in python3.13 python3.12 python3.11 python3 python; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            echo "$name"
            return
        fi
    done
    echo "rollc: needs Python 3.11 or newer with its venv and pip modules, and found none" >&2
    echo "rollc: (on Debian and Ubuntu: apt install python3 python3-venv)" >&2
    exit 2
}

if ! environment_is_whole; then
    python=$(find_python) || exit 2
    "$python" "$root/bin/environment.py" || exit $?
fi
