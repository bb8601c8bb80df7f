package live

// notTold is the way out where the environment does not say how somebody came.
const notTold = `SSH_CONNECTION is not set; doas and sudo take it away: doas env SSH_CONNECTION="$SSH_CONNECTION" fwctl …`

// toldBy returns how whoever has this environment and this terminal reaches a host on
// which no process says more. The word of the environment counts: whoever can change
// the rules could say anything. Consoles are the terminals at the host itself.
func (e environment) toldBy(terminal uint64, consoles map[uint64]string) Reach {
	if e.detaches() {
		return Reach{By: "it runs under a terminal that can be detached"}
	}
	if c, ok := parseSSH(e.get("SSH_CONNECTION")); ok {
		return Reach{Kind: ReachConnection, Remote: c.Remote, Local: c.Local, By: "SSH_CONNECTION"}
	}
	if name, ok := consoles[terminal]; ok {
		return Reach{Kind: ReachConsole, By: "console " + name}
	}
	return Reach{By: notTold}
}
