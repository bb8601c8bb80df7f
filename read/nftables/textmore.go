package nftables

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fwctl/fwctl/packet"
)

// fibPiece is a question to the routing table.
func fibPiece(a *args) piece {
	var words []string
	for i, name := range []string{"saddr", "daddr", "mark", "iif", "oif"} {
		if a.flag(fibFlags, 1<<i) {
			words = append(words, name)
		}
	}
	text := "fib " + strings.Join(words, " . ") + " "
	present := a.flag(fibFlags, 32) // NFTA_FIB_F_PRESENT
	switch a.num(fibResult) {
	case 1:
		if present {
			return piece{text: text + "oif", kind: existsKind, size: 1}
		}
		return piece{text: text + "oif", kind: indexKind, size: 4}
	case 2:
		return piece{text: text + "oifname", kind: nameKind, size: ifNameSize}
	}
	return piece{text: text + "type", kind: addrTypeKind, size: 4}
}

var objectWords = [...]string{objCounter: "counter name", objQuota: "quota name", objHelper: "ct helper set", objLimit: "limit name",
	objTimeout: "ct timeout set", objSecmark: "meta secmark set", objExpect: "ct expectation set", objSynproxy: "synproxy name"}

func (w *writer) object(a *args) {
	kind, name := a.num(objrefType), fmt.Sprintf("%q", a.text(objrefName))
	if a.has(objrefSet) {
		if s := w.set(a.text(objrefSet)); s != nil {
			kind = uint64(s.ObjType)
			name = w.keyText(a.num(objrefSreg), int(s.KeyLen)) + " map " + w.setText(s.Name, s, w.pieces(a.num(objrefSreg), int(s.KeyLen)))
		}
	}
	word := fmt.Sprintf("object %d", kind)
	if kind < uint64(len(objectWords)) && objectWords[kind] != "" {
		word = objectWords[kind]
	}
	w.say("%s %s", word, name)
}

// translate writes nat, masquerade and redirect.
func (w *writer) translate(name string, a *args) {
	verb, addr, ports, flags := "masquerade", "", [2]int{masqPortMin, masqPortMax}, a.num(masqFlags)
	switch name {
	case "redir":
		verb, ports, flags = "redirect", [2]int{redirPortMin, redirPortMax}, a.num(redirFlags)
	case "nat":
		verb, ports, flags = "snat", [2]int{natPortMin, natPortMax}, a.num(natFlags)
		if a.num(natType) == 1 {
			verb = "dnat"
		}
		if w.table != nil && w.table.Family == FamilyInet && a.has(natAddrMin) {
			verb += " " + familyName(uint8(a.num(natFamily)))
		}
		addr = w.target(a, natAddrMin, natAddrMax, w.addressKind(a))
	}
	port := w.target(a, ports[0], ports[1], numberKind)
	if strings.Contains(addr, ":") && port != "" && a.num(natFamily) == FamilyIPv6 {
		addr = "[" + addr + "]"
	}
	text := verb
	if addr != "" || port != "" {
		text += " to " + addr
	}
	if port != "" {
		text += ":" + port
	}
	for i, word := range []string{2: " random", 3: " persistent", 4: " fully-random"} {
		if flags&(1<<i) != 0 {
			text += word
		}
	}
	w.say("%s", text)
}

func (w *writer) addressKind(a *args) valueKind {
	if a.num(natFamily) == FamilyIPv6 {
		return ipv6Kind
	}
	return ipv4Kind
}

// target writes a value of a register, or a range of two.
func (w *writer) target(a *args, from, to int, k valueKind) string {
	if !a.has(from) {
		return ""
	}
	one := func(i int) string {
		p := w.reg(a.num(i))
		if p.konst == nil {
			return p.masked()
		}
		size := len(p.konst)
		if k == numberKind {
			size = min(size, 2)
		}
		return k.text(p.konst[:size])
	}
	lo := one(from)
	if a.has(to) && a.num(to) != a.num(from) {
		if hi := one(to); hi != lo {
			return lo + "-" + hi
		}
	}
	return lo
}

