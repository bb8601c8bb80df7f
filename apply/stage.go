package apply

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// next is the state that a change leads to, on disk in full and not in force. The
// zero value changes no file.
type next struct {
	Files  []staged `json:"files"`
	New    bool     `json:"new"`    // the policy is another than the confirmed one
	Rotate bool     `json:"rotate"` // the confirmed bundle becomes the previous one
	State  string   `json:"state"`  // header that the confirmed bundle will have; "" if it stays
	store  *Store
	done   bool
}

// stage writes the state that this change leads to beside the present one. A
// full or read-only disk shows here, before the kernel is touched.
func (c *change) stage() (*next, error) {
	n := &next{store: c.store}
	err := c.stageBundles(n)
	if err == nil {
		err = c.stageAnswers(n)
	}
	if err != nil {
		n.discard()
		return nil, err
	}
	return n, nil
}

// stageBundles writes what is loaded at a boot. A refresh leads to the same policy
// with other addresses: it stays as confirmed by whom and when it was.
func (c *change) stageBundles(n *next) error {
	b := Bundle{
		Manifest: Manifest{
			Policy: "/" + c.Policy, Digest: c.out.Digest, Backend: c.out.Backend,
			Time: time.Now().UTC().Truncate(time.Second), User: Who(), FWCTL: c.Version, Keeps: len(c.ruleset.Keep) > 0,
		},
		Host:    c.host,
		Sources: c.policy.Sources,
	}
	same := c.before != nil && c.before.Manifest.Digest == c.out.Digest && c.before.Manifest.Backend == c.out.Backend
	if n.New = !same; c.action == refreshing {
		n.New, b.Manifest.Time, b.Manifest.User = false, c.before.Manifest.Time, c.before.Manifest.User
	}
	n.Rotate = n.New && c.store.header(confirmedFile) != ""
	if same && factsDigest(c.host) == factsDigest(c.before.Host) && c.store.intact(confirmedFile) {
		return nil
	}
	for _, f := range []struct {
		name   string
		bundle *Bundle
	}{{confirmedFile, &b}, {keepFile, keepBundle(c.ruleset, c.host)}} {
		payload, err := f.bundle.encode()
		if err != nil {
			return fmt.Errorf("write state: %w", err)
		}
		if err := n.add(f.name, payload); err != nil {
			return err
		}
	}
	if c.action == refreshing {
		return n.replaceOld(c.before.Manifest.Digest)
	}
	return nil
}

// replaceOld makes number 0 of the policies for rollback what the confirmed one
// will be. A policy that was not kept has none.
func (n *next) replaceOld(digest string) error {
	numbers := n.store.oldNumbers()
	if len(numbers) == 0 {
		return nil
	}
	name := oldName(numbers[0])
	if b, err := n.store.bundle(name); err != nil || b.Manifest.Digest != digest {
		return nil
	}
	st := staged{Tmp: "." + name + "-link", Name: name}
	n.store.discard(st)
	if err := os.Link(n.store.path(n.Files[0].Tmp), n.store.path(st.Tmp)); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	n.Files = append(n.Files, st)
	return nil
}

func (n *next) add(name string, payload []byte) error {
	st, err := n.store.stage(name, payload)
	if err != nil {
		return err
	}
	n.Files = append(n.Files, st)
	if name == confirmedFile {
		n.State = n.store.header(st.Tmp)
	}
	return nil
}

// commit puts the state in force. At every moment a confirmed bundle is there,
// the old one or the new; broken off, it can be done again.
func (n *next) commit() error {
	if n.Rotate && n.store.intact(confirmedFile) && n.store.header(confirmedFile) != n.State {
		if err := n.store.keepPrevious(); err != nil {
			return err
		}
	}
	for _, st := range n.Files {
		if err := n.store.commit(st); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	n.done = true
	if err := n.store.remove(offFile); err != nil {
		return err
	}
	return n.store.sync()
}

// complete reports whether all that commit needs is there.
func (n *next) complete() bool {
	for _, st := range n.Files {
		if n.store.header(st.Tmp) == "" {
			return false
		}
	}
	return true
}

// discard removes what was staged and not committed.
func (n *next) discard() {
	if n.done {
		return
	}
	for _, st := range n.Files {
		n.store.discard(st)
	}
}

// intact reports whether a file of the store is there and its checksum right.
func (s *Store) intact(name string) bool {
	_, err := s.read(name)
	return err == nil
}
