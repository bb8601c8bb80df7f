# Containers that publish ports, in two networks.
docker network create --subnet 172.20.0.0/16 -o com.docker.network.bridge.name=br-apps apps
docker run -d --security-opt seccomp=unconfined --name web --restart always -p 8080:80 shell /shell serve 80
docker run -d --security-opt seccomp=unconfined --name other --restart always -p 8081:80 shell /shell serve 80
docker run -d --security-opt seccomp=unconfined --name app --restart always --network apps shell /shell serve 80
docker run -d --security-opt seccomp=unconfined --name app2 --restart always --network apps shell /shell serve 80
