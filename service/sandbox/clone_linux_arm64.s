#include "textflag.h"

// func cloneChild(args *cloneArgs, size uintptr) (result uintptr)
//
// The child comes out of the system call on a stack of its own, where its plan and its main function lie ready. That is called as Go calls (the argument in R0; R28 is as Go wants it, because
// it was before), not by its name: the wrapper that calls by name go through talks to the race detector, which knows nothing of this process.
TEXT ·cloneChild(SB),NOSPLIT,$0-24
	MOVD	args+0(FP), R0
	MOVD	size+8(FP), R1
	MOVD	$435, R8 // clone3
	SVC
	CBNZ	R0, parent
	MOVD	RSP, R2
	MOVD	8(R2), R0
	MOVD	16(R2), R1
	CALL	(R1)
	BRK
parent:
	MOVD	R0, result+16(FP)
	RET
