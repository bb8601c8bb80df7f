#!/usr/bin/env bash
# A whole firewall's life in a throwaway network namespace: everything is open, a
# shipped policy is applied, packets show what gets in, somebody opens the host by
# hand, fwctl sees it and puts it right, fwctl leaves. Fails if a single packet
# does otherwise than the policy says. Nothing of it touches this host's network.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

policy=policies/examples/cromwell.toml

say() { printf '\n%s\n' "$*"; }
die() { echo "demo: $*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "needs Linux: it loads rules into a network namespace"
[ "$(id -u)" -eq 0 ] || die "needs root: it makes network namespaces (sudo make demo)"

tmp=$(mktemp -d)
host=fwctl-demo-host-$$ # the host under the policy
net=fwctl-demo-net-$$   # everybody else
daemons=
cleanup() {
  [ -z "$daemons" ] || kill "$daemons" 2>/dev/null || true
  ip netns delete "$host" 2>/dev/null || true
  ip netns delete "$net" 2>/dev/null || true
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

CGO_ENABLED=0 go build -o "$tmp/fwctl" ./cmd/fwctl
CGO_ENABLED=0 go build -o "$tmp/demo" ./internal/demo

# --- two namespaces and a cable -----------------------------------------------
# The host of the example, and one namespace that has everybody's addresses.
ip netns add "$host"
ip netns add "$net"
ip -n "$host" link set lo up
ip -n "$net" link set lo up
ip -n "$host" link add eth0 type veth peer name eth0 netns "$net"
address() { # namespace, addresses: IPv6 at once, without looking for duplicates
  local ns=$1 a
  shift
  for a; do
    case $a in
      *:*) ip -n "$ns" addr add "$a" dev eth0 nodad ;;
      *) ip -n "$ns" addr add "$a" dev eth0 ;;
    esac
  done
}
address "$host" 192.0.2.30/24 2001:db8:2::30/64
address "$net" 192.0.2.10/24 2001:db8:2::10/64 198.51.100.7/32 203.0.113.9/32 2001:db8:100:1::7/128 2001:db8:bad::9/128
ip -n "$host" link set eth0 up
ip -n "$net" link set eth0 up
for _ in $(seq 100); do # the kernel's own link-local addresses look for duplicates
  [ -n "$(ip -n "$host" -6 addr show tentative)$(ip -n "$net" -6 addr show tentative)" ] || break
  sleep 0.05
done
ip -n "$host" route add default via 192.0.2.10
ip -n "$host" -6 route add default via 2001:db8:2::10

in_host() { ip netns exec "$host" "$@"; }
fw() { in_host "$tmp/fwctl" --color never --state-dir "$tmp/state" --run-dir "$tmp/run" "$@"; }
run() { printf '$ fwctl %s\n' "$*"; fw "$@" 2>&1; }
probe() { ip netns exec "$net" "$tmp/demo" probe "$@" <"$tmp/probes"; }

# who, protocol, from, to, port, and what the policy wants
cat >"$tmp/probes" <<'PROBES'
proxy          tcp  192.0.2.10           192.0.2.30      8000  in
proxy          tcp  2001:db8:2::10       2001:db8:2::30  8001  in
proxy          tcp  192.0.2.10           192.0.2.30      22    out
administrator  tcp  198.51.100.7         192.0.2.30      22    in
administrator  tcp  2001:db8:100:1::7    2001:db8:2::30  22    in
administrator  tcp  198.51.100.7         192.0.2.30      8000  out
stranger       tcp  203.0.113.9          192.0.2.30      22    out
stranger       tcp  203.0.113.9          192.0.2.30      8000  out
stranger       tcp  2001:db8:bad::9      2001:db8:2::30  8001  out
stranger       tcp  203.0.113.9          192.0.2.30      3306  out
stranger       udp  203.0.113.9          192.0.2.30      53    out
PROBES

ip netns exec "$host" "$tmp/demo" listen 22/tcp 3306/tcp 8000/tcp 8001/tcp 53/udp >"$tmp/ready" &
daemons=$!
for _ in $(seq 100); do
  grep -q ready "$tmp/ready" && break
  sleep 0.05
done
grep -q ready "$tmp/ready" || die "the listeners did not start"

# --- what happens -------------------------------------------------------------
say "1. No firewall. A host with five daemons, and everybody reaches them:"
probe open

say "2. $policy: is it right, and do its own tests hold?"
run check "$policy"

say "3. Applied to the host. Who gets in now, by real packets:"
run apply --no-confirm "$policy"
probe wanted

say "4. Why? fwctl says which line of the policy decides:"
run explain --policy "$policy" tcp 192.0.2.10 to 192.0.2.30:8000
run explain --policy "$policy" tcp 203.0.113.9 to 192.0.2.30:8000

say "5. The same policy again sends nothing:"
run apply --no-confirm "$policy"
[ "$(fw apply --no-confirm --json "$policy" | tr -d ' \n' | grep -o '"changed":[a-z]*')" = '"changed":false' ] ||
  die "a second apply changed something"

say "6. Somebody opens everything by hand: nft insert rule inet fwctl input accept"
in_host nft insert rule inet fwctl input accept
probe open brief

say "7. fwctl sees what differs, and puts it right:"
run apply --dry-run "$policy" | tee "$tmp/differs"
grep -q 'delete rule' "$tmp/differs" || die "the foreign rule was not seen"
run apply --no-confirm "$policy"
probe wanted brief

say "8. fwctl leaves, and takes with it what is its own:"
run off --yes
[ -z "$(in_host nft list tables)" ] || die "something was left behind"
probe open brief

say "All as the policy says."
