// A webtorrent peer with one torrent. Its argument is a job in JSON, see
// foreign.go; it answers every line of its input with its state in JSON, and
// ends with its input.
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import WebTorrent from 'webtorrent'

const job = JSON.parse(process.argv[2])
const client = new WebTorrent({
  torrentPort: job.Port,
  dht: false,
  lsd: false,
  utp: false,
  natUpnp: false,
  natPmp: false,
  webSeeds: false,
  utPex: job.PEX,
  secure: false, // its encryption ends the program, see foreign.go
  tracker: { wrtc: false }
})
client.on('error', err => {
  console.error(err)
  process.exit(1)
})
const source = job.Source.startsWith('magnet:') ? job.Source : new Uint8Array(readFileSync(job.Source))
const torrent = client.add(source, { path: job.Dir })
torrent.on('warning', err => console.error('warning:', String(err)))
torrent.on('error', err => console.error('error:', err))
createInterface({ input: process.stdin })
  .on('line', () => console.log(JSON.stringify({ complete: torrent.done, uploaded: torrent.uploaded })))
  .on('close', () => process.exit(0))
