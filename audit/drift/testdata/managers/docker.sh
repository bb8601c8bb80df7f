# Docker with one container that publishes ports, on a host that did not route
# before: Docker switches that on and closes the forward chain.
sysctl -q -w net.ipv4.ip_forward=0
mkdir /run/docker-test
cd /run/docker-test
dockerd --storage-driver vfs --data-root /run/docker-test/data --exec-root /run/docker-test/exec \
  --pidfile /run/docker-test/pid -H unix:///run/docker-test/sock --cgroup-parent "/$CGROUP" >log 2>&1 &
export DOCKER_HOST=unix:///run/docker-test/sock
for try in $(seq 300); do
  docker info >info 2>&1 && break
  sleep 0.1
done
docker info >info || { cat log; exit 1; }
tar -C /share/image -c . | docker import - waits
docker network create --subnet 172.20.0.0/16 -o com.docker.network.bridge.name=br-apps apps
docker run -d -p 8080:80 -p 8443:443/tcp -p 5353:53/udp waits /waits
docker run -d --network apps -p 192.0.2.11:9100:9100 -p 127.0.0.1:9000:9000 waits /waits
docker ps
docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' $(docker ps -q) | sort # 172.17.0.2 172.20.0.2
