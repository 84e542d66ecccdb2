package subjects

import "testing"

func TestIsInbox(t *testing.T) {
	further := []string{"acme.inbox", "_MINE"}
	for subject, want := range map[string]bool{
		"_INBOX.abc": true, "_INBOX.abc.def": true, "_INBOX_web.abc": true, "_R_.abc.def": true,
		"acme.inbox.abc": true, "acme.inbox.a.b": true, "_MINE.x": true,
		"": false, "_INBOX": false, "_INBOX.": false, "_INBOX.>": false, "_INBOX.*": false, "_INBOX.a..b": false,
		"_INBOX_.a": false, "_INBOX_web": false, "_INBOXES.a": false, "_R_": false, "_R.a": false, "_inbox.a": false,
		"acme.inbox": false, "acme.inbox.": false, "acme.inboxes.a": false, "acme.a": false, "_MINE": false, "_MINED.a": false,
		"$JS.ACK.RUNNER_LOG.c.1.1.1.1.0": false, "$KV.runner_runs.x": false, "runner.log.web1.x": false,
		"acme.log.web1.x": false, "foo": false, "_INBOX.a b": false, "_INBOX.a\nb": false,
	} {
		if got := IsInbox(subject, further); got != want {
			t.Errorf("%q: got %v", subject, got)
		}
	}
}

func TestReplyPrefix(t *testing.T) {
	space, err := New("acme.runner")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"inbox": "inbox", "acme.inbox.>": "acme.inbox", "acme.inbox.": "acme.inbox", "acme.runners": "acme.runners", "_INBOX_web": "_INBOX_web",
		"": "", ".": "", ">": "", ".>": "", "*": "", "a.*": "", "a..b": "", "a b": "", "$JS.ACK": "", "$KV": "",
		"acme": "", "acme.runner": "", "acme.runner.log": "", "acme.>": "",
	} {
		got, err := space.ReplyPrefix(text)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: got %q, %v", text, got, err)
		}
	}
}
