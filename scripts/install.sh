#!/bin/sh
# Puts the program, its manual page and what starts it at boot where this system looks
# for them, and enables and starts nothing. It is what `make install` runs; where there
# is no GNU make, `sh scripts/install.sh` does the same with what is in bin/.
#
#	DESTDIR  a root other than /
#	prefix   /usr on Linux, /usr/local elsewhere
#	system   another one than `uname -s` says
set -eu
cd "$(dirname "$0")/.."

: "${DESTDIR:=}"
: "${system:=$(uname -s)}"
case ${system} in
Linux) : "${prefix:=/usr}" ;;
*) : "${prefix:=/usr/local}" ;;
esac

# put MODE FILE TO copies a file, with the program's path in it.
put() {
	mkdir -p "$(dirname "${DESTDIR}$3")"
	case $2 in
	bin/* | docs/*) cp "$2" "${DESTDIR}$3.new" ;;
	*) sed "s|/usr/\(local/\)\{0,1\}sbin/fwctl|${prefix}/sbin/fwctl|" "$2" >"${DESTDIR}$3.new" ;;
	esac
	chmod "$1" "${DESTDIR}$3.new"
	mv "${DESTDIR}$3.new" "${DESTDIR}$3"
	echo "${DESTDIR}$3"
}

put 0755 bin/fwctl "${prefix}/sbin/fwctl"
case ${system} in
OpenBSD)
	put 0644 docs/fwctl.1 "${prefix}/man/man1/fwctl.1"
	put 0555 rc/openbsd/fwctl /etc/rc.d/fwctl
	;;
FreeBSD)
	put 0644 docs/fwctl.1 "${prefix}/share/man/man1/fwctl.1"
	put 0555 rc/freebsd/fwctl "${prefix}/etc/rc.d/fwctl"
	;;
Darwin)
	put 0644 docs/fwctl.1 "${prefix}/share/man/man1/fwctl.1"
	for plist in rc/macos/*.plist; do
		put 0644 "${plist}" "/Library/LaunchDaemons/$(basename "${plist}")"
	done
	;;
*)
	put 0644 docs/fwctl.1 "${prefix}/share/man/man1/fwctl.1"
	for unit in systemd/fwctl*; do
		put 0644 "${unit}" "${prefix}/lib/systemd/system/$(basename "${unit}")"
	done
	;;
esac
