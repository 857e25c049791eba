-- A Prosody that knows no router: it speaks S2S with everybody.
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
certificates = "$folder/certs"
log = { { levels = { min = "debug" }, to = "console" } }

interfaces = { "$address" }
c2s_ports = { $client_port }
c2s_direct_tls_ports = {}
s2s_ports = { $s2s_port }
s2s_direct_tls_ports = {}
proxy65_interfaces = { "$address" }
proxy65_ports = { $proxy_port }

authentication = "internal_plain"
c2s_require_encryption = false
network_settings = { nagle = false }

modules_enabled = { "disco"; "ping"; "roster"; "saslauth"; "tls"; $modules }

s2s_require_encryption = true
s2s_secure_auth = $secure_auth
ssl = { cafile = "$roots"; capath = "/nonexistent" }
unbound = {
	resolvconf = false; hoststxt = false;
	forward = { "$dns" };
	options = { ["do-not-query-localhost:"] = "no" };
}

$virtual_hosts

Component "chat.$domain" "muc"
Component "ft.$domain" "proxy65"
Component "pubsub.$domain" "pubsub"
