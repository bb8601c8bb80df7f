package packet

import "slices"

// asked returns the fields that a filter's verdict can depend on: those that a
// condition names, or that are copied into one of them. To write another one is
// to do nothing.
func (fl *Filter) asked() (fields [fieldCount]bool) {
	fl.conditions(func(c Cond) {
		switch c := c.(type) {
		case In:
			fields[c.Field] = true
		case Bits:
			fields[c.Field] = true
		case *Tuples:
			for _, f := range c.Fields {
				fields[f] = true
			}
		}
	})
	for known := 0; known < count(fields); {
		known = count(fields)
		fl.Steps(func(s *Step) {
			for _, w := range s.Writes {
				fields[w.From] = fields[w.From] || w.Copy && fields[w.Field]
			}
		})
		// Kinds of addresses are sets of addresses where the host's are known.
		fields[FieldDst] = fields[FieldDst] || fields[FieldDstType]
		fields[FieldSrc] = fields[FieldSrc] || fields[FieldSrcType]
	}
	return fields
}

func count(fields [fieldCount]bool) int {
	n := 0
	for _, f := range fields {
		if f {
			n++
		}
	}
	return n
}

// writesAsked reports whether the step writes something that is asked for.
func (b *build) writesAsked(s *Step) bool {
	for _, w := range s.Writes {
		if b.asked[w.Field] {
			return true
		}
	}
	return false
}

// Writes reports whether some rule of the filter writes the field.
func (fl *Filter) Writes(f Field) bool {
	found := false
	fl.Steps(func(s *Step) {
		for _, w := range s.Writes {
			found = found || w.Field == f
		}
	})
	return found
}

// Constants returns the constants that rules of the filter give to a whole field,
// of 32 or 128 bits, in order and each once.
func (fl *Filter) Constants(f Field) []Value {
	var out []Value
	fl.Steps(func(s *Step) {
		for _, w := range s.Writes {
			if w.Field == f && !w.Copy && w.Unknown == "" && (w.Mask == Ones(32) || w.Mask == Ones(128)) {
				out = append(out, w.Value)
			}
		}
	})
	slices.SortFunc(out, Value.Compare)
	return slices.Compact(out)
}
