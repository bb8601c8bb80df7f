package adopt

import (
	"strings"
	"testing"

	"github.com/fwctl/fwctl/read/iptables"
)

// Applications are ports of several protocols, and one without a protocol is both.
func TestUFWApplications(t *testing.T) {
	apps := UFWApps("[Name Server]\ntitle=DNS\nports=53/tcp|53,853/udp\n\n[Old]\nports = 7\n")
	r, err := UFW("added", Text{"added", "ufw allow 'Name Server'\nufw allow from 192.0.2.0/24 to any app Old\n"}, Text{}, iptables.Options{}, apps)
	if err != nil {
		t.Fatal(err)
	}
	res, err := Import(r, Limits{})
	if err != nil || len(res.Left) > 0 {
		t.Fatal(err, res)
	}
	for _, want := range []string{
		"[service.name-server]\nports = [\"53/tcp\", \"53/udp\", \"853/udp\"]\nfrom  = [\"any\"]\n",
		"[service.old]\nports = [\"7/tcp\", \"7/udp\"]\nfrom  = [\"192.0.2.0/24\"]\n",
	} {
		if !strings.Contains(res.Policy, want) {
			t.Errorf("no %s in\n%s", want, res.Policy)
		}
	}
}
