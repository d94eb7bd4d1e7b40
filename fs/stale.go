package fs

// ClearStale unmounts what a weir that died has left at dir, as Mount does
// before it mounts. Nothing is wrong with a folder on which nothing is mounted;
// the error is weir.ErrExists if something else is, a live weir for instance,
// which stays untouched.
func ClearStale(dir string) error {
	point, err := resolvePoint(dir)
	if err != nil {
		return pointError(dir, err)
	}
	return clearStale(point)
}
