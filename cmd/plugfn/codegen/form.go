package codegen

// API is all of a provider that code is made of.
type API struct {
	Provider string
	Title    string // what people call it
	Docs     string
	Root     Group // the actions
	Triggers []Trigger
	Types    []*Def // that Params, Data and Payload lead to, in an order that stays
	Scopes   []Name
}

// Name is a name of the provider with the one that it has in code.
type Name struct {
	Code string
	Wire string
}

// Group are the actions whose names begin alike: issues of issues.create.
type Group struct {
	Name    Name   // of a field; zero: the root
	Type    string // "": the root
	Actions []Action
	Groups  []Group
}

// Action is one operation.
type Action struct {
	Name    Name   // of its method, and all of it: issues.create
	Const   string // of the constant that is its name
	Subject Name   // of the constant, and the subject of all users
	Summary string
	Docs    string
	Repeat  string // what a repetition does
	Scopes  []string
	Params  *Def
	Data    Type

	// All is the method that yields the items of all pages, which are in the data
	// at Items, a JSON pointer; "" where one answer is all of it.
	All   string
	Items string
	Item  Type
}

// Trigger is one event.
type Trigger struct {
	Name    Name   // of what is made from it, and all of it: issues.opened
	Const   string // of the constant that is its name
	Subject Name   // of the constant, and the subject of all users
	On      string // the function that listens to it
	Summary string
	Docs    string
	Scopes  []string
	Payload Type
}

// Kind is what a value is.
type Kind int

// The kinds.
const (
	Any     Kind = iota
	Text         // a string
	Flag         // a boolean
	Integer      // a number without a fraction
	Number       // any number
	Time         // a string with a date and a time
	List         // of Elem
	Map          // of Elem, by any names
	Object       // of Def
	Enum         // one of the texts of Def
	File         // a file that PlugFn keeps
)

// Type is what a value may be at one place.
type Type struct {
	Kind Kind
	Null bool   // null as well
	Zero bool   // the empty value of the kind is allowed
	Only string // of Text: the only value; "": there are others
	Elem *Type  // of List and Map
	Def  *Def   // of Object and Enum
	Loop bool   // of Object: it is inside of itself
}

// Def is a type with a name.
type Def struct {
	Name   string
	Doc    string
	Params bool    // it is sent, not received
	Fields []Field // of an object, those that are required first
	Open   bool    // of an object: it may have other members
	Values []Name  // of an enum

	wanted string // the name that it would like
	shared bool   // it has a name of its own in the schema, after which it is called
	owner  string // before the name, where others have the same
}

// IsEnum tells an enum from an object.
func (d *Def) IsEnum() bool { return d.Values != nil }

// Field is a member of an object.
type Field struct {
	Name     Name
	Doc      string
	Required bool
	Type     Type
}