// other writes what neither loads nor tests.
func (w *writer) other(e Expr, a *args) {
	switch e.Name {
	case "counter", "notrack", "last":
		w.say("%s", e.Name)
	case "log":
		w.say("%s", logText(a))
	case "limit":
		w.say("%s", rateText(a))
	case "quota":
		w.say("quota %s%s", over(a.flag(quotaFlags, 1), "over ", ""), bytesText(a.num(quotaBytes)))
	case "connlimit":
		w.say("ct count %s%d", over(a.flag(connlimitFlags, 1), "over ", ""), a.num(connlimitCount))
	case "reject":
		w.say("%s", w.rejectText(a))
	case "queue":
		w.say("queue to %d", a.num(queueNum))
	case "match", "target":
		w.say("xt %s %q", e.Name, a.text(xtName))
	case "flow_offload":
		w.say("flow add @%s", a.text(flowTable))
	case "synproxy":
		w.say("synproxy mss %d wscale %d", a.num(synproxyMSS), a.num(synproxyScale))
	case "tproxy":
		w.say("%s", w.tproxyText(a))
	default:
		w.loads(e, a)
	}
}

func over(yes bool, a, b string) string {
	if yes {
		return a
	}
	return b
}

// loads writes what reads something else than the packet.
func (w *writer) loads(e Expr, a *args) {
	d, ok := destination[e.Name]
	if !ok || !a.has(d) {
		w.say("%s", w.changeText(e, a))
		return
	}
	p := piece{text: raw(e), size: 4}
	switch e.Name {
	case "numgen":
		p.text = fmt.Sprintf("numgen %s mod %d", over(a.num(numgenType) == 1, "random", "inc"), a.num(numgenMod))
		p.kind = hostNumberKind
		if n := a.num(numgenOffset); n > 0 {
			p.text += fmt.Sprintf(" offset %d", n)
		}
	case "hash":
		p.text = fmt.Sprintf("symhash mod %d", a.num(hashMod))
		p.kind = hostNumberKind
		if a.num(hashType) == 0 {
			p.text = fmt.Sprintf("jhash %s mod %d", w.keyText(a.num(hashSreg), int(a.num(hashLen))), a.num(hashMod))
		}
	case "socket":
		p.text = "socket " + [...]string{"transparent", "mark", "wildcard", "cgroupv2"}[min(a.num(socketKey), 3)]
		p.kind = [...]valueKind{numberKind, markKind, numberKind, hostNumberKind}[min(a.num(socketKey), 3)]
	case "rt":
		p.text = "rt " + [...]string{"classid", "ip nexthop", "ip6 nexthop", "mtu", "ipsec"}[min(a.num(rtKey), 4)]
		p.kind = [...]valueKind{hostNumberKind, ipv4Kind, ipv6Kind, hostNumberKind, existsKind}[min(a.num(rtKey), 4)]
	case "exthdr":
		p.text, p.kind = exthdrText(a)
	case "osf":
		p.text, p.kind, p.size = "osf name", stringKind, 16
	}
	w.put(a.num(d), p)
}

var (
	extensionWords = map[uint64]string{0: "hbh", 43: "rt", 44: "frag", 60: "dst", 135: "mh", 139: "hip"}
	optionWords    = map[uint64]string{0: "eol", 1: "nop", 2: "maxseg", 3: "window", 4: "sack-perm", 5: "sack", 8: "timestamp", 34: "fastopen"}
)

// exthdrText names a part of an extension header or an option.
func exthdrText(a *args) (string, valueKind) {
	what, words := "exthdr ", extensionWords
	switch a.num(exthdrOp) {
	case optionTCP:
		what, words = "tcp option ", optionWords
	case optionIPv4:
		what, words = "ip option ", nil
	case chunkSCTP:
		what, words = "sctp chunk ", nil
	case optionDCCP:
		what, words = "dccp option ", nil
	}
	name, ok := words[a.num(exthdrType)]
	if !ok {
		name = fmt.Sprint(a.num(exthdrType))
	}
	if a.flag(exthdrFlags, 1) { // NFT_EXTHDR_F_PRESENT
		return what + name, existsKind
	}
	return fmt.Sprintf("%s%s @%d,%d", what, name, 8*a.num(exthdrOffset), 8*a.num(exthdrLen)), numberKind
}

// changeText names what gives a part of an extension header or an option another
// value, or takes the option out.
func (w *writer) changeText(e Expr, a *args) string {
	if e.Name != "exthdr" || !a.has(exthdrOp) {
		return raw(e)
	}
	name, kind := exthdrText(a)
	if a.has(exthdrSreg) {
		p := piece{text: name, kind: kind, size: int(a.num(exthdrLen))}
		return name + " set " + w.source(a.num(exthdrSreg), &p)
	}
	name, _, _ = strings.Cut(name, " @")
	return "reset " + name
}

func (w *writer) tproxyText(a *args) string {
	text := "tproxy to "
	if a.has(tproxyAddr) {
		if ip, ok := netip.AddrFromSlice(w.reg(a.num(tproxyAddr)).konst); ok {
			text += ip.String()
		}
	}
	if a.has(tproxyPort) {
		text += fmt.Sprintf(":%d", number(w.reg(a.num(tproxyPort)).konst))
	}
	return text
}

