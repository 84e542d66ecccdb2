#include "textflag.h"

// func cloneChild(args *cloneArgs, size uintptr) (result uintptr)
//
// The child comes out of the system call on a stack of its own, where its plan and its main function lie ready. That is called as Go calls (the argument in AX; R14 and X15 are as Go wants
// them, because they were before), not by its name: the wrapper that calls by name go through talks to the race detector, which knows nothing of this process.
TEXT ·cloneChild(SB),NOSPLIT,$0-24
	MOVQ	args+0(FP), DI
	MOVQ	size+8(FP), SI
	MOVQ	$435, AX // clone3
	SYSCALL
	TESTQ	AX, AX
	JNE	parent
	MOVQ	SP, BX
	MOVQ	8(BX), AX
	MOVQ	16(BX), CX
	CALL	CX
	INT	$3
parent:
	MOVQ	AX, result+16(FP)
	RET
