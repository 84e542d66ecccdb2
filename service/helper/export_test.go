package helper

// WithoutMain makes this program one whose main doesn't call Main, until undone.
func WithoutMain() (undo func()) {
	mainCalled.Store(false)
	return func() { mainCalled.Store(true) }
}
