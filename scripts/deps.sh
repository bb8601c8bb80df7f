#!/usr/bin/env bash
# Installs what the tests and the demo run besides Go and make: the tools that
# talk to netfilter, tmux, and systemd, which the tests run in namespaces. Only what
# is missing, only on Debian and its children, only as root; else it names what to
# install and fails. Silent when all is there. Arguments, program:package, are
# wanted besides.
set -euo pipefail

[ "$(uname -s)" = Linux ] || exit 0 # elsewhere no test needs them
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# program:Debian's package
wanted=(nft:nftables iptables-restore:iptables iptables-legacy-restore:iptables ipset:ipset conntrack:conntrack ip:iproute2 sysctl:procps tmux:tmux systemctl:systemd "$@")

missing=()
for w in "${wanted[@]}"; do
  command -v "${w%%:*}" >/dev/null || missing+=("${w#*:}")
done
[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "deps: please install (names of Debian's packages): ${missing[*]}" >&2
  exit 1
fi
echo "deps: installing ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq -y install --no-install-recommends "${missing[@]}" >/dev/null
