package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// measurement is one block of rows, measured together.
type measurement struct {
	name string
	run  func(*lab) ([]row, error)
}

var measurements = []measurement{
	{"services", measureServices},
	{"drift", measureDrift},
	{"audit", measureAudit},
	{"meaning", measureMeaning},
	{"group", measureGroup},
	{"packets", measurePackets},
	{"iptables", measureIPTables},
	{"peers", measurePeers},
}

func main() {
	only := flag.String("only", "", "measure these alone, separated by commas: "+strings.Join(names(), ", "))
	flag.Parse()
	var err error
	if flag.NArg() > 0 {
		err = child(flag.Args())
	} else {
		err = bench(*only)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() []string {
	var all []string
	for _, m := range measurements {
		all = append(all, m.name)
	}
	return all
}

// child is a part of the work that needs a process of its own.
func child(args []string) error {
	if args[0] == "flood" {
		return sendFlood(os.Stdin, os.Stdout)
	}
	if args[0] == "wait" {
		return openSockets(os.Stdin, os.Stdout)
	}
	return fmt.Errorf("unknown argument %q", args[0])
}

// bench measures and prints everything. Namespaces and files go even if it is
// interrupted.
func bench(only string) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root: it loads rules into network namespaces of its own")
	}
	l, err := newLab()
	if err != nil {
		return err
	}
	defer l.close()
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, unix.SIGINT, unix.SIGTERM)
	go func() {
		<-interrupted
		l.close()
		os.Exit(130)
	}()
	fmt.Println(machine())
	broken := 0
	for _, m := range measurements {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		start := time.Now()
		rows, err := m.run(l)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Printf("\n%s (%.0f s)\n", m.name, time.Since(start).Seconds())
		for _, r := range rows {
			fmt.Println(r)
			if !r.holds() {
				broken++
			}
		}
	}
	if broken > 0 {
		return fmt.Errorf("%d limits do not hold", broken)
	}
	return nil
}

// machine says where the figures come from.
func machine() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown machine"
	}
	tool := "no nft"
	if out, err := output("nft", "--version"); err == nil {
		tool = strings.TrimSpace(out)
	}
	return fmt.Sprintf("Linux %s, %s; medians of several rounds, measured by turns", unix.ByteSliceToString(u.Release[:]), tool)
}
