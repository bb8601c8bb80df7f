package adopt

import (
	"fmt"

	"github.com/fwctl/fwctl/packet"
	"github.com/fwctl/fwctl/read/iptables"
)

// A TextError is a line that a format does not have.
type TextError struct {
	File string
	Line int // from 1; 0 if it is the whole file
	What string
}

// Error names file and line.
func (e *TextError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.What)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.What)
}

// IPTables reads what iptables-save, or ip6tables-save, prints.
func IPTables(file, text string, is6 bool, opt iptables.Options) (*packet.Filter, error) {
	save := iptables.Parse(text)
	program := "iptables-save"
	if is6 {
		program = "ip6tables-save"
	}
	if len(save.Unknown) > 0 {
		return nil, &TextError{file, lineOf(text, save.Unknown[0]), fmt.Sprintf("not what %s prints: %q", program, printable(save.Unknown[0]))}
	}
	if save.Table("filter") == nil {
		return nil, &TextError{file, 0, "no table filter in it: not what " + program + " prints"}
	}
	return iptables.Filter(save, packet.Input, is6, opt), nil
}
