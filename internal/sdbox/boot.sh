# Becomes process 1 of a box: makes its root and hands over to systemd.
# Arguments: the directory that is copied over the root.
mount --make-rprivate /
root=/mnt/root # on a file system of this mount namespace alone
mount -t tmpfs -o mode=0755 tmpfs /mnt
mkdir /mnt/upper /mnt/work "$root"
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay "$root"

mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
for f in sys sysrq-trigger irq bus; do # settings of the host, not of a namespace
  [ ! -e "$root/proc/$f" ] || mount --bind -o ro "$root/proc/$f" "$root/proc/$f"
done
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t cgroup2 -o nosuid,nodev,noexec cgroup2 "$root/sys/fs/cgroup"

mount -t tmpfs -o mode=0755,nosuid tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for d in null zero full random urandom tty; do
  touch "$root/dev/$d"
  mount --bind "/dev/$d" "$root/dev/$d"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# What the host has enabled, mounted and logged stays there.
for d in run tmp var/log etc/systemd/system; do
  mount -t tmpfs -o mode=0755 tmpfs "$root/$d"
done
chmod 1777 "$root/tmp"
: > "$root/etc/fstab"

# Units that need a machine, or would set one up.
for u in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
  systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service systemd-random-seed.service systemd-logind.service \
  systemd-sysusers.service systemd-firstboot.service systemd-machine-id-commit.service systemd-repart.service \
  dbus.socket dbus.service systemd-journald-audit.socket systemd-update-utmp.service systemd-update-utmp-runlevel.service \
  proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount getty.target \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount sys-fs-fuse-connections.mount; do
  ln -s /dev/null "$root/etc/systemd/system/$u"
done
cp -R "$1/." "$root/"
ip link set lo up

cd "$root"
mkdir .host
pivot_root . .host
umount -l .host
rmdir .host
exec setpriv --bounding-set -sys_time,-sys_module,-sys_rawio \
  env -i container=fwctl PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  "$2" --unit=multi-user.target --show-status=no
