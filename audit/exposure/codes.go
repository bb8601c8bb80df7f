package exposure

import "slices"

// Code is a kind of finding. Codes stay what they are; monitoring knows them.
type Code struct {
	Code     string   `json:"code"`
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	Meaning  string   `json:"meaning"`
	Cure     string   `json:"cure"`
}

// Codes are all kinds of findings, in order.
var Codes = []Code{
	{"FW101", "exposed", Critical, "Somebody outside reaches a port that no service of the policy names.",
		"Stop what waits there, bind it to loopback, or write a service that says who may reach it. If the rules of another program let it in, fwctl drift names them. A published port of a container obeys the services with published = \"enforce\"."},
	{"FW102", "wider than the policy", Critical, "A service names the port, but the host lets more sources in than its from.",
		"Apply the policy anew; fwctl drift names the rule that lets them in."},
	{"FW103", "dangling", Warning, "A service opens a port on which nothing waits.",
		"Start the program, or take the service out of the policy: whoever binds the port first is reached."},
	{"FW104", "silent", Warning, "Something waits on an address that others reach, no service names it, and the rules keep everybody away.",
		"Bind it to loopback or stop it: only the rules stand before it. If it is meant so, accept the finding with a reason."},
	{"FW105", "closed", Warning, "A service opens the port, but the host lets nobody in.",
		"fwctl drift names the rule that refuses them, mostly one of another program."},
	{"FW106", "another owner", Critical, "What waits on the port is not what the service expects: another user, process or unit.",
		"See who has bound the port; if it is right, say so in expect."},
	{"FW107", "another address", Warning, "What waits listens on more addresses than the service is for.",
		"Bind it to the address that the policy names (expect listen, or to)."},
	{"FW108", "several on one port", Warning, "Several programs wait on the same port: which of them gets a connection depends on the address, or on chance.",
		"Give each a port or an address of its own."},
	{"FW109", "never", Critical, "Somebody reaches a port that the service's profile says nobody may reach.",
		"Close it: the profile cites why."},
	{"FW110", "TLS", Critical, "The service expects TLS and what waits on the port speaks none, or the other way round.",
		"Switch TLS on, or the plain port off; or mend expect."},
	{"FW111", "certificate", Warning, "The certificate has expired, expires within two weeks, or is not yet valid; a note, if nobody whom the system trusts has signed it.",
		"Renew it."},
	{"FW112", "expired", Note, "A rule of the policy has expired and opens nothing any more.",
		"Take it out of the policy, or give it a new end."},
	{"FW113", "soon expired", Note, "A rule of the policy expires within a week.",
		"Say whether it is still needed."},
	{"FW114", "other manager", Warning, "Other software manages packet rules on this host, and will change them some day.",
		"Let one program do it: fwctl status says what to do about the other."},
	{"FW115", "two variants", Warning, "Rules of iptables-legacy and of nf_tables stand side by side; a packet must pass both, and each tool shows one of them.",
		"Move all rules to one variant."},
	{"FW116", "one family open", Warning, "The port is open in one family of addresses and closed in the other, though what waits takes both; a note, if the policy says so.",
		"If the from of the service names addresses of one family only, name those of the other; if nobody uses it, bind the program to one."},
	{"FW117", "acceptance ended", Warning, "A finding is there that the policy accepted until a day that has passed, or an acceptance matches nothing.",
		"Renew the acceptance with a reason, or mend what was accepted."},
}

// codeOf returns a kind by its code; all that are reported are there.
func codeOf(code string) Code {
	return Codes[slices.IndexFunc(Codes, func(c Code) bool { return c.Code == code })]
}
