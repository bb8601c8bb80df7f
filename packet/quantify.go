package packet

// Whatever returns what is in the set whatever the unknowns are that were not
// understood. It may still depend on the others, like rates.
func (s *Space) Whatever(a Node) (n Node, err error) {
	defer s.guard(&err)
	return s.store.forall(a, func(level uint32) bool {
		return isUnknown(level) && s.flags[s.keys[level-firstLevel[fieldCount]]]
	}), nil
}
