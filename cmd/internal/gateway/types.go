package gateway

import (
	"mime"
	"path"
	"strings"
)

// types are the content types of files that players and data programs ask for. The system's
// table is asked for others: it differs between machines, and lacks some of these.
var types = map[string]string{
	".aac": "audio/aac", ".aiff": "audio/aiff", ".avi": "video/x-msvideo", ".flac": "audio/flac", ".m4a": "audio/mp4",
	".m4v": "video/mp4", ".mka": "audio/x-matroska", ".mkv": "video/x-matroska", ".mov": "video/quicktime", ".mp3": "audio/mpeg",
	".mp4": "video/mp4", ".mpeg": "video/mpeg", ".mpg": "video/mpeg", ".ogg": "audio/ogg", ".ogv": "video/ogg", ".opus": "audio/ogg",
	".ts": "video/mp2t", ".m2ts": "video/mp2t", ".wav": "audio/wav", ".webm": "video/webm", ".wma": "audio/x-ms-wma", ".wmv": "video/x-ms-wmv",
	".ass": "text/x-ssa; charset=utf-8", ".srt": "application/x-subrip", ".ssa": "text/x-ssa; charset=utf-8", ".vtt": "text/vtt; charset=utf-8",
	".avif": "image/avif", ".bmp": "image/bmp", ".gif": "image/gif", ".jpeg": "image/jpeg", ".jpg": "image/jpeg", ".png": "image/png",
	".svg": "image/svg+xml", ".tif": "image/tiff", ".tiff": "image/tiff", ".webp": "image/webp",
	".csv": "text/csv; charset=utf-8", ".json": "application/json", ".log": "text/plain; charset=utf-8", ".md": "text/plain; charset=utf-8",
	".nfo": "text/plain; charset=utf-8", ".txt": "text/plain; charset=utf-8", ".xml": "text/xml; charset=utf-8",
	".htm": "text/html; charset=utf-8", ".html": "text/html; charset=utf-8", ".pdf": "application/pdf", ".epub": "application/epub+zip",
	".7z": "application/x-7z-compressed", ".bz2": "application/x-bzip2", ".gz": "application/gzip", ".iso": "application/x-iso9660-image",
	".parquet": "application/vnd.apache.parquet", ".rar": "application/vnd.rar", ".sqlite": "application/vnd.sqlite3",
	".tar": "application/x-tar", ".torrent": "application/x-bittorrent", ".xz": "application/x-xz", ".zip": "application/zip", ".zst": "application/zstd",
}

// contentType returns the type of a file by its name.
func contentType(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if t, ok := types[ext]; ok {
		return t
	}
	if t := mime.TypeByExtension(ext); t != "" {
		return t
	}
	return "application/octet-stream"
}

// isMedia reports whether a player can play a file, by its name.
func isMedia(name string) bool {
	t := contentType(name)
	return strings.HasPrefix(t, "video/") || strings.HasPrefix(t, "audio/")
}
