package hosts

import (
	"io"
	"os"
	"testing"

	"github.com/runnel-io/runnel/cmd/runnel/internal/app"
	"github.com/runnel-io/runnel/cmd/runnel/internal/app/apptest"
)

func TestMain(m *testing.M) { os.Exit(apptest.Main(m)) }

var room = apptest.Room{Commands: Commands}

func newApp(out io.Writer) *app.App { return app.New(app.Stdio{Out: out, Err: out}) }
