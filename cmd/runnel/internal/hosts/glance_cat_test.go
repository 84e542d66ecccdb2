package hosts

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"testing"

	"github.com/runnel-io/runnel/pb"
	"github.com/runnel-io/runnel/service/files"
	"github.com/runnel-io/runnel/service/glance"
)

// Whatever a server's payload limit is, a piece fits a reply and is no crumb.
func TestPiecesFitTheirReply(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []int64{4 << 10, 16 << 10, 32 << 10, 33 << 10, 48 << 10, 64 << 10, 1 << 20, 8 << 20} {
		g := glance.New(glance.Config{Files: files.New(files.Config{}), MaxReplyBytes: int(payload)})
		piece := pieceBytes(payload)
		if piece < min(payload/4, catPiece) {
			t.Errorf("payload %d: pieces of %d bytes", payload, piece)
		}
		offset := int64(0)
		reply, err := g.Glance(t.Context(), &pb.Glance{File: &pb.FileQuery{Path: path, MaxSize: piece, Offset: &offset, Length: &piece}})
		if err != nil {
			t.Errorf("payload %d: %v", payload, err)
		}
		if b, err := base64.StdEncoding.DecodeString(reply.File.Content); err != nil || int64(len(b)) != piece {
			t.Errorf("payload %d: %d bytes of %d, %v", payload, len(b), piece, err)
		}
		g.Close()
	}
}
