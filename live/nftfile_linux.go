package live

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// LoadNFT loads the text of nft that path names ("-": text itself) into a
// network namespace made for it, and reads back what the kernel holds then: a text
// means what the kernel makes of it. The namespace is the thread's
// own and goes with it; the host's rules are not touched. It needs CAP_SYS_ADMIN
// for the namespace and the program nft.
func LoadNFT(ctx context.Context, path string, text []byte) (*NFTFile, error) {
	nft := program("nft")
	if nft == "" {
		return nil, errors.New("the program nft is not installed: it is needed to load the text")
	}
	type loaded struct {
		rules *NFTFile
		err   error
	}
	done := make(chan loaded, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, and the namespace with it
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- loaded{nil, fmt.Errorf("make a network namespace to load %s in: %w (needs CAP_SYS_ADMIN: run it as root)", path, err)}
			return
		}
		l := nftLoader{ctx: ctx, nft: nft, path: path, text: text}
		rules, err := l.load()
		done <- loaded{rules, err}
	}()
	l := <-done
	return l.rules, l.err
}

// nftLoader loads one text into the namespace of its thread.
type nftLoader struct {
	ctx  context.Context
	nft  string
	path string
	text []byte
}

// mostLinks bounds how many interfaces are made because a text names them.
const mostLinks = 256

// load loads the text. An interface that it names by index has to exist: it is
// made when nft misses it.
func (l *nftLoader) load() (*NFTFile, error) {
	for range mostLinks {
		talk, err := l.run("-f", l.path)
		if err == nil {
			break
		}
		name := missingLink(talk)
		if name == "" {
			return nil, fmt.Errorf("nft does not load %s:\n%s", l.path, strings.TrimRight(talk, "\n"))
		}
		veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "fwctl-peer"}
		if err := netlink.LinkAdd(veth); err != nil {
			return nil, fmt.Errorf("make an interface %s for %s: %w", name, l.path, err)
		}
		if peer, err := netlink.LinkByName(veth.PeerName); err == nil {
			_ = netlink.LinkSetName(peer, "fwctl-"+strconv.Itoa(peer.Attrs().Index)) // the next one needs the name
		}
	}
	h := &NFTFile{}
	if err := h.rules.tables(l.ctx); err != nil {
		return nil, err
	}
	if err := h.rules.links(); err != nil {
		return nil, err
	}
	listing, err := l.run("--handle", "--terse", "list", "ruleset")
	if err == nil { // else the rules go by their handles
		h.texts = parseListing(listing)
	}
	return h, nil
}

// run runs nft and returns what it says.
func (l *nftLoader) run(args ...string) (string, error) {
	c := exec.CommandContext(l.ctx, l.nft, args...)
	c.Stdin = bytes.NewReader(l.text)
	out, err := c.CombinedOutput()
	return string(out), err
}

// nft shows the line and marks the name:
//
//	rules.nft:5:11-16: Error: Interface does not exist
//	    iif "eth0" accept
//	        ^^^^^^
var noInterface = regexp.MustCompile(`(?m)Error: Interface does not exist\n(.*)\n([ \t]*)(\^+)`)

func missingLink(talk string) string {
	m := noInterface.FindStringSubmatch(talk)
	if m == nil || len(m[2])+len(m[3]) > len(m[1]) {
		return ""
	}
	return strings.Trim(m[1][len(m[2]):len(m[2])+len(m[3])], `"`)
}
