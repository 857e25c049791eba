-- What a test instance needs beside the configuration of a page of docs/servers/, which follows.
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
certificates = "$folder/certs"
log = { { levels = { min = "debug" }, to = "console" } }

interfaces = { "$address" }
c2s_ports = { $client_port }
c2s_direct_tls_ports = {}
proxy65_interfaces = { "$address" }
proxy65_ports = { $proxy_port }

authentication = "internal_plain"
c2s_require_encryption = false
network_settings = { nagle = false }

