package files

import "bytes"

// Beginnings of object identifiers in DER: how an encrypted private key is
// encrypted (PKCS #5, PKCS #12).
var (
	oidPKCS5  = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05}
	oidPKCS12 = []byte{0x06, 0x0a, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01}
)

// isKeyInBinary knows key stores of Java, secret keys of OpenPGP, and keys in DER.
func isKeyInBinary(head []byte) bool {
	switch {
	case bytes.HasPrefix(head, []byte{0xfe, 0xed, 0xfe, 0xed}), bytes.HasPrefix(head, []byte{0xce, 0xce, 0xce, 0xce}):
		return true
	case bytes.HasPrefix(head, []byte("openssh-key-v1\x00")):
		return true
	}
	return isKeyInPGP(head) || isKeyInDER(head)
}

// isKeyInPGP: a packet with the tag 5, of version 3 to 6, and a known algorithm.
func isKeyInPGP(head []byte) bool {
	const versionAt, algorithmAt = 0, 5
	var body []byte
	switch {
	case len(head) > 9 && head[0] == 0x94:
		body = head[2:]
	case len(head) > 9 && (head[0] == 0x95 || head[0] == 0xc5 && head[1] >= 192):
		body = head[3:]
	case len(head) > 9 && head[0] == 0xc5:
		body = head[2:]
	default:
		return false
	}
	version, algorithm := body[versionAt], body[algorithmAt]
	return version >= 3 && version <= 6 && (algorithm <= 3 && algorithm > 0 || algorithm >= 16 && algorithm <= 28)
}

// isKeyInDER knows the beginnings of PKCS #1, #8 and #12, of SEC 1, and of an
// encrypted PKCS #8.
func isKeyInDER(head []byte) bool {
	in, ok := insideSequence(head)
	if !ok || len(in) < 8 {
		return false
	}
	if in[0] == 0x02 && in[1] == 0x01 { // a version
		version, next := in[2], in[3]
		switch {
		case version == 0 && (next == 0x02 || next == 0x30):
			return true // RSA or DSA; PKCS #8
		case version == 1 && next == 0x04 && in[4] >= 16 && in[4] <= 72, version == 1 && next == 0x30:
			return true // SEC 1; PKCS #8 with the public key
		case version == 3 && next == 0x30:
			return true // PKCS #12
		}
	}
	algorithm, ok := insideSequence(in)
	return ok && (bytes.HasPrefix(algorithm, oidPKCS5) || bytes.HasPrefix(algorithm, oidPKCS12))
}

// insideSequence gives what follows the head of a SEQUENCE.
func insideSequence(b []byte) (in []byte, ok bool) {
	if len(b) < 2 || b[0] != 0x30 {
		return nil, false
	}
	const long = 0x80 // and the number of bytes that the length has; 0: till the end
	bytesOfLength := 0
	if b[1] >= long {
		bytesOfLength = int(b[1] - long)
	}
	if bytesOfLength > 4 || len(b) < 2+bytesOfLength {
		return nil, false
	}
	return b[2+bytesOfLength:], true
}
