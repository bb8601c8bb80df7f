// Package sdbox runs a real systemd as process 1 of namespaces of its own, over a
// copy of this host's root that keeps no change, so that units can be tested as
// they will run: at boot, in cgroups, with a journal.
//
//	b := sdbox.Start(t, seed, cable.Do) // seed: a directory that is copied over the root
//	b.Sh("systemctl start some.service")
//
// It boots in about half a second. Everything of it is in namespaces and in one
// cgroup, and ends with the test, also when that is killed: what then ends it is a
// process that waits for the test's end (reap.sh). The network is that in which it
// is started; /sys, and /proc/sys, which are the host's, cannot be written.
//
// Needed are root, systemd, nsenter and unshare (util-linux), and a cgroup2 that
// may be written.
package sdbox
