package embedded

import "errors"

var errQuota = errors.New("disk quota exceeded")
