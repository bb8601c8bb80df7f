package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/fwctl/fwctl/internal/house"
)

func main() {
	files, err := house.Load(".")
	if err != nil {
		fmt.Fprintln(os.Stderr, "size:", err)
		os.Exit(2)
	}
	all := house.Measure(files)
	for _, room := range rooms(all) {
		in := slices.DeleteFunc(slices.Clone(all), func(f house.Func) bool { return roomOf(f) != room })
		fmt.Printf("%-10s %4d functions, median %2d, nine in ten within %2d, %d above %d\n",
			room, len(in), in.Quantile(0.5), in.Quantile(0.9), len(in.Long()), house.LongLines)
	}
	for _, f := range all.Long() {
		fmt.Printf("%s:%d: %s has %d lines\n", f.Path, f.Line, f.Name, f.Lines)
	}
	fmt.Println(all)
}

func roomOf(f house.Func) string {
	room, _, _ := strings.Cut(f.Path, "/")
	return room
}

func rooms(all house.Lengths) []string {
	var names []string
	for _, f := range all {
		names = append(names, roomOf(f))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
