"""Makes a .torrent with libtorrent: make.py PATH OUT ANNOUNCE PIECE_BYTES v1|hybrid|v2 true|false WEB_SEED..."""
import os
import sys

import libtorrent as lt

path, out, announce, piece_bytes, version, private, *web_seeds = sys.argv[1:]
files = lt.file_storage()
lt.add_files(files, path)
flags = {"v1": lt.create_torrent.v1_only, "hybrid": 0, "v2": lt.create_torrent.v2_only}[version]
torrent = lt.create_torrent(files, int(piece_bytes), flags)
torrent.add_tracker(announce)
for url in web_seeds:
    torrent.add_url_seed(url)
torrent.set_priv(private == "true")
lt.set_piece_hashes(torrent, os.path.dirname(path))
with open(out, "wb") as f:
    f.write(lt.bencode(torrent.generate()))
