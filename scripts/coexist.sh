#!/usr/bin/env bash
# Holds what fwctl says of hosts that other programs fill with rules against the
# kernel: ufw, ferm, firewalld, Docker and Podman, Debian's packages, in a throwaway root
# that debootstrap makes; and what it says of real listeners against a prober. None
# of them is installed on this host, and what they load goes into network namespaces.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

managers=ufw,ferm,firewalld,docker.io,podman,netavark,slirp4netns,uidmap,iptables,nftables,iproute2,procps
managers+=,openssh-server,nginx-light,postgresql,redis-server # of which a host is made to be audited
managers+=,libpam-systemd # for firewalld: debootstrap finds no packages by what they provide

die() { echo "coexist: $*" >&2; exit 1; }

[ "$(uname -s)" = Linux ] || die "needs Linux: other managers load their rules into network namespaces"
[ "$(id -u)" -eq 0 ] || die "needs root: it makes a root directory and network namespaces (sudo make coexist)"
command -v apt-get >/dev/null || die "needs apt: it makes a root of Debian or Ubuntu"
if ! command -v debootstrap >/dev/null; then
  echo "coexist: installing debootstrap" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq -y install --no-install-recommends debootstrap >/dev/null
fi

# The mirror, release and components that apt uses here.
codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
sources() { # field
  apt-get indextargets --format "\$(CODENAME) \$(ORIGIN) \$($1)" 'Created-By: Packages' |
    sed -nE "s/^$codename (Debian|Ubuntu) //p" | sort -u
}
mirror=$(sources SITE | head -n 1)
[ -n "$mirror" ] || die "apt knows no mirror of $codename"
components=$(sources COMPONENT | paste -sd ,)

tmp=$(mktemp -d "${TMPDIR:-/var/tmp}/fwctl-coexist.XXXXXX")
job=
cleanup() {
  # Its mounts and processes are in namespaces that end with it. unshare ignores
  # what is politer.
  [ -z "$job" ] || { kill -KILL "$job" && wait "$job"; } 2>/dev/null || true
  rm -rf --one-file-system "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

run() { # in the background, since a trap waits for what is in the foreground
  local code=0
  "$@" &
  job=$!
  wait "$job" || code=$?
  job=
  return $code
}

echo "coexist: $codename from $mirror" >&2
root=$tmp/root
run unshare --mount --pid --fork --kill-child=KILL --propagation private \
  debootstrap --variant=minbase --components="$components" --include="$managers" "$codename" "$root" "$mirror" >"$tmp/log" 2>&1 ||
  { tail -n 20 "$tmp/log" >&2; die "debootstrap failed"; }
rm -rf "$root"/var/cache/apt/archives/*.deb
echo "coexist: root in $SECONDS s" >&2

export FWCTL_ROOT=$root TMPDIR=$tmp CI=true
if [ "${1:-}" = reload ]; then
  go test -c -o "$tmp/test" ./cmd/fwctl
  cd cmd/fwctl
  run "$tmp/test" -test.timeout 20m -test.run '^TestReloadsOfOthers'
  exit
fi
if [ "${1:-}" = docker ]; then
  # The Docker of today, in Go from its modules, with Debian's containerd. runc goes
  # without seccomp, which is a library in C.
  moby=v2.0.0-beta.24 runc=v1.3.3
  export GOFLAGS=-mod=mod GOBIN=$root/usr/local/sbin
  CGO_ENABLED=0 go install "github.com/moby/moby/v2/cmd/dockerd@$moby" "github.com/moby/moby/v2/cmd/docker-proxy@$moby"
  mkdir "$tmp/runc"
  cp -r "$(cd "$tmp" && go mod download -json "github.com/opencontainers/runc@$runc" | sed -nE 's/^\s*"Dir": "(.*)",$/\1/p')/." "$tmp/runc"
  chmod -R u+w "$tmp/runc"
  (cd "$tmp/runc" && go mod edit -dropreplace=github.com/opencontainers/selinux && CGO_ENABLED=1 go build -o "$GOBIN/runc" .)
  unset GOFLAGS GOBIN
  go test -c -o "$tmp/test" ./cmd/fwctl
  cd cmd/fwctl
  run "$tmp/test" -test.v -test.timeout 20m -test.run '^TestPublishedPorts'
  FWCTL_DOCKERD=--firewall-backend=nftables run "$tmp/test" -test.v -test.timeout 20m -test.run '^TestPublishedPortsObey/nftables'
  exit
fi
go test -c -o "$tmp/test" ./audit/drift
cd audit/drift
run "$tmp/test" -test.v -test.timeout 10m -test.run '^TestFollowAgreesBeside|^TestPublishedPorts'
cd ../..
go test -c -o "$tmp/test" ./cmd/fwctl
cd cmd/fwctl
run "$tmp/test" -test.v -test.timeout 20m -test.run '^TestPublishedPorts|^TestAuditOfRealHosts'
