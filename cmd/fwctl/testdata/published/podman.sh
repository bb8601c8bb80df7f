# Podman with a container that publishes a port: root's, by netavark; and one of a user,
# whose port a program of his own keeps.
export XDG_RUNTIME_DIR=/run/podman-test HOME=/run/podman-test
mkdir -p /run/podman-test /etc/containers /run/podman
cat >/etc/containers/containers.conf <<CONF
[containers]
seccomp_profile = "unconfined"
apparmor_profile = ""
default_sysctls = []
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
CONF
cat >/etc/containers/storage.conf <<CONF
[storage]
driver = "vfs"
graphroot = "/run/podman-test/graph"
runroot = "/run/podman-test/run"
CONF
printf '{"default":[{"type":"insecureAcceptAnything"}]}' >/etc/containers/policy.json
cd /run/podman-test
mkdir image
cp /share/shell image
tar -C image -c . | podman import - shell
podman run -d --cgroup-parent "/$CGROUP" --security-opt seccomp=unconfined --name web -p 8080:80 shell /shell serve 80
podman run -d --cgroup-parent "/$CGROUP" --security-opt seccomp=unconfined --name local -p 127.0.0.1:8081:80 shell /shell serve 80

# A user's, in namespaces of his own: slirp4netns for what goes out, rootlessport for the
# port. Control groups are not his.
useradd --create-home --uid 1234 alice
echo alice:200000:65536 >/etc/subuid
echo alice:200000:65536 >/etc/subgid
mkdir -p /run/user/1234
chown alice /run/user/1234
cp image/shell /run/alice-shell
cat >/run/alice.sh <<'ALICE'
export XDG_RUNTIME_DIR=/run/user/1234 HOME=/home/alice
cd /home/alice
mkdir -p .config/containers image
printf '[storage]\ndriver = "vfs"\n' >.config/containers/storage.conf
cp /run/alice-shell image/shell
tar -C image -c . | podman import - shell
podman run -d --security-opt seccomp=unconfined --name own -p 8082:8000 shell /shell serve 8000
ALICE
# Who is in another root than that of his mounts may make no user namespace
# (user_namespaces(7)): they get this one for theirs.
cat >/run/pivot.sh <<'PIVOT'
cd "$DIR/mnt/root"
mkdir -p .old
pivot_root . .old
umount -l /.old
mount --make-rshared /
exec setpriv --reuid=1234 --regid=1234 --init-groups env -i PATH="$PATH" sh -eux /run/alice.sh
PIVOT
nsenter --mount=/proc/self/ns/mnt unshare --mount --propagation private sh -eux "$DIR/mnt/root/run/pivot.sh"
/share/shell obey 127.0.0.1:2999 >agent 2>&1 </dev/null &
