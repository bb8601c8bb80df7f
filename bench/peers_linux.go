package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// peerServices is few enough for the slowest of the peers.
const peerServices = 1000

// measurePeers reloads the same services with other tools, where they are
// installed: an unchanged policy, from its text to the kernel. No limit: they do
// other work too. Their files are copies, and their rules go into a namespace.
func measurePeers(l *lab) ([]row, error) {
	list := services(peerServices)
	policy, err := l.file("policy.toml", policyText(list))
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, p := range []struct {
		name    string
		prepare func(*lab, []service) (setUp, load []string, err error)
	}{{"ferm", prepareFerm}, {"ufw", prepareUFW}} {
		if _, err := exec.LookPath(p.name); err != nil {
			fmt.Printf("\n%s is not installed: not measured\n", p.name)
			continue
		}
		setUp, load, err := p.prepare(l, list)
		if err != nil {
			return nil, err
		}
		d, err := l.beside(policy, setUp, load)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row{
			work:   fmt.Sprintf("%d services loaded, fwctl : %s", peerServices, p.name),
			ratio:  d.ratio(),
			detail: d.String(),
		})
	}
	return rows, nil
}

// beside times fwctl in empty namespaces and the peer in one that it knows.
func (l *lab) beside(policy string, setUp, load []string) (duel, error) {
	var d duel
	ns, err := l.namespace()
	if err != nil {
		return d, err
	}
	if _, _, err := in(ns, "", setUp...); err != nil {
		return d, err
	}
	for range rounds {
		took, _, err := in(ns, "", load...)
		if err != nil {
			return d, err
		}
		first, _, err := l.timeApply(policy)
		if err != nil {
			return d, err
		}
		d.add(first, took.Seconds())
	}
	return d, nil
}

func prepareFerm(l *lab, list []service) (setUp, load []string, err error) {
	var b bytes.Buffer
	b.WriteString("domain ip table filter chain INPUT {\n\tpolicy DROP;\n\tinterface lo ACCEPT;\n\tmod state state (ESTABLISHED RELATED) ACCEPT;\n\tproto icmp ACCEPT;\n")
	for _, s := range list {
		fmt.Fprintf(&b, "\tproto udp dport %d saddr %s ACCEPT;\n", s.Port, s.Src)
	}
	b.WriteString("}\n")
	path, err := l.file("ferm.conf", b.Bytes())
	return []string{"ferm", path}, []string{"ferm", path}, err
}

// prepareUFW gives ufw a copy of its directory, seen in place of the real one by
// it alone.
func prepareUFW(l *lab, list []service) (setUp, load []string, err error) {
	dir := filepath.Join(l.dir, "ufw")
	if err := sh("cp", "-a", "/etc/ufw", dir); err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile("/usr/share/ufw/iptables/user.rules")
	if err != nil {
		return nil, nil, err
	}
	var b bytes.Buffer
	for _, s := range list {
		fmt.Fprintf(&b, "\n### tuple ### allow udp %[1]d 0.0.0.0/0 any %[2]s in\n-A ufw-user-input -p udp --dport %[1]d -s %[2]s -j ACCEPT\n", s.Port, s.Src)
	}
	mark := []byte("### RULES ###\n")
	text = bytes.Replace(text, mark, append(mark, b.Bytes()...), 1)
	if err := os.WriteFile(filepath.Join(dir, "user.rules"), text, 0o640); err != nil {
		return nil, nil, err
	}
	in := func(command string) []string {
		return []string{"unshare", "--mount", "sh", "-ec", "mount --bind " + dir + " /etc/ufw; " + command}
	}
	return in("ufw --force enable"), in("ufw reload"), nil
}
