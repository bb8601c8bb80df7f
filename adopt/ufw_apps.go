package adopt

import "strings"

// UFWApps reads a file of /etc/ufw/applications.d: the ports of each application, as
// "80,443/tcp|53/udp".
func UFWApps(text string) map[string]string {
	apps, name := map[string]string{}, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			name = line[1 : len(line)-1]
			continue
		}
		if key, value, ok := strings.Cut(line, "="); ok && name != "" && strings.TrimSpace(key) == "ports" {
			apps[name] = strings.TrimSpace(value)
		}
	}
	return apps
}

// ports returns the rule for each protocol of its application; the rule itself if it
// names none.
func (r *ufwRule) ports(apps map[string]string) []*ufwRule {
	if r.app == "" {
		return []*ufwRule{r}
	}
	var out []*ufwRule
	for part := range strings.SplitSeq(apps[r.app], "|") {
		one := *r
		ports, proto, _ := strings.Cut(part, "/")
		if !isWord(ports) || !isWord(proto) || ports == "" {
			continue
		}
		one.toPort, one.proto = ports, proto
		out = append(out, &one)
	}
	return out
}
