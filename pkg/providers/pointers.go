package providers

// pointerSet is a compiled set of JSON pointers. After its last add it is safe
// for concurrent use.
type pointerSet struct {
	root  pointerNode
	slots map[string]int // :: pointer as written → index of its span
}

// pointerNode is one reference token of the pointers that share it.
type pointerNode struct {
	below []int // slots of the pointers that end here or further down
	slot  int   // slot of the pointer that ends here, plus one; 0: none does
	keys  map[string]*pointerNode
	items map[int]*pointerNode // those of keys that are an array index as well
}

// add puts a pointer into the set.
func (s *pointerSet) add(written string, tokens []string) {
	if _, ok := s.slots[written]; ok {
		return
	}
	if s.slots == nil {
		s.slots = map[string]int{}
	}
	slot := len(s.slots)
	s.slots[written] = slot
	n := &s.root
	n.below = append(n.below, slot)
	for _, t := range tokens {
		n = n.child(t)
		n.below = append(n.below, slot)
	}
	n.slot = slot + 1
}

func (n *pointerNode) child(token string) *pointerNode {
	if next, ok := n.keys[token]; ok {
		return next
	}
	if n.keys == nil {
		n.keys, n.items = map[string]*pointerNode{}, map[int]*pointerNode{}
	}
	next := &pointerNode{}
	n.keys[token] = next
	if i, ok := arrayIndex(token); ok {
		n.items[i] = next
	}
	return next
}

// member is the node below a key as it is written between its quotes.
func (n *pointerNode) member(key []byte, plain bool) *pointerNode {
	if n == nil || n.keys == nil {
		return nil
	}
	if plain {
		return n.keys[string(key)]
	}
	if text, ok := unquote(key, maxValue); ok {
		return n.keys[text]
	}
	return nil
}
