# Docker, by IPv6 as FAMILIES says, an image for containers, and somebody who runs docker
# for the test.
[ "$VARIANT" = legacy ] && update-alternatives --set iptables /usr/sbin/iptables-legacy && update-alternatives --set ip6tables /usr/sbin/ip6tables-legacy
sysctl -q -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.default.accept_dad=0
[ -z "$FLAGS" ] || sysctl -q -w net.ipv4.ip_forward=1 # Docker's nftables does not
mkdir /run/docker-test
cd /run/docker-test
cat >start <<'START'
dockerd --storage-driver vfs --data-root /run/docker-test/data --exec-root /run/docker-test/exec \
  --pidfile /run/docker-test/pid -H unix:///run/docker-test/sock --cgroup-parent "/$CGROUP" \
  $FAMILIES $FLAGS >>log 2>&1 </dev/null &
for try in $(seq 300); do
  docker info >info 2>&1 && exit
  sleep 0.1
done
cat log
exit 1
START
export DOCKER_HOST=unix:///run/docker-test/sock
sh -eu start
mkdir image
cp /share/shell image
tar -C image -c . | docker import - shell
/share/shell obey 127.0.0.1:2999 >agent 2>&1 </dev/null &
