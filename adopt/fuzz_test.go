package adopt

import (
	"errors"
	"strings"
	"testing"

	"github.com/fwctl/fwctl/audit/compare"
	"github.com/fwctl/fwctl/read/iptables"
)

// fuzzLimits are small: what is large is not what goes wrong.
var fuzzLimits = Limits{Nodes: 60_000}

// holds fails unless an import ends as it may: in an error that names the file, in a
// spent budget, or in a policy that means the same or says where not.
func holds(t *testing.T, r *Ruleset, err error) {
	t.Helper()
	if err != nil {
		var at *TextError
		if !errors.As(err, &at) || !strings.HasPrefix(err.Error(), "file") {
			t.Fatalf("an error without a place: %v", err)
		}
		return
	}
	res, err := Import(r, fuzzLimits)
	if IsSpent(err) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	c, err := proof(res)
	if err != nil {
		t.Fatal(err)
	}
	if c.Result >= compare.Depends && len(res.Left) == 0 {
		t.Fatalf("%v, and no rule is said to be left out\n%s\n%+v", c.Result, res.Policy, c.Parts[0].Differ)
	}
}

func FuzzIPTables(f *testing.F) {
	f.Add("*filter\n:INPUT DROP [0:0]\n:a - [0:0]\n-A INPUT -p tcp --dport 22 -j a\n-A a -s 10.0.0.1 -j RETURN\n-A a -s 10.0.0.0/8 -j ACCEPT\nCOMMIT\n")
	f.Add("*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p icmp --icmp-type 8 -s 10.0.0.0/8 -j ACCEPT\n-A INPUT ! -i eth+ -p udp -m multiport --dports 1:2,0 -j DROP\n-A INPUT -m addrtype --dst-type LOCAL -j REJECT\nCOMMIT\n")
	f.Add("*filter\n-A INPUT -g x\n-A x -m hashlimit --hashlimit-upto 5/min --hashlimit-burst 5 --hashlimit-mode srcip -m comment --comment \"a b\" -j ACCEPT\n-A x -m time --datestop 2030-01-01 -j ACCEPT\n-A x -j x\nCOMMIT\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, is6 := range []bool{false, true} {
			fl, err := IPTables("file", text, is6, iptables.Options{})
			r := &Ruleset{Name: "file", V4: fl}
			if is6 {
				r = &Ruleset{Name: "file", V6: fl}
			}
			holds(t, r, err)
		}
	})
}

func FuzzUFW(f *testing.F) {
	f.Add("ufw allow 22/tcp comment 'a'\nufw deny from 10.0.0.0/8 to any port 53\nufw limit in on eth0 to 2001:db8::1 port 80,443 proto tcp\nufw route allow in on a out on b\nufw allow App\n", "")
	f.Add("*filter\n:ufw-user-input - [0:0]\n### tuple ### allow tcp 22 0.0.0.0/0 any 0.0.0.0/0 in comment=61\n-A ufw-user-input -p tcp --dport 22 -j ACCEPT\nCOMMIT\n", "*filter\n:ufw6-user-input - [0:0]\nCOMMIT\n")
	f.Fuzz(func(t *testing.T, v4, v6 string) {
		r, err := UFW("file", Text{"file4", v4}, Text{"file6", v6}, iptables.Options{}, map[string]string{"App": "80,443/tcp|53/udp|7"})
		holds(t, r, err)
	})
}

func FuzzFirewalld(f *testing.F) {
	f.Add(`<zone target="DROP"><service name="x"/><port port="1-2" protocol="udp"/><icmp-block name="redirect"/><source address="10.0.0.0/8"/><rule family="ipv4" priority="0"><source address="!10.0.0.1"/><service name="x"/><accept/></rule></zone>`,
		`<service><port port="22" protocol="tcp"/><protocol value="esp"/><destination ipv6="fe80::/64"/></service>`)
	f.Fuzz(func(t *testing.T, text, service string) {
		r, err := Firewalld("file", "file", text, func(string) (string, bool) { return service, true })
		holds(t, r, err)
	})
}
