package codegen

import (
	"strconv"
	"strings"
	"unicode"
)

// names gives out names, each once.
type names map[string]bool

// reserved are the names that each package has, or that a language needs.
func reserved() names {
	n := names{}
	for _, name := range []string{
		"Client", "New", "Provider", // the package's own, in Go
		"Action", "Actions", "Event", "Events", "Scope", "Result", "ActionSubject", "EventSubject", "StoredFile", // of TypeScript
		"Array", "Record", "Object", "String", "Number", "Boolean", "Date", // built into it
	} {
		n[name] = true
	}
	return n
}

// take returns the name, or one like it that is free.
func (n names) take(name string) string {
	free := name
	for i := 2; n[free]; i++ {
		free = name + strconv.Itoa(i)
		if c := name[len(name)-1]; c >= '0' && c <= '9' {
			free = name + "_" + strconv.Itoa(i)
		}
	}
	n[free] = true
	return free
}

// initialisms are the words that Go writes in capitals.
const initialisms = " api cpu css csv dns eof guid html http https id ip json jwt pdf ram sku sla smtp sql ssh sso tls ts ttl tz ui uid uri url utc utf8 uuid vm xml "

// exported makes of a name of a provider one that code may have and others may
// see: issue_url becomes IssueURL, +1 becomes Plus1.
func exported(wire string) string {
	var b strings.Builder
	for _, word := range words(wire) {
		if strings.Contains(initialisms, " "+strings.ToLower(word)+" ") {
			b.WriteString(strings.ToUpper(word))
			continue
		}
		first := []rune(word)[0]
		b.WriteRune(unicode.ToUpper(first))
		b.WriteString(word[len(string(first)):])
	}
	name := b.String()
	switch {
	case name == "":
		return "Value"
	case !unicode.IsUpper([]rune(name)[0]): // a digit, or a letter of a script without capitals
		return "N" + name
	}
	return name
}

// words splits a name where it has other signs than letters and digits, and
// before a capital after a small letter.
func words(wire string) []string {
	var all []string
	var word []rune
	end := func() {
		if len(word) > 0 {
			all = append(all, string(word))
		}
		word = nil
	}
	var before rune
	for i, r := range wire {
		switch {
		case unicode.IsLetter(r) || r >= '0' && r <= '9':
			if unicode.IsUpper(r) && unicode.IsLower(before) {
				end()
			}
			word = append(word, r)
		default:
			end()
			switch {
			case r == '+':
				all = append(all, "Plus")
			case r == '-' && i == 0:
				all = append(all, "Minus")
			}
		}
		before = r
	}
	end()
	return all
}

// plain makes of a text of a pack one line that can stand in a comment.
func plain(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r)
	}), " ")
}
