package lang

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/runnel-io/runnel/service/sandbox"
	"github.com/runnel-io/runnel/service/workdir"
)

const defaultCacheBytes = 256 << 20

// Cache keeps what compile steps have made, one file each, named by what went
// in. Only this process knows their digests, so nothing that was changed on the
// disk comes out, and a new life begins with an empty cache.
type Cache struct {
	dir      string
	maxBytes int64

	mu    sync.Mutex
	known map[string]*cached
	bytes int64
	clock int64
}

type cached struct {
	digest [sha256.Size]byte
	bytes  int64
	used   int64 // by Cache.clock
}

func openCache(dir string, maxBytes int64) (*Cache, error) {
	if maxBytes <= 0 {
		maxBytes = defaultCacheBytes
	}
	c := &Cache{dir: filepath.Join(dir, "compiled"), maxBytes: maxBytes, known: map[string]*cached{}}
	return c, emptyDir(c.dir)
}

// emptyDir makes a directory that is this account's alone and has nothing in it.
func emptyDir(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("cannot make the cache for compiled programs: %w", err)
	}
	return nil
}

// Key is the digest of all that a compile step is made of, at one level of
// isolation: two programs with one key are compiled to the same.
func (p *Program) Key(level sandbox.Isolation) string {
	h := sha256.New()
	add := func(words ...string) {
		for _, w := range words {
			fmt.Fprintf(h, "%d:%s", len(w), w)
		}
	}
	add(string(level), p.tool.Name, p.tool.Version, p.tool.Path, strconv.Itoa(len(p.tool.Compile)))
	add(p.tool.Compile...)
	for _, entry := range p.step(p.tool.Compile, Dirs{}, nil, nil).Spec.Params {
		add(entry)
	}
	for i, name := range p.names {
		add(name)
		sum := sha256.New()
		if err := p.texts[i](nil, sum); err != nil {
			return "" // it can't be written either
		}
		add(string(sum.Sum(nil)))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Restore puts what is kept under a key into an empty directory. False: there
// is nothing, and the directory is as empty as it was.
func (c *Cache) Restore(key, into string) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	entry := c.known[key]
	if entry != nil {
		c.clock++
		entry.used = c.clock
	}
	c.mu.Unlock()
	if entry == nil {
		return false
	}
	err := c.unpack(key, entry, into)
	if err != nil {
		c.forget(key)
		_ = workdir.Empty(into) // what can't be removed will be in the compiler's way, and it says so
	}
	return err == nil
}

var errChanged = errors.New("what is in the cache is not what was put there")

func (c *Cache) unpack(key string, entry *cached, into string) error {
	file, err := os.Open(filepath.Join(c.dir, key))
	if err != nil {
		return err
	}
	defer file.Close()
	root, err := os.OpenRoot(into)
	if err != nil {
		return err
	}
	defer root.Close()
	sum := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(io.LimitReader(file, entry.bytes+1), sum), 256<<10)
	if err := unpackInto(root, tar.NewReader(in)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return err
	}
	if [sha256.Size]byte(sum.Sum(nil)) != entry.digest {
		return errChanged
	}
	return nil
}

func unpackInto(root *os.Root, in *tar.Reader) error {
	for {
		head, err := in.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if head.Typeflag == tar.TypeDir {
			err = root.MkdirAll(filepath.Clean(head.Name), 0o755)
		} else {
			err = writeProgram(root, head.Name, in)
		}
		if err != nil {
			return err
		}
	}
}

func writeProgram(root *os.Root, name string, from io.Reader) error {
	file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, from)
	err = errors.Join(err, file.Chmod(0o755), file.Close()) // whatever the umask
	workdir.Settle(filepath.Join(root.Name(), name))
	return err
}

// Keep puts what a compile step has made under a key. What is too big is not kept.
func (c *Cache) Keep(key, from string) error {
	if c == nil {
		return nil
	}
	temp, err := os.CreateTemp(c.dir, "new-")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // fails once it has been renamed
	sum := sha256.New()
	size, err := pack(from, temp, sum, c.maxBytes)
	if err = errors.Join(err, temp.Close()); err != nil {
		if errors.Is(err, errTooBig) {
			return nil
		}
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known[key] != nil {
		return nil // somebody was quicker
	}
	if err := os.Rename(temp.Name(), filepath.Join(c.dir, key)); err != nil {
		return err
	}
	c.clock++
	c.known[key] = &cached{digest: [sha256.Size]byte(sum.Sum(nil)), bytes: size, used: c.clock}
	c.bytes += size
	for c.bytes > c.maxBytes {
		c.drop(c.oldest())
	}
	return nil
}

var errTooBig = errors.New("too big for the cache")

// pack writes the files and folders below a directory as an archive.
func pack(from string, to io.Writer, sum hash.Hash, maxBytes int64) (size int64, err error) {
	out := &boundedWriter{to: io.MultiWriter(to, sum), left: maxBytes}
	archive := tar.NewWriter(out)
	err = workdir.Walk(from, func(e workdir.Entry) error {
		if e.Mode.IsDir() {
			return archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: e.Name, Mode: 0o755})
		}
		if err := archive.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: e.Name, Mode: 0o755, Size: e.Size}); err != nil {
			return err
		}
		return e.CopyTo(archive)
	})
	return out.written, errors.Join(err, archive.Close())
}

type boundedWriter struct {
	to            io.Writer
	left, written int64
}

func (w *boundedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.left {
		return 0, errTooBig
	}
	n, err := w.to.Write(p)
	w.left, w.written = w.left-int64(n), w.written+int64(n)
	return n, err
}

func (c *Cache) forget(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(key)
}

// drop and oldest are called with mu held.
func (c *Cache) drop(key string) {
	if entry := c.known[key]; entry != nil {
		delete(c.known, key)
		c.bytes -= entry.bytes
		_ = os.Remove(filepath.Join(c.dir, key)) // it may have been removed by whoever changed it
	}
}

func (c *Cache) oldest() (key string) {
	for k, entry := range c.known {
		if key == "" || entry.used < c.known[key].used {
			key = k
		}
	}
	return key
}
