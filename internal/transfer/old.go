package transfer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	"carnet/internal/db"
)

// oldStore is the store that a restore replaces, whole, of today's schema, and without a log beside it.
type oldStore struct {
	path  string
	epoch int64
}

func (o oldStore) uri() string {
	return "file:" + (&url.URL{Path: o.path}).EscapedPath() + "?mode=ro&immutable=1"
}

// readOld finds out whether the store in the folder can tell what ended since the backup. An error says why it cannot, in
// words that follow "because". On any doubt about it nothing is believed: half a record of revocations is none.
func (r restoring) readOld(ctx context.Context, backup contents, latest int64) (*oldStore, error) {
	path := filepath.Join(r.dir, db.FileName)
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errors.New("there was no store in the folder")
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("what is in its place is no file")
	}
	if err := wholeLog(path + "-wal"); err != nil {
		return nil, err
	}
	found, err := inspectFile(ctx, path)
	if err != nil {
		return nil, err
	}
	if found.installation != backup.installation {
		// It says nothing about the people and tokens of the backup: taken for an answer, it would say that all are gone.
		return nil, errors.New("it is the store of another installation")
	}
	if found.schema > latest {
		return nil, db.ErrNewer
	}
	if err := carryOver(ctx, path); err != nil {
		return nil, err
	}
	old := &oldStore{path: path, epoch: found.epoch}
	if found.schema < latest {
		if err := r.modernize(ctx, old); err != nil {
			return nil, err
		}
	}
	return old, nil
}

func inspectFile(ctx context.Context, path string) (contents, error) {
	// Read-only, so that closing it writes nothing: what is found damaged stays as it is.
	pool, err := openFile(path, "ro")
	if err != nil {
		return contents{}, err
	}
	defer func() { _ = pool.Close() }()
	return inspect(ctx, pool)
}

// carryOver brings what the log holds into the file, which then stands alone.
func carryOver(ctx context.Context, path string) error {
	pool, err := openFile(path, "rw", "synchronous(FULL)")
	if err != nil {
		return err
	}
	var busy, logged, moved int
	err = pool.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &logged, &moved)
	if err = errors.Join(err, pool.Close()); err != nil {
		return fmt.Errorf("its log cannot be carried over: %w", err)
	}
	if busy != 0 {
		return errors.New("another program uses it")
	}
	return nil
}

// modernize makes an old store comparable whose schema is older: a copy of it is brought up to date, it stays as it is.
func (r restoring) modernize(ctx context.Context, old *oldStore) error {
	copied := r.built + "-old"
	if err := copyFile(old.path, copied); err != nil {
		return fmt.Errorf("it cannot be copied: %w", err)
	}
	pool, err := openFile(copied, "rw", "journal_mode(DELETE)", "synchronous(OFF)")
	if err != nil {
		return err
	}
	if _, _, err := db.Upgrade(ctx, pool); err != nil {
		return errors.Join(err, pool.Close())
	}
	old.path = copied
	return pool.Close()
}

// wholeLog returns nil when a write-ahead log holds all that was ever acknowledged into it. SQLite reads a log up to the
// first frame that does not add up and takes the rest for a write that was cut off; but where whole commits come after
// that frame, something else happened to the file, and revocations may be among what would be passed over in silence.
// (https://sqlite.org/fileformat2.html, section 4)
func wholeLog(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("its log cannot be read: %w", err)
	}
	defer func() { _ = file.Close() }()
	header := make([]byte, 32)
	if _, err := io.ReadFull(file, header); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil // nothing was committed yet
	} else if err != nil {
		return fmt.Errorf("its log cannot be read: %w", err)
	}
	log := walReader{order: binary.LittleEndian}
	magic := binary.BigEndian.Uint32(header)
	if magic == 0x377f0683 {
		log.order = binary.BigEndian
	}
	page := binary.BigEndian.Uint32(header[8:])
	log.add(header[:24])
	if magic|1 != 0x377f0683 || !log.is(header[24:]) || page < 512 || page > 65536 {
		return errors.New("its log is damaged")
	}
	copy(log.salts[:], header[16:24])
	return log.frames(file, make([]byte, 24+page))
}

type walReader struct {
	order  binary.ByteOrder
	salts  [8]byte
	s1, s2 uint32 // the running checksum
}

func (w *walReader) frames(file io.Reader, frame []byte) error {
	broken := false
	for {
		_, err := io.ReadFull(file, frame)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("its log cannot be read: %w", err)
		}
		ours := [8]byte(frame[8:16]) == w.salts // else it is of an earlier round of the log, and carried over long ago
		if !broken {
			w.add(frame[:8])
			w.add(frame[24:])
			broken = !ours || !w.is(frame[16:24])
			continue
		}
		if commits := binary.BigEndian.Uint32(frame[4:]) != 0; ours && commits {
			return errors.New("its log is damaged")
		}
	}
}

func (w *walReader) add(data []byte) {
	for i := 0; i+8 <= len(data); i += 8 {
		w.s1 += w.order.Uint32(data[i:]) + w.s2
		w.s2 += w.order.Uint32(data[i+4:]) + w.s1
	}
}

func (w *walReader) is(sum []byte) bool {
	return binary.BigEndian.Uint32(sum) == w.s1 && binary.BigEndian.Uint32(sum[4:]) == w.s2
}
