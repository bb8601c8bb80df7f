# A server behind ufw: its own services, a limit, denials, and a route.
ufw --force enable
ufw default deny incoming
ufw default allow outgoing
ufw default reject routed
ufw logging medium
ufw prepend deny from 203.0.113.0/25
ufw allow from 198.51.100.0/24 to any port 22 proto tcp
ufw limit 2222/tcp
ufw allow 80,443/tcp
ufw allow 8000:8010/tcp
ufw reject from 198.51.100.200 to any port 53
ufw allow 53
ufw allow in on eth1 to 10.20.0.5 port 5432 proto tcp
ufw deny in on wg0 from 10.9.0.128/25
ufw allow in on wg0
ufw allow from 2001:db8:1::/48 to any port 9100 proto tcp
ufw allow proto udp from any port 123 to any port 1000:1010
ufw allow proto esp from 198.51.100.7
ufw deny out to 203.0.113.9 port 25 proto tcp
ufw reject out 6667/tcp
ufw route allow in on eth1 out on eth0 to any port 443 proto tcp
ufw route deny from 10.20.1.0/24
ufw delete allow 8000:8010/tcp
ufw allow 8003/tcp
ufw status verbose
