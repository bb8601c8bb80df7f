package adopt

import (
	"testing"

	"github.com/fwctl/fwctl/read/iptables"
)

func TestTry(t *testing.T) {
	f, err := IPTables("rules.v4", `*filter
:INPUT DROP [0:0]
:office - [0:0]
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
-A INPUT -m conntrack --ctstate INVALID -j DROP
-A INPUT -s 203.0.113.128/25 -m comment --comment scanners -j DROP
-A INPUT -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A INPUT -p tcp -m multiport --dports 80,443 -j ACCEPT
-A INPUT -p udp --dport 443 -j ACCEPT
-A INPUT -p tcp --dport 22 -j office
-A INPUT -i eth1 -s 10.0.0.0/8 -j ACCEPT
-A INPUT -m recent --update --seconds 30 --hitcount 6 -j DROP
-A INPUT -p tcp --dport 5432 -m mark --mark 1 -j ACCEPT
-A INPUT -j LOG
-A INPUT -j REJECT
-A office -s 198.51.100.7 -j RETURN
-A office -s 198.51.100.0/24 -j ACCEPT
COMMIT
`, false, iptables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Import(&Ruleset{Name: "iptables:rules.v4", V4: f}, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Log(r.Policy)
	t.Log(r.Rules, r.Translated, r.Left, r.Own)
}
