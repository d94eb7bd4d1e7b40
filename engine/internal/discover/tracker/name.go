package tracker

import (
	"errors"
	"net"
	"net/url"
	"strings"

	"github.com/weirfs/weir"
)

// minSecretBytes is the length of the shortest part of a URL that is taken for a secret
// when it shows in a text.
const minSecretBytes = 6

func parseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(raw))
	if err != nil { // its text holds the URL
		return nil, weir.Errorf(weir.ErrInvalid, "tracker URL can't be parsed")
	}
	switch u.Scheme {
	case "http", "https":
	case "udp", "udp4", "udp6":
		if u.Port() == "" && u.Hostname() != "" {
			// BEP 15 names no port of its own. Transmission takes that of HTTP, which
			// most of these trackers once had.
			u.Host = net.JoinHostPort(u.Hostname(), "80")
		}
	default:
		return nil, weir.Errorf(weir.ErrInvalid, "tracker URL has the scheme %.10q: want http, https or udp", u.Scheme)
	}
	if u.Hostname() == "" {
		return nil, weir.Errorf(weir.ErrInvalid, "tracker URL has no host")
	}
	return u, nil
}

// Name is how a tracker is called in logs and states. Private trackers
// know their users by a key in the user info, the path or the query, so that
// nothing of these is shown but the usual last words.
func Name(raw string) string {
	u, err := parseURL(raw)
	if err != nil {
		return "(not a tracker)"
	}
	path := u.Path
	if dir, last := path[:strings.LastIndexByte(path, '/')+1], path[strings.LastIndexByte(path, '/')+1:]; !usualWord(last) && last != "" {
		path = "/…"
	} else if dir != "/" && dir != "" {
		path = "/…/" + last
	}
	if u.RawQuery != "" {
		path += "?…"
	}
	return u.Scheme + "://" + u.Host + path
}

func usualWord(s string) bool {
	return s == "announce" || s == "announce.php" || s == "ann"
}

// secretParts returns the parts of u that might be secret.
func secretParts(u *url.URL) []string {
	parts := strings.Split(u.Path, "/")
	parts = append(parts, strings.Split(u.EscapedPath(), "/")...)
	if pw, ok := u.User.Password(); ok {
		parts = append(parts, pw)
	}
	parts = append(parts, u.User.Username())
	for _, vs := range u.Query() {
		parts = append(parts, vs...)
	}
	return parts
}

// withoutSecrets removes from an error's text what might be a secret of u.
func withoutSecrets(err error, u *url.URL) error {
	if err == nil {
		return nil
	}
	var ue *url.Error // its text is mostly the URL
	if errors.As(err, &ue) {
		err = ue.Err
	}
	var r *Refusal
	if errors.As(err, &r) {
		r.Reason = redact(r.Reason, u)
		return r
	}
	var status *httpStatus
	if errors.As(err, &status) {
		return status
	}
	if text := err.Error(); text != redact(text, u) {
		return errors.New(redact(text, u))
	}
	return err
}

func redact(text string, u *url.URL) string {
	for _, part := range secretParts(u) {
		if len(part) >= minSecretBytes && !usualWord(part) {
			text = strings.ReplaceAll(text, part, "…")
		}
	}
	return text
}
