package gateway

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
)

// tokenKey is the token's name in URLs and as a cookie.
const tokenKey = "token"

// guard lets in who knows the token, and sets the headers that all answers have. Without a
// token everybody is let in. Programs send it as a password (any user name) or as a bearer;
// a browser is sent a cookie when it opens a URL with the token, and the token leaves the
// address bar.
func guard(token string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		// Content of torrents is nobody's page: it runs no script and sends no form. Weir's own
		// pages need a style sheet only.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; form-action 'none'; frame-ancestors 'none'; base-uri 'none'; sandbox")
		if token == "" {
			next.ServeHTTP(w, r)
			return
		}
		if given := r.URL.Query().Get(tokenKey); given != "" && same(given, token) {
			http.SetCookie(w, &http.Cookie{Name: tokenKey, Value: token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil, MaxAge: 30 * 24 * 3600})
			if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
				q := r.URL.Query()
				q.Del(tokenKey)
				to := *r.URL
				to.RawQuery = q.Encode()
				http.Redirect(w, r, to.RequestURI(), http.StatusSeeOther)
				return
			}
			next.ServeHTTP(w, r)
			return
		}
		if !knows(r, token) {
			h.Set("WWW-Authenticate", `Basic realm="weir: the token as password", charset="UTF-8"`)
			http.Error(w, "weir asks for its token: open the address that it printed, or give the token as password with any user name", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// knows reports whether a request carries the token, other than in its URL.
func knows(r *http.Request, token string) bool {
	if _, password, ok := r.BasicAuth(); ok {
		return same(password, token)
	}
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return same(bearer, token)
	}
	c, err := r.Cookie(tokenKey)
	return err == nil && same(c.Value, token)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// Token returns the token in a file, and makes both if the file is not there. Only its owner
// can read the file.
func Token(file string) (string, error) {
	b, err := os.ReadFile(file)
	token := strings.TrimSpace(string(b))
	switch {
	case err == nil && token == "":
		return "", fmt.Errorf("token file %s is empty: remove it, and weir makes another", file)
	case err == nil:
		if st, err := os.Stat(file); err == nil && st.Mode().Perm()&0o077 != 0 {
			return "", fmt.Errorf("token file %s can be read by others: chmod 600 %s", file, file)
		}
		return token, nil
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	token = rand.Text()
	return token, os.WriteFile(file, []byte(token+"\n"), 0o600)
}
