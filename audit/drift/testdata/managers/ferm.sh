# A router with ferm: both families from one text, chains of its own.
cat >/etc/ferm/ferm.conf <<'FERM'
@def $OFFICE = (198.51.100.0/24 2001:db8:1::/48);
@def $MGMT_PORTS = (22 9100 9182);

@def &SERVICE($proto, $ports) = {
  domain (ip ip6) table filter chain INPUT proto $proto dport $ports ACCEPT;
}

domain (ip ip6) table filter {
  chain (scanners) {
    proto tcp dport (23 445 3389) REJECT reject-with tcp-reset;
    proto udp dport 137:139 DROP;
    proto tcp tcp-flags (SYN FIN) (SYN FIN) DROP;
  }
  chain INPUT {
    policy DROP;
    mod state state INVALID DROP;
    mod state state (ESTABLISHED RELATED) ACCEPT;
    interface lo ACCEPT;
    interface ! eth1 jump scanners;
    saddr @ipfilter($OFFICE) proto tcp mod multiport destination-ports $MGMT_PORTS ACCEPT;
    interface (eth1 wg+) proto (tcp udp) dport domain ACCEPT;
    proto tcp dport 8000:8010 mod limit limit 10000/second ACCEPT;
  }
  chain OUTPUT {
    policy ACCEPT;
    proto tcp dport (smtp 6667) REJECT;
  }
  chain FORWARD {
    policy DROP;
    mod state state (ESTABLISHED RELATED) ACCEPT;
    interface eth1 outerface ! wg1 proto tcp dport (80 443) ACCEPT;
    saddr @ipfilter($OFFICE) outerface eth1 goto scanners;
  }
}
&SERVICE(tcp, (http https));
&SERVICE(udp, 500);

domain ip {
  table filter chain INPUT {
    proto icmp icmp-type (echo-request destination-unreachable) ACCEPT;
    saddr (203.0.113.0/25 203.0.113.200) daddr 192.0.2.11 proto tcp dport 5432 ACCEPT;
    saddr 198.51.100.7 protocol esp ACCEPT;
    daddr 224.0.0.18 proto 112 ACCEPT;
    proto tcp dport 113 REJECT reject-with icmp-host-prohibited;
    mod iprange src-range 10.9.0.10-10.9.0.20 ACCEPT;
  }
  table nat {
    chain PREROUTING interface eth0 daddr 192.0.2.11 proto tcp dport 8443 DNAT to 10.20.0.80:443;
    chain PREROUTING interface eth1 proto tcp dport 3128 REDIRECT to-ports 8003;
    chain POSTROUTING outerface eth0 saddr 10.20.0.0/16 MASQUERADE;
  }
}
domain ip6 table filter chain INPUT {
  proto icmpv6 icmpv6-type (echo-request packet-too-big neighbour-solicitation neighbour-advertisement router-advertisement) ACCEPT;
  saddr 2001:db8:2::/64 proto tcp dport 5432 ACCEPT;
}
FERM
ferm /etc/ferm/ferm.conf
