#!/bin/sh
# Shows that a machine with Python, make and git alone is enough: a minimal Debian or Ubuntu in a folder, a fresh clone
# of the last commit in it, and then what a newcomer types. Needs root and debootstrap.
#
#   sudo tests/chroot.sh [SUITE] [COMMAND]      default: bookworm 'make demo && CI=true make test'
#   sudo MIRROR=http://… tests/chroot.sh noble 'make demo'
#
# From the environment: MIRROR (the suite's archive; for Debian debootstrap knows one), DEBOOTSTRAP_OPTIONS, FRESH_DIR
# (where the minimal system is kept for the next time; default /var/tmp/fresh-machine). Settings of pip, npm and
# proxies, and this machine's certificates and name servers, are taken along: they say how to reach the network.
set -eu

suite=${1:-bookworm}
command=${2:-make demo && CI=true make test}
project=$(cd "$(dirname "$0")/.." && pwd)
keep=${FRESH_DIR:-/var/tmp/fresh-machine}
pristine=$keep/$suite
packages=python3,make,git,ca-certificates

case $suite in
bookworm | trixie) components=main script= ;;
*) components=main,universe script=/usr/share/debootstrap/scripts/gutsy ;; # the script behind every Ubuntu suite
esac

if [ ! -e "$pristine/.complete" ]; then
    rm -rf "$pristine"
    mkdir -p "$pristine"
    # shellcheck disable=SC2086 # options and the two last arguments are words, or nothing
    debootstrap --variant=minbase --include=$packages --components=$components ${DEBOOTSTRAP_OPTIONS:-} \
        "$suite" "$pristine" ${MIRROR:-${script:+${MIRROR:?give the address of the archive for an Ubuntu suite}}} $script
    touch "$pristine/.complete"
fi

machine=$(mktemp -d "$keep/$suite.XXXXXX")
leave() {
    umount "$machine/dev/pts" "$machine/dev/shm" "$machine/proc" 2>/dev/null || true
    # A mount that is still there would be emptied with the folder.
    grep -q " $machine/" /proc/mounts || rm -rf "$machine"
}
trap leave EXIT
trap 'exit 130' INT TERM

cp -a "$pristine/." "$machine/"
cp /etc/resolv.conf "$machine/etc/resolv.conf"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$machine/etc/hosts" # an installer writes it, debootstrap does not
cp /etc/ssl/certs/ca-certificates.crt "$machine/etc/ssl/certs/ca-certificates.crt"
mount -t proc proc "$machine/proc"
mkdir -p "$machine/dev/shm"
mount -t tmpfs tmpfs "$machine/dev/shm"
mkdir -p "$machine/dev/pts" # every machine has terminals; a chroot has them only so
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$machine/dev/pts"
git clone --quiet "$project" "$machine/root/project"

settings=$(env | grep -E '^(PIP_(INDEX_URL|EXTRA_INDEX_URL|CERT|PROXY|DEFAULT_TIMEOUT)|(https?|no|HTTPS?|NO)_(proxy|PROXY)|SSL_CERT_FILE|NODE_EXTRA_CA_CERTS|npm_config_[a-z_]+)=' || true)
# shellcheck disable=SC2086 # one word per setting; none of them holds a space
chroot "$machine" env -i HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    $settings sh -c "cd /root/project && $command"
