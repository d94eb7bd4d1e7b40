"""Seeds one torrent with libtorrent: seed.py TORRENT DIR IP.

Prints its port once it seeds; then, for every line on standard input, the
payload bytes uploaded so far. Ends with its input.
"""
import sys
import time

import libtorrent as lt

torrent, directory, ip = sys.argv[1:4]
session = lt.session({
    "listen_interfaces": ip + ":0",
    "outgoing_interfaces": ip,
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": -1,
    "alert_mask": 0,
})
handle = session.add_torrent({
    "ti": lt.torrent_info(torrent),
    "save_path": directory,
    "flags": lt.torrent_flags.default_flags & ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused,
})
while not (handle.status().is_seeding and session.listen_port()):
    time.sleep(0.01)
print(session.listen_port(), flush=True)
for _ in sys.stdin:
    print(handle.status().total_payload_upload, flush=True)
