package settings

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// AddFlags adds the flags of the settings in scope to a command.
func AddFlags(flags *pflag.FlagSet, scope Scope) {
	for _, v := range Table() {
		if v.Flag == "" || v.Scope&scope == 0 {
			continue
		}
		flags.String(v.Flag, "", v.flagHelp())
		if v.Switch {
			flags.Lookup(v.Flag).NoOptDefVal = "true"
		}
	}
}

func (v Variable) flagHelp() string {
	help, _, _ := strings.Cut(v.Help, ";") // the rest is in the table
	name := v.Name
	if v.Secret {
		help, name = "file with the "+help, v.Name+FileSuffix
	}
	if v.Default != "" {
		return fmt.Sprintf("%s [%s, %s]", help, name, v.Default)
	}
	return fmt.Sprintf("%s [%s]", help, name)
}

// Given returns the flags of the table that were given on the command line.
func Given(flags *pflag.FlagSet) map[string]string {
	given := map[string]string{}
	for _, v := range Table() {
		if f := flags.Lookup(v.Flag); f != nil && f.Changed {
			given[v.Flag] = f.Value.String()
		}
	}
	return given
}
