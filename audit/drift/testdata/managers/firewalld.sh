# A router with firewalld: zones by interface and by source, rich rules, a policy
# between zones, its own back end of nftables. It also drops IPv6 whose source is
# not reached by the interface that it came by.
mkdir -p /run/dbus
dbus-daemon --system --fork
firewalld --nopid
for try in $(seq 100); do
  firewall-cmd --state && break
  sleep 0.1
done
firewall-cmd -q --set-default-zone=public
firewall-cmd -q --zone=internal --change-interface=eth1
firewall-cmd -q --zone=trusted --change-interface=wg0
firewall-cmd -q --zone=dmz --change-interface=docker0
firewall-cmd -q --zone=drop --add-source=203.0.113.0/25
firewall-cmd -q --zone=work --add-source=2001:db8:1::/48
firewall-cmd -q --zone=public --remove-service=ssh
firewall-cmd -q --zone=public --add-service=http --add-service=https
firewall-cmd -q --zone=public --add-port=8000-8010/tcp --add-port=500/udp
firewall-cmd -q --zone=public --add-protocol=esp
firewall-cmd -q --zone=public --add-source-port=5353/udp
firewall-cmd -q --zone=public --add-icmp-block=timestamp-request
firewall-cmd -q --zone=public --add-rich-rule='rule family=ipv4 source address=198.51.100.0/24 port port=22 protocol=tcp accept'
firewall-cmd -q --zone=public --add-rich-rule='rule family=ipv4 source address=198.51.100.66 reject type=icmp-admin-prohibited'
firewall-cmd -q --zone=public --add-rich-rule='rule priority=-10 family=ipv6 source address=2001:db8:2::5 drop'
firewall-cmd -q --zone=public --add-rich-rule='rule port port=2222 protocol=tcp accept limit value=10000/s'
firewall-cmd -q --zone=public --add-forward-port=port=8443:proto=tcp:toport=443:toaddr=10.20.0.80
firewall-cmd -q --zone=public --add-forward-port=port=3128:proto=tcp:toport=8003
firewall-cmd -q --zone=public --add-masquerade
firewall-cmd -q --zone=internal --add-service=dns --add-service=dhcp
firewall-cmd -q --zone=internal --add-port=5432/tcp
firewall-cmd -q --zone=work --add-port=9100/tcp
firewall-cmd -q --zone=internal --add-icmp-block-inversion
firewall-cmd -q --runtime-to-permanent
firewall-cmd -q --permanent --new-policy=inside
firewall-cmd -q --permanent --policy=inside --add-ingress-zone=internal
firewall-cmd -q --permanent --policy=inside --add-egress-zone=public
firewall-cmd -q --permanent --policy=inside --set-target=REJECT
firewall-cmd -q --permanent --policy=inside --add-service=https
firewall-cmd -q --reload
firewall-cmd --list-all-zones
