package adopt

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// element is one element of a zone, or of a service, with those inside it.
type element struct {
	name     string
	attrs    map[string]string
	children []*element
	line     int
}

// parseXML reads elements with their places.
func parseXML(t Text) (*element, error) {
	d := xml.NewDecoder(strings.NewReader(t.Text))
	root := &element{}
	stack := []*element{root}
	for {
		token, err := d.Token()
		line, _ := d.InputPos()
		if errors.Is(err, io.EOF) {
			return root, nil
		}
		if err != nil {
			return nil, &TextError{t.File, line, fmt.Sprintf("not XML: %v", err)}
		}
		switch token := token.(type) {
		case xml.StartElement:
			e := &element{name: token.Name.Local, attrs: map[string]string{}, line: line}
			for _, a := range token.Attr {
				e.attrs[a.Name.Local] = a.Value
			}
			top := stack[len(stack)-1]
			top.children = append(top.children, e)
			if stack = append(stack, e); len(stack) > 16 {
				return nil, &TextError{t.File, line, "elements stand too deep in each other"}
			}
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		}
	}
}

// child returns the first element of a name inside another; nil if there is none.
func (e *element) child(names ...string) *element {
	for _, c := range e.children {
		if oneWord(c.name, names...) {
			return c
		}
	}
	return nil
}

// text writes the element on one line, more or less as it stands in the file.
func (e *element) text() string {
	s := "<" + e.name
	for _, k := range sorted(e.attrs) {
		s += fmt.Sprintf(" %s=%q", k, e.attrs[k])
	}
	if len(e.children) == 0 {
		return s + "/>"
	}
	s += ">"
	for _, c := range e.children {
		s += c.text()
	}
	return s + "</" + e.name + ">"
}
