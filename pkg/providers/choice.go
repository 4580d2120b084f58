package providers

import "slices"

// maxChoices is how many combinations of secrets a message is written with.
const maxChoices = 32

// eachChoice calls try for each combination of the secrets that {secret: KIND}
// stands for in a message or a call, of all that are good now: while a new one
// takes over there are several. It ends early on an error.
func (in *inspection) eachChoice(kinds []string, most int, try func() error) error {
	defer func() { in.chosen = [maxSecretKinds]uint8{} }()
	for range most {
		if err := try(); err != nil {
			return err
		}
		if !in.chooseNext(kinds) {
			return nil
		}
	}
	return nil
}

// chooseNext counts one on, as an odometer does; false when all were there.
func (in *inspection) chooseNext(kinds []string) bool {
	for i, kind := range kinds {
		at := in.w.kindIndex(kind)
		if at < 0 || slices.Contains(kinds[:i], kind) {
			continue
		}
		in.chosen[at]++
		if _, err := in.chosenSecret(kind); err == nil {
			return true
		}
		in.chosen[at] = 0
	}
	return false
}

// chosenSecret is the secret of a kind that it is the turn of.
func (in *inspection) chosenSecret(kind string) (string, error) {
	at := in.w.kindIndex(kind)
	if at < 0 {
		return "", refused(ReasonNoSecret)
	}
	left := in.chosen[at]
	for i := range in.c.Secrets {
		written, ok := in.secret(i, kind)
		switch {
		case !ok || len(written) == 0:
		case left == 0:
			return string(written), nil
		default:
			left--
		}
	}
	return "", refused(ReasonNoSecret)
}

func (w *Webhooks) kindIndex(kind string) int {
	return slices.IndexFunc(w.Secrets[:min(len(w.Secrets), maxSecretKinds)], func(k SecretKind) bool { return k.Name == kind })
}
