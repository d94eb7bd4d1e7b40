"""A libtorrent seeder: seeder.py LISTEN, which is interfaces as libtorrent writes them.

Reads jobs, one JSON object a line, and answers each with a line. Ends with its input.
"""
import json
import sys
import time

import libtorrent as lt

session = lt.session({
    "listen_interfaces": sys.argv[1],
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "enable_incoming_utp": False,
    "enable_outgoing_utp": False,
    "allow_multiple_connections_per_ip": True,
    "unchoke_slots_limit": -1,
    "connections_limit": 1000,
    "max_allowed_in_request_queue": 4000,
    # Enough for a fast line with a long round trip; the default of 500 KiB is not.
    "send_buffer_watermark": 4 << 20,
    "send_buffer_watermark_factor": 200,
    "disable_hash_checks": True,  # the benchmark wrote the content itself
    "alert_mask": 0,
})
torrent = None
for line in sys.stdin:
    job = json.loads(line)
    answer = {}
    if job["op"] == "add":
        params = lt.add_torrent_params()
        params.ti = lt.torrent_info(job["torrent"])
        params.trackers = []
        params.save_path = job["dir"]
        params.flags = lt.torrent_flags.seed_mode
        torrent = session.add_torrent(params)
        torrent.replace_trackers([])
        while torrent.status().state != lt.torrent_status.states.seeding:
            time.sleep(0.002)  # whoever comes before would be sent away
    elif job["op"] == "remove" and torrent is not None:
        session.remove_torrent(torrent)
        torrent = None
    elif job["op"] == "uploaded":
        answer["uploaded"] = torrent.status().total_payload_upload if torrent is not None else 0
    print(json.dumps(answer), flush=True)
