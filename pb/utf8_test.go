package pb

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// Bytes that are not UTF-8 are refused with the field that has them, and for a
// path with the way to send it.
func TestNotUTF8(t *testing.T) {
	for body, want := range map[string]string{
		"{\"kind\":\"runner\",\"spec\":{\"task\":{\"argv\":[\"echo\",\"a\xffb\"]}}}":                             "spec.task.argv[1]: the byte 0xff",
		"{\"kind\":\"runner\",\"spec\":{\"task\":{\"params\":[{},{\"name\":\"A\",\"value\":\"\xc3\"}]}}}":        "spec.task.params[1].value: the byte 0xc3",
		"{\"kind\":\"runner\",\"spec\":{\"task\":{\"tags\":{\"a\":\"b\",\"c\":\"\xe2\x28\"},\"argv\":[\"x\"]}}}": "spec.task.tags.c: the byte 0xe2",
		"{\"kind\":\"runner\\\"\xf0\"}": "kind: the byte 0xf0",
		"{\"kind\":\"runner\",\"spec\":{\"task\":{\"argv\":[\"x\"],\"tags\":{\"\xff\":\"v\"}}}}": "invalid JSON: the byte 0xff",
		"{\"kind\":\"runner\",\xff}": "invalid JSON: the byte 0xff",
		"{\"kind\":\"runner\",\"metadata\":{\"name\":\"n\"},\"spec\":{\"task\":{\"dir\":\"/\xff\",\"argv\":[]}}}": "spec.task.dir: the byte 0xff",
	} {
		err := DecodeRequest([]byte(body), false, &TaskRequest{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", body, err, want)
		}
	}
	err := DecodeRequest([]byte("{\"kind\":\"runner\",\"spec\":{\"glance\":{\"dir\":{\"path\":\"/tmp/\xe9t\xe9\"}}}}"), false, &GlanceRequest{})
	if err == nil || !strings.Contains(err.Error(), "spec.glance.dir.path: the byte 0xe9") || !strings.Contains(err.Error(), "pathBytes") {
		t.Errorf("got %v", err)
	}
	argv := protowire.AppendString(protowire.AppendTag(nil, 16, protowire.BytesType), "a\xff")
	task := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), argv)
	request := protowire.AppendBytes(protowire.AppendTag(nil, 4, protowire.BytesType), task)
	if err := DecodeRequest(request, true, &TaskRequest{}); err == nil || !strings.Contains(err.Error(), "spec.task.argv[0]: it is not UTF-8") {
		t.Errorf("protobuf: got %v", err)
	}
}
