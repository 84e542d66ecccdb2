//go:build unix

package sandbox

import "errors"

// HasAccount says whether this host has an account, by name or number. What can't
// be found out counts as there: the start of the run then tells.
func HasAccount(nameOrID string) bool {
	_, err := lookUpAccount(nameOrID, nil)
	return !errors.Is(err, errNoAccount)
}
