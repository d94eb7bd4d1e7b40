"""A libtorrent peer with one torrent: peer.py JOB, a job in JSON (see foreign.go).

Answers every line of its input with its state in JSON. Ends with its input.
"""
import json
import sys

import libtorrent as lt

job = json.loads(sys.argv[1])
encryption = {"": 1, "allowed": 1, "required": 0, "off": 2}[job["Encryption"]]  # pe_enabled, pe_forced, pe_disabled
address = "[%s]" % job["IP"] if ":" in job["IP"] else job["IP"]
settings = {
    "listen_interfaces": "%s:%d" % (address, job["Port"]),
    "outgoing_interfaces": job["IP"],
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": -1,
    "min_reconnect_time": 2,  # seconds, instead of a minute, when a peer wants encryption after all
    "in_enc_policy": encryption,
    "out_enc_policy": encryption,
    "alert_mask": 0,
}
if job["Encryption"] == "required":
    settings["allowed_enc_level"] = 2  # pe_rc4: not just an encrypted handshake
flags = lt.torrent_flags.default_flags & ~lt.torrent_flags.auto_managed & ~lt.torrent_flags.paused
if job["Unchecked"]:
    flags |= lt.torrent_flags.seed_mode
if not job["PEX"]:
    flags |= lt.torrent_flags.disable_pex
if job["Sequential"]:
    flags |= lt.torrent_flags.sequential_download
session = lt.session(settings)
if job["Source"].startswith("magnet:"):
    params = lt.parse_magnet_uri(job["Source"])
else:
    params = lt.add_torrent_params()
    params.ti = lt.torrent_info(job["Source"])
params.save_path = job["Dir"]
params.flags = flags
handle = session.add_torrent(params)
for _ in sys.stdin:
    status = handle.status()
    print(json.dumps({"complete": status.is_seeding, "uploaded": status.total_payload_upload}), flush=True)
