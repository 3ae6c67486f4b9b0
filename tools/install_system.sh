#!/usr/bin/env bash
# Installs the system programs that some test tiers need, where root or passwordless sudo allows it; otherwise says what
# to install. Missing programs only skip their tiers, so this always exits 0. Never asks anything.
#
#   tools/install_system.sh              qemu-user, gcc, Debian's keys, adb, openssh-server and chromium, what is missing
#   tools/install_system.sh PACKAGE...   these Debian packages instead
set -uo pipefail

readonly update_secs=180 install_secs=600

say() { printf 'system: %s\n' "$*" >&2; }

has_program() {
    # Debian keeps sshd outside a normal user's PATH.
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null
}

has_chromium() {
    local command
    for command in chromium chromium-browser google-chrome; do
        # Ubuntu's chromium-browser is a shim that fails where snaps don't run: ask it for its version.
        timeout 20 "$command" --version </dev/null >/dev/null 2>&1 && return 0
    done
    return 1
}

missing_packages() {
    has_program qemu-aarch64 || echo qemu-user
    has_program cc || echo gcc
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || [ -e /usr/share/keyrings/debian-archive-keyring.pgp ] ||
        echo debian-archive-keyring
    has_program adb || echo adb
    has_program sshd || echo openssh-server
    has_chromium && return
    if [ -r /etc/os-release ] && grep -qx 'ID=ubuntu' /etc/os-release; then
        say "chromium: Ubuntu ships it only as a snap; for the browser tests run: sudo snap install chromium"
    else
        echo chromium
    fi
}

is_debian_family() {
    [ -r /etc/os-release ] && command -v apt-get >/dev/null || return 1
    (
        . /etc/os-release
        case " ${ID:-} ${ID_LIKE:-} " in *" debian "* | *" ubuntu "*) ;; *) exit 1 ;; esac
    )
}

# Runs $2... as root within $1 seconds, without a terminal to ask on.
as_root() {
    local secs=$1 prefix=()
    shift
    [ "$(id -u)" = 0 ] || prefix=(sudo -n)
    "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 timeout -k 10 "$secs" "$@" </dev/null >&2
}

apt() {
    local secs=$1
    shift
    as_root "$secs" apt-get -q -y -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=30 \
        -o Acquire::https::Timeout=30 -o Dpkg::Options::=--force-confold "$@"
}

install_package() {
    local package=$1 ssh_was_there=yes
    [ -e /etc/ssh/sshd_config ] || ssh_was_there=no
    say "installing $package"
    if ! apt "$install_secs" install --no-install-recommends "$package"; then
        say "$package could not be installed; try: sudo apt-get install $package"
        return
    fi
    # The tests start their own sshd on the loopback; they must not leave a login service open to the network.
    if [ "$package" = openssh-server ] && [ $ssh_was_there = no ] && [ -d /run/systemd/system ]; then
        say "openssh-server is here for the tests only: its service stays off (sudo systemctl enable --now ssh)"
        as_root 60 systemctl disable --now ssh.service ssh.socket || true
    fi
}

main() {
    local packages
    if [ $# -gt 0 ]; then
        packages=("$@")
    else
        mapfile -t packages < <(missing_packages)
    fi
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! is_debian_family; then
        say "not Debian or Ubuntu: install these with your package manager: ${packages[*]}"
        return 0
    fi
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        say "no root and no passwordless sudo; to run every test: sudo apt-get install ${packages[*]}"
        return 0
    fi
    apt "$update_secs" update || say "apt-get update failed; going on with the package lists that are here"
    local package
    for package in "${packages[@]}"; do
        install_package "$package"
    done
}

main "$@"
exit 0
