package main

import (
	"github.com/spf13/cobra"

	"github.com/plugfn/plugfn/pkg/providers"
)

// packsForCompletion are the packs that a command line would use; what is wrong
// with it shows when it is run.
func packsForCompletion(cmd *cobra.Command) map[string]*providers.Pack {
	t, err := newTarget(cmd)
	if err != nil {
		return nil
	}
	packs, _ := t.packs()
	return packs
}

func completeProviders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names(packsForCompletion(cmd)), cobra.ShellCompDirectiveNoFileComp
}

func completeAction(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	var all []string
	if len(args) == 0 {
		packs := packsForCompletion(cmd)
		for _, provider := range names(packs) {
			for _, action := range names(packs[provider].Actions) {
				all = append(all, provider+"."+action+"\t"+packs[provider].Actions[action].Summary)
			}
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}

// completePolled proposes triggers that are looked for.
func completePolled(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	var all []string
	packs := packsForCompletion(cmd)
	for _, provider := range names(packs) {
		for _, trigger := range names(packs[provider].Triggers) {
			if t := packs[provider].Triggers[trigger]; t.Poll != nil {
				all = append(all, provider+"."+trigger+"\t"+t.Summary)
			}
		}
	}
	return all, cobra.ShellCompDirectiveNoFileComp
}
