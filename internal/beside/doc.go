// Package beside lets other programs that manage rules work beside fwctl, in tests:
// ufw, ferm, firewalld, Docker, as Debian packs them.
//
// They are installed in a root directory that scripts/coexist.sh makes, whose name the
// environment variable FWCTL_ROOT has; [Enter] runs a script in a copy of it. Nothing
// of them touches the machine that the tests run on. Linux only.
package beside