var logLevels = [...]string{"emerg", "alert", "crit", "err", "warn", "notice", "info", "debug", "audit"}

func logText(a *args) string {
	text := "log"
	if a.has(logPrefix) {
		text += fmt.Sprintf(" prefix %q", a.text(logPrefix))
	}
	if a.has(logGroup) {
		text += fmt.Sprintf(" group %d", a.num(logGroup))
	}
	if n := a.num(logLevel); a.has(logLevel) && n < uint64(len(logLevels)) && n != 4 {
		text += " level " + logLevels[n]
	}
	return text
}

var units = map[uint64]string{1: "second", 60: "minute", 3600: "hour", 86400: "day", 604800: "week"}

// rateText writes a limit. Five packets are the burst that nft does not mention.
func rateText(a *args) string {
	unit, ok := units[a.num(limitUnit)]
	if !ok {
		unit = fmt.Sprintf("%d seconds", a.num(limitUnit))
	}
	rate, burst := a.num(limitRate), a.num(limitBurst)
	verb := "limit rate " + over(a.flag(limitFlags, 1), "over ", "")
	if a.num(limitType) == 0 {
		return fmt.Sprintf("%s%d/%s%s", verb, rate, unit, over(burst > 0 && burst != 5, fmt.Sprintf(" burst %d packets", burst), ""))
	}
	return fmt.Sprintf("%s%s/%s%s", verb, bytesText(rate), unit, over(burst > 0, " burst "+bytesText(burst), ""))
}

func bytesText(n uint64) string {
	switch {
	case n > 0 && n%(1<<20) == 0:
		return fmt.Sprintf("%d mbytes", n>>20)
	case n > 0 && n%(1<<10) == 0:
		return fmt.Sprintf("%d kbytes", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}

func (w *writer) rejectText(a *args) string {
	family := FamilyInet
	if w.table != nil {
		family = int(w.table.Family)
	}
	switch code := a.num(rejectCode); a.num(rejectType) {
	case 0: // NFT_REJECT_ICMP_UNREACH
		words, name := icmpCodes, "icmp"
		if family == FamilyIPv6 || w.family == FamilyIPv6 {
			words, name = icmp6Codes, "icmpv6"
		}
		if family != FamilyInet && words[code] == "port-unreachable" {
			return "reject"
		}
		w.leaveOut(&w.familyAt)
		return fmt.Sprintf("reject with %s %s", name, wordOr(words, code))
	case 1: // NFT_REJECT_TCP_RST
		return "reject with tcp reset"
	default:
		if code == 1 {
			return "reject"
		}
		return "reject with icmpx " + wordOr(icmpxCodes, code)
	}
}

func (w *writer) leaveOut(at *int) {
	if *at >= 0 {
		w.words[*at], *at = "", -1
	}
}

func wordOr(words map[uint64]string, n uint64) string {
	if s, ok := words[n]; ok {
		return s
	}
	return fmt.Sprint(n)
}

// The texts that unknowns are named by.

// exprText writes an expression that stands for itself.
func (x *exec) exprText(e Expr) string {
	w := newWriter(x.table)
	a := argsOf(e)
	w.expr(e, &a, nil)
	switch d, ok := destination[e.Name]; {
	case len(w.words) > 0:
		return strings.Join(w.words, " ")
	case ok && a.has(d):
		return w.reg(a.num(d)).text
	}
	return raw(e)
}

// loadText names what an expression loads.
func (x *exec) loadText(e Expr) string {
	w := newWriter(x.table)
	w.family = x.family()
	if len(x.class.protos) == 1 && x.class.protos[0].Lo == x.class.protos[0].Hi {
		w.proto = []packet.Proto{packet.Proto(x.class.protos[0].Lo.Lo)}
	}
	a := argsOf(e)
	w.expr(e, &a, nil)
	for _, p := range w.regs {
		if p.set {
			return p.masked()
		}
	}
	return raw(e)
}

// setName names a set, or what one without a name holds.
func (x *exec) setName(name string) string {
	w := newWriter(x.table)
	s := w.set(name)
	if s == nil || !s.anonymous() {
		return "@" + name
	}
	return w.setText(name, s, []*piece{{size: int(s.KeyLen)}})
}

// keyText names what a key is made of.
func (x *exec) keyText(bits []bit) string {
	var names []string
	for at := 0; at < len(bits); {
		n := stretch(bits[at:])
		if name := x.textOf(bits[at : at+n]); len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
		at += n
	}
	return strings.Join(names, " . ")
}
