package tracker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"net/url"
	"os"
	"time"

	"github.com/weirfs/weir"
	"github.com/weirfs/weir/engine/internal/discover/peeraddr"
	"github.com/weirfs/weir/engine/internal/netrule"
)

// The actions of BEP 15, and its sign for asking for a connection.
const (
	udpConnect  = 0
	udpAnnounce = 1
	udpScrape   = 2
	udpError    = 3

	udpMagic = 0x41727101980
)

// udpResend is the time until a question is sent again. BEP 15 has 15 s, doubled each
// time; here a whole announce takes no longer than that, so that one lost packet doesn't
// lose the tracker, and the tier's backoff does the doubling.
const udpResend = 5 * time.Second

// maxScraped torrents can be asked for at once: as many as fit into a packet (BEP 15).
const maxScraped = 74

// udpTalk is a conversation with a UDP tracker (BEP 15), one question at a time.
// The socket is connected, so that the system drops what others send and tells
// us when nobody listens.
type udpTalk struct {
	conn   net.Conn
	remote netip.AddrPort
	id     uint64 // given by the tracker
	buf    [4096]byte
}

// dialUDP connects to the tracker at u and gets a connection id. The caller
// calls stop, which also ends what ctx does to the conversation.
func dialUDP(ctx context.Context, rule netrule.Rule, network string, u *url.URL) (t *udpTalk, stop func(), err error) {
	dialer := net.Dialer{Control: rule.Control(netrule.Facts{Tracker: true, Path: u.Path})}
	conn, err := dialer.DialContext(ctx, u.Scheme+network, u.Host)
	if err != nil {
		return nil, nil, err
	}
	t = &udpTalk{conn: conn}
	if a, ok := conn.RemoteAddr().(*net.UDPAddr); ok {
		t.remote = a.AddrPort()
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	stop = func() { release(); conn.Close() }
	t.id = udpMagic
	answer, err := t.ask(ctx, udpConnect, nil, 8)
	if err != nil {
		stop()
		return nil, nil, err
	}
	t.id = binary.BigEndian.Uint64(answer)
	return t, stop, nil
}

// ask sends a question until it is answered and returns the answer after its
// header, at least least bytes long and valid until the next question.
func (t *udpTalk) ask(ctx context.Context, action uint32, body []byte, least int) ([]byte, error) {
	transaction := rand.Uint32()
	packet := binary.BigEndian.AppendUint64(nil, t.id)
	packet = binary.BigEndian.AppendUint32(packet, action)
	packet = binary.BigEndian.AppendUint32(packet, transaction)
	packet = append(packet, body...)
	for {
		if _, err := t.conn.Write(packet); err != nil {
			return nil, t.failure(ctx, err)
		}
		if err := t.conn.SetReadDeadline(time.Now().Add(udpResend)); err != nil {
			return nil, t.failure(ctx, err)
		}
		for {
			n, err := t.conn.Read(t.buf[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break // ask again
			}
			if err != nil {
				return nil, t.failure(ctx, err)
			}
			answer, ok, err := parseUDP(t.buf[:n], action, transaction, least)
			if ok || err != nil {
				return answer, err
			}
		}
	}
}

// failure prefers the reason why the conversation was ended to its effect.
func (t *udpTalk) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
	return err
}

// parseUDP reads the header of an answer. ok is false when the packet does not
// belong to the question.
func parseUDP(packet []byte, action, transaction uint32, least int) (body []byte, ok bool, err error) {
	if len(packet) < 8 || binary.BigEndian.Uint32(packet[4:]) != transaction {
		return nil, false, nil
	}
	got, body := binary.BigEndian.Uint32(packet), packet[8:]
	switch {
	case got == udpError:
		return nil, false, &Refusal{Reason: printable(body)}
	case got != action:
		return nil, false, weir.Errorf(weir.ErrInvalid, "the answer is to another kind of question (%d)", got)
	case len(body) < least:
		return nil, false, weir.Errorf(weir.ErrInvalid, "the answer has %d bytes, at least %d are needed", len(packet), least+8)
	}
	return body, true, nil
}

func (c *Client) announceUDP(ctx context.Context, u *url.URL, req Request) (Answer, error) {
	talk, stop, err := dialUDP(ctx, c.rule, req.Network, u)
	if err != nil {
		return Answer{}, err
	}
	defer stop()
	body, err := talk.ask(ctx, udpAnnounce, req.packet(u), 12)
	if err != nil {
		return Answer{}, err
	}
	return parseUDPAnnounce(body, talk.remote.Addr()), nil
}

// packet is the body of an announce (BEP 15), with the URL's path and query as
// an option (BEP 41).
func (r *Request) packet(u *url.URL) []byte {
	event := map[Event]uint32{None: 0, Completed: 1, Started: 2, Stopped: 3}[r.Event]
	b := append([]byte(nil), r.Hash[:]...)
	b = append(b, r.PeerID[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Downloaded))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Left))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Uploaded))
	b = binary.BigEndian.AppendUint32(b, event)
	b = binary.BigEndian.AppendUint32(b, 0) // our address is the one it sees
	b = binary.BigEndian.AppendUint32(b, r.Key)
	b = binary.BigEndian.AppendUint32(b, uint32(r.NumWant))
	b = binary.BigEndian.AppendUint16(b, uint16(r.Port))
	data := u.EscapedPath()
	if u.RawQuery != "" {
		data += "?" + u.RawQuery
	}
	const urlData, end, longest = 2, 0, 255
	for len(data) > 0 {
		n := min(len(data), longest)
		b = append(append(b, urlData, byte(n)), data[:n]...)
		data = data[n:]
	}
	return append(b, end)
}

// parseUDPAnnounce reads an answer of at least 12 bytes. Its addresses are of
// the family that it came over.
func parseUDPAnnounce(body []byte, from netip.Addr) Answer {
	size := peeraddr.Bytes4
	if from.Unmap().Is6() {
		size = peeraddr.Bytes6
	}
	peers := peeraddr.Parse(body[12:], size, maxPeers)
	return Answer{
		Interval: seconds(int64(int32(binary.BigEndian.Uint32(body)))),
		Leeches:  udpCount(body[4:]),
		Seeds:    udpCount(body[8:]),
		Peers:    peeraddr.Filter(peers, from.IsLoopback()),
	}
}

// udpCount reads a count; a negative one is unknown.
func udpCount(b []byte) int { return max(-1, int(int32(binary.BigEndian.Uint32(b)))) }

func (c *Client) scrapeUDP(ctx context.Context, u *url.URL, hashes []weir.InfoHash) ([]Counts, error) {
	if len(hashes) > maxScraped {
		return nil, weir.Errorf(weir.ErrInvalid, "scrape of %d torrents, at most %d are possible", len(hashes), maxScraped)
	}
	talk, stop, err := dialUDP(ctx, c.rule, "", u)
	if err != nil {
		return nil, err
	}
	defer stop()
	var body []byte
	for _, h := range hashes {
		body = append(body, h[:]...)
	}
	answer, err := talk.ask(ctx, udpScrape, body, 12*len(hashes))
	if err != nil {
		return nil, err
	}
	counts := make([]Counts, len(hashes))
	for i := range counts {
		b := answer[12*i:]
		counts[i] = Counts{Seeds: udpCount(b), Completed: udpCount(b[4:]), Leeches: udpCount(b[8:])}
	}
	return counts, nil
}
