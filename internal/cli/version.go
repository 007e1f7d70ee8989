package cli

import (
	"runtime"
	"runtime/debug"
)

type versionCommand struct {
	JSON bool `help:"Print one JSON document."`
}

// Run shows the version.
func (v versionCommand) Run(t *Terminal) error {
	if v.JSON {
		return t.printJSON(map[string]string{"version": t.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH})
	}
	return t.print("carnet " + t.Version + " (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n")
}

// Version returns the version of this program: the one that the build stamped in, else the module's version or commit
// as the Go tool recorded it, else "development".
func Version(stamped string) string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "development"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" && len(setting.Value) >= 12 {
			return setting.Value[:12]
		}
	}
	return "development"
}
