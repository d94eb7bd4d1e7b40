package weir_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// requirement is a line of a go.mod that requires a module.
var requirement = regexp.MustCompile(`(?m)^(?:require )?\s*(\S+\.\S+/\S+) (v\S+)`)

// requirements are the modules that the go.mod in a folder names, and their versions.
func requirements(tb testing.TB, dir string) map[string]string {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		tb.Fatal(err)
	}
	versions := map[string]string{}
	for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
		versions[m[1]] = m[2]
	}
	return versions
}

// TestProofHasOurVersions: what is measured and proved is made of the same versions
// as what is shipped.
func TestProofHasOurVersions(t *testing.T) {
	ours := requirements(t, ".")
	same := 0
	for module, version := range requirements(t, proof) {
		switch want, both := ours[module]; {
		case both && version != want:
			t.Errorf("%s/go.mod has %s %s, go.mod %s: run go get %s@%s in %s", proof, module, version, want, module, want, proof)
		case both:
			same++
		}
	}
	if same < 10 {
		t.Errorf("%d modules are in both, which can't be all", same)
	}
}

// TestProofCompiles: whoever changes weir and runs the tests of its module alone is
// told of what no longer compiles in the other.
func TestProofCompiles(t *testing.T) {
	cmd := exec.Command("go", "-C", proof, "vet", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("go -C %s vet ./...: %v\n%s", proof, err, out)
	}
}
